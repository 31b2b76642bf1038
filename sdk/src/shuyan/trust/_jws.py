"""Compact JWS with everything pinned: EdDSA (RFC 8037) only, one ``typ``, canonical payload, bounded size."""

from __future__ import annotations

import json
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from shuyan.trust.keys import b64url_decode

MAX_BYTES = 512 * 1024  # of the compact form; a grant over 400 resources of 50 columns is below 300 KiB


class _Registry(JWSRegistry):
    """Knows one algorithm. RFC 9864 prefers the name "Ed25519"; the wire form here is RFC 8037's "EdDSA"."""

    max_payload_length = MAX_BYTES

    def get_alg(self, name: str) -> Any:
        if name != "EdDSA":
            raise UnsupportedAlgorithmError(f"{name} is not EdDSA")
        return self.algorithms[name]


def sign(payload: dict[str, Any], typ: str, key: Ed25519PrivateKey) -> str:
    """The compact JWS over the canonical JSON (RFC 8785) of ``payload``.

    Raises:
        ValueError: it would be larger than anybody would take.
    """
    header = {"alg": "EdDSA", "typ": typ}
    compact = jws.serialize_compact(header, rfc8785.dumps(payload), OKPKey.import_key(key), registry=_Registry())
    if len(compact) > MAX_BYTES:
        raise ValueError("too large")
    return compact


def verify(compact: str, typ: str, key: Ed25519PublicKey) -> bytes:
    """The payload of ``compact``.

    Raises:
        ValueError: anything at all is not exactly as :func:`sign` would have written it.
    """
    if len(compact) > MAX_BYTES:
        raise ValueError("too large")
    # Non-canonical base64url would let one signature stand under several digests.
    for part in compact.split("."):
        b64url_decode(part)
    try:
        opened = jws.deserialize_compact(compact, OKPKey.import_key(key), registry=_Registry())
    except JoseError as error:
        raise ValueError("not signed by this key") from error
    if opened.headers() != {"alg": "EdDSA", "typ": typ}:
        raise ValueError("another header")
    try:
        if rfc8785.dumps(json.loads(opened.payload)) != opened.payload:
            raise ValueError("payload is not canonical JSON")
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError("payload is not canonical JSON") from error
    return opened.payload
