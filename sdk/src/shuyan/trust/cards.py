"""Node cards: how a department hands its node's public keys to the data authority, apart from the marketplace.

The authority keeps the cards it has accepted and signs no grant that names other keys for those nodes; so a
marketplace that swaps a node's keys for its own gets no grant over them.
"""

from __future__ import annotations

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.problems import ProblemError
from shuyan.trust.errors import CARD_INVALID
from shuyan.trust.grants import RawKey
from shuyan.trust.keys import b64url, b64url_decode, encode_public, fingerprint, signing_key_from, verifies

_CONTEXT = b"shuyan-node-card-v1\0"


class NodeCard(BaseModel):
    """Public keys are base64url of 32 raw bytes; ``signature`` is base64url of Ed25519 by ``signing_key``."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    node_id: str = Field(min_length=1, max_length=100)
    name: str = Field(min_length=1, max_length=200)
    organisation: str = Field(min_length=1, max_length=200)
    signing_key: RawKey
    agreement_key: RawKey
    signature: str

    @property
    def fingerprint(self) -> str:
        """One fingerprint for both keys: what the two sides read to each other."""
        return fingerprint(b64url(b64url_decode(self.signing_key) + b64url_decode(self.agreement_key)))


def _message(fields: dict[str, str]) -> bytes:
    return _CONTEXT + rfc8785.dumps({k: v for k, v in fields.items() if k != "signature"})


def sign_card(*, node_id: str, name: str, organisation: str, signing_key: Ed25519PrivateKey,
              agreement_key: str) -> NodeCard:
    """The card of a node; ``agreement_key`` is its X25519 public key in base64url."""
    fields = {"node_id": node_id, "name": name, "organisation": organisation,
              "signing_key": encode_public(signing_key.public_key()), "agreement_key": agreement_key}
    return NodeCard(**fields, signature=b64url(signing_key.sign(_message(fields))))


def verify_card(text: str | bytes) -> NodeCard:
    """The card in the JSON ``text``, its self-signature checked: whoever made it held the signing key.

    That the card is the department's is for people to check, by fingerprint.

    Raises:
        ProblemError: ``card_invalid``.
    """
    try:
        if len(text) > 10_000:
            raise ValueError("too large")
        card = NodeCard.model_validate_json(text)
        if not verifies(signing_key_from(card.signing_key), b64url_decode(card.signature),
                        _message(card.model_dump())):
            raise ValueError("signature")
    except (ValueError, ValidationError) as error:
        raise ProblemError(CARD_INVALID) from error
    return card
