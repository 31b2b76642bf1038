"""The data authority as this node knows it: one public key, pinned at enrolment."""

from __future__ import annotations

from pathlib import Path

from shuyan.trust.grants import Grant, RevocationList, verify_grant, verify_revocations
from shuyan.trust.keys import load_public_key


class Authority:
    """Checks what is said to come from the data authority.

    Raises:
        ProblemError: ``key_invalid``.
    """

    def __init__(self, key_file: Path) -> None:
        self._key = load_public_key(key_file)

    def grant(self, jws: str) -> Grant:
        """The grant in ``jws``. Raises ``grant_invalid``."""
        return verify_grant(jws, self._key)

    def revocations(self, jws: str) -> RevocationList:
        """The revocation list in ``jws``. Raises ``revocations_invalid``."""
        return verify_revocations(jws, self._key)
