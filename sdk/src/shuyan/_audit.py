"""The market's evidence: fetched from it, checked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shuyan._errors import VerificationFailed
from shuyan._http import Api
from shuyan._text import language
from shuyan.problems import ProblemError
from shuyan.trust import notes
from shuyan.trust.bundle import Verified, verify_bundle


class Audit:
    """Evidence: what the market wrote down, in a form that can be checked without trusting it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def key(self) -> str:
        """The log's public key (C2SP vkey). Keep it: evidence is only as good as the key it is checked against."""
        return self._api.get_text("/audit/key").strip()

    def checkpoint(self) -> str:
        """The latest checkpoint with its cosignatures (C2SP signed note)."""
        return self._api.get_text("/audit/checkpoint")

    def bundle(self, subject: str, *, since: str | None = None) -> dict[str, Any]:
        """Every event about ``subject`` (a product, job, grant or order) with the proofs to check it offline.

        ``since`` is a checkpoint kept from earlier; the proof that the log continues it is then part of the bundle.
        """
        answer: dict[str, Any] = self._api.get(
            "/audit/bundle", subject=subject, since=None if since is None else _size(since))
        return answer

    def verify(self, subject: str, *, key: str | None = None, since: str | None = None,
               node_keys: Mapping[str, str] | None = None) -> Verified:
        """Fetch the evidence about ``subject`` and check it here.

        Args:
            subject: a product, job, grant or order.
            key: the log's vkey, kept from earlier or had from elsewhere; without it the market's word is taken.
            since: a checkpoint kept from earlier, which the log must continue.
            node_keys: the departments' vkeys by node id, see :func:`shuyan.trust.bundle.trusted_nodes`; only these
                count as cosigners then.

        Raises:
            VerificationFailed: something does not hold.
        """
        return verify_evidence(self.bundle(subject, since=since), subject=subject, key=key, since=since,
                               node_keys=node_keys)


def _size(checkpoint: str) -> int:
    try:
        return notes.parse_checkpoint(notes.parse_note(checkpoint).text).size
    except ProblemError as error:
        raise VerificationFailed(error.text(language())) from error


def verify_evidence(bundle: str | bytes | Mapping[str, Any], *, subject: str | None = None, key: str | None = None,
                    since: str | None = None, node_keys: Mapping[str, str] | None = None) -> Verified:
    """Check a bundle without any connection; see :func:`shuyan.trust.bundle.verify_bundle`.

    Raises:
        VerificationFailed: something does not hold.
    """
    try:
        return verify_bundle(bundle, subject=subject, key=key, since=since, node_keys=node_keys)
    except ProblemError as error:
        raise VerificationFailed(error.text(language())) from error
