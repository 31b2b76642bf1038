"""The data authority's side: what it keeps next to its key, and what it checks before it signs.

The marketplace is not trusted here. Node keys are compared with cards had from the departments themselves, app
digests with the apps installed here, times are taken from this machine's clock, and the list of revoked grants is the
authority's own: what the marketplace shows can add to it and never take from it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from marketplace.authorisation import asking, errors
from shuyan.problems import ProblemError
from shuyan.trust.cards import NodeCard, verify_card
from shuyan.trust.grants import (
    Grant,
    RevocationList,
    RevokedGrant,
    sign_grant,
    sign_revocations,
    verify_revocations,
)
from shuyan.trust.keys import fingerprint, load_signing_key

REVOCATIONS_DAYS = 7
"""A list holds so long: the most by which a marketplace that withholds a newer one can delay a revocation."""


@dataclass(frozen=True)
class Authority:
    """The signing key and the folder with ``trusted-nodes.json`` and ``revocations.jws``."""

    key: Ed25519PrivateKey
    folder: Path

    @classmethod
    def open(cls, key_file: Path, folder: Path | None = None) -> Authority:
        """Raises ``key_invalid``."""
        return cls(load_signing_key(key_file), folder or key_file.resolve().parent)

    # --- trusted nodes ---

    @property
    def _cards_file(self) -> Path:
        return self.folder / "trusted-nodes.json"

    def cards(self) -> dict[str, NodeCard]:
        """The trusted cards by node id, their signatures checked. Raises ``authority_state_unreadable``."""
        if not self._cards_file.exists():
            return {}
        try:
            found = [verify_card(json.dumps(item)) for item in json.loads(self._cards_file.read_text("utf-8"))]
        except (OSError, ValueError, TypeError, ProblemError) as error:
            raise ProblemError(errors.STATE_UNREADABLE, name=self._cards_file.name) from error
        return {card.node_id: card for card in found}

    def trust(self, card: NodeCard, *, replace: bool = False) -> None:
        """Keep a card. Raises ``authority_card_replaces`` if another of that node is kept."""
        cards = self.cards()
        known = cards.get(card.node_id)
        if known is not None and known != card and not replace:
            raise ProblemError(errors.CARD_REPLACES, node=known.name)
        cards[card.node_id] = card
        _write(self._cards_file, json.dumps([cards[name].model_dump() for name in sorted(cards)], ensure_ascii=False,
                                            indent=2))

    # --- grants ---

    def prepare(self, draft: dict[str, Any], digests: dict[str, str]) -> Grant:
        """The grant that a marketplace's draft asks for, with this machine's times, if it may be signed.

        Args:
            draft: the claims as the marketplace sent them.
            digests: digests of the apps installed here, by name.

        Raises:
            ProblemError: ``authority_draft_invalid``, ``authority_card_missing``, ``authority_card_differs``,
                ``authority_app_differs``.
        """
        try:
            asked = Grant.model_validate_json(json.dumps(draft))
            term = asked.exp - asked.iat
            now = int(time.time())
            # never later than drafted: an agreement's end, which does not move with the signing, may have shortened the term
            grant = Grant(**{**dict(asked), "iat": now, "nbf": now - asking.CLOCK_SKEW_SECONDS, "exp": min(now + term, asked.exp)})
        except (ValidationError, TypeError) as error:
            raise ProblemError(errors.DRAFT_INVALID) from error
        if not 0 < term <= asking.MAXIMUM_TERM_DAYS * asking.DAY or grant.minimum_cohort < asking.MINIMUM_COHORT:
            raise ProblemError(errors.DRAFT_INVALID)
        cards = self.cards()
        for node in grant.nodes:
            card = cards.get(node.node_id)
            if card is None:
                raise ProblemError(errors.CARD_MISSING, node=node.name)
            if (card.signing_key, card.agreement_key, card.name) != (node.signing_key, node.agreement_key, node.name):
                raise ProblemError(errors.CARD_DIFFERS, node=card.name)
        for app in grant.apps:
            if digests.get(app.name) != app.digest:
                raise ProblemError(errors.APP_DIFFERS, app=app.name)
        return grant

    def sign(self, grant: Grant) -> str:
        """The grant as a compact JWS. Raises ``authority_draft_invalid`` if it is larger than nodes take."""
        try:
            return sign_grant(grant, self.key)
        except ValueError as error:
            raise ProblemError(errors.DRAFT_INVALID) from error

    # --- revocations ---

    @property
    def _revocations_file(self) -> Path:
        return self.folder / "revocations.jws"

    def revocations(self) -> RevocationList | None:
        """The last list signed here. Raises ``authority_state_unreadable``."""
        if not self._revocations_file.exists():
            return None
        try:
            return verify_revocations(self._revocations_file.read_text("ascii").strip(), self.key.public_key())
        except (OSError, ValueError, ProblemError) as error:
            raise ProblemError(errors.STATE_UNREADABLE, name=self._revocations_file.name) from error

    def next_revocations(self, *, shown: str | None = None, add: RevokedGrant | None = None) -> str:
        """Sign and keep the next list: all that was ever revoked, and ``add``.

        Args:
            shown: the list the marketplace has, if any; counts only if it carries this key's signature.

        Raises:
            ProblemError: ``revocations_invalid`` if ``shown`` was not signed here.
        """
        held = [one for one in (self.revocations(),
                                verify_revocations(shown, self.key.public_key()) if shown else None) if one]
        revoked = {item.jti: item for one in reversed(held) for item in one.revoked}
        if add is not None:
            revoked.setdefault(add.jti, add)
        now = int(time.time())
        jws = sign_revocations(RevocationList(
            iss=fingerprint(self.key.public_key()), number=max([one.number for one in held], default=0) + 1, iat=now,
            next_update=now + REVOCATIONS_DAYS * asking.DAY,
            revoked=tuple(sorted(revoked.values(), key=lambda item: (item.at, item.jti)))), self.key)
        _write(self._revocations_file, jws)  # kept before it is shown to anybody, so that no number is used twice
        return jws

    def revocations_due(self) -> bool:
        """Whether there is no list yet, or the last one is past half its term."""
        last = self.revocations()
        return last is None or time.time() > (last.iat + last.next_update) / 2


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
