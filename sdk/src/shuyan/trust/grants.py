"""Grants and revocation lists: the data authority's signed statements, which every node verifies for itself.

A grant is a compact JWS (RFC 7515) with ``alg`` ``EdDSA`` (RFC 8037) and ``typ`` ``shuyan-grant+jwt``; a revocation
list has ``typ`` ``shuyan-revocations+jwt``. The payload is canonical JSON (RFC 8785).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self, TypeVar

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shuyan.problems import ProblemError
from shuyan.trust import _jws
from shuyan.trust.errors import GRANT_INVALID, REVOCATIONS_INVALID
from shuyan.trust.keys import b64url_decode

GRANT_TYPE = "shuyan-grant+jwt"
REVOCATIONS_TYPE = "shuyan-revocations+jwt"


def _raw_key(text: str) -> str:
    if len(b64url_decode(text)) != 32:
        raise ValueError("a public key has 32 bytes")
    return text


S = TypeVar("S", bound="_Statement")
RawKey = Annotated[str, AfterValidator(_raw_key)]
OutputForm = Literal["statistics", "model"]


class _Statement(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class GrantedResource(_Statement):
    """One department's table and the columns of it that may be read."""

    resource_id: str
    node_id: str
    name: str
    columns: tuple[str, ...] = Field(min_length=1)


class GrantedApp(_Statement):
    name: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class ParticipantKeys(_Statement):
    """A participating node and the public keys the authority vouches for (base64url, no padding, raw 32 bytes)."""

    node_id: str
    name: str
    signing_key: RawKey
    agreement_key: RawKey


class PrivacyTerms(_Statement):
    """What differentially private answers under a grant protect, and how much of it they may use up.

    Attributes:
        unit: what the guarantee is about, ``person`` or ``enterprise`` for instance.
        unit_columns: by resource name, the column that tells units apart. It is read on the node to bound contributions
            and is never part of an answer, so it need not be among the granted columns.
        max_rows_per_unit: rows of one unit beyond this many are left out.
        max_groups_per_unit: groups of one answer beyond this many that a unit appears in are left out.
        delta: the δ at which ε is stated.
        rho_nano: the whole budget of the grant at each department, in 1e-9 of zCDP's ρ (Bun & Steinke 2016).
        honest_fraction: of the departments that have a resource, the share taken to be honest: their noise must suffice.
    """

    unit: str = Field(min_length=1)
    unit_columns: dict[str, str] = Field(min_length=1)
    max_rows_per_unit: int = Field(ge=1, le=1_000_000)
    max_groups_per_unit: int = Field(ge=1, le=1_000_000)
    delta: float = Field(gt=0, lt=0.01, allow_inf_nan=False)
    rho_nano: int = Field(ge=1, le=10**15)
    honest_fraction: float = Field(gt=0, le=1, allow_inf_nan=False)


class SoleValues(_Statement):
    """Values of a dimension that fewer than two of the departments declare: a group of them is one department's own."""

    resource: str
    column: str
    values: tuple[str, ...] = Field(min_length=1)


class Grant(_Statement):
    """The claims of a grant. Times are Unix seconds (RFC 7519 NumericDate).

    Attributes:
        release: ``exact`` answers are guarded by cohorts, suppression and the differencing guard; ``dp`` answers carry
            noise under ``privacy``.
        own_figures: results may show what is one department's own figure.
        sole_values: as the departments declared their dimensions when the authority signed.
    """

    iss: str
    jti: str
    iat: int
    nbf: int
    exp: int
    scenario: str
    scenario_title: str
    purpose: str
    grantee: str
    grantee_name: str
    resources: tuple[GrantedResource, ...] = Field(min_length=1)
    apps: tuple[GrantedApp, ...] = Field(min_length=1)
    nodes: tuple[ParticipantKeys, ...] = Field(min_length=3)
    minimum_cohort: int = Field(ge=1)
    minimum_participants: int = Field(ge=3)
    output_forms: tuple[OutputForm, ...] = Field(min_length=1)
    max_output_values: int = Field(ge=1, default=100_000)
    release: Literal["exact", "dp"] = "exact"
    privacy: PrivacyTerms | None = None
    own_figures: bool = False
    sole_values: tuple[SoleValues, ...] = ()

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.exp <= self.nbf:
            raise ValueError("ends before it begins")
        nodes = [node.node_id for node in self.nodes]
        # Two ids with one key would be one department counted twice, and its sums those of fewer than three.
        for values in (nodes, [n.signing_key for n in self.nodes], [n.agreement_key for n in self.nodes],
                       [r.resource_id for r in self.resources], [a.name for a in self.apps],
                       [(r.node_id, r.name) for r in self.resources]):
            if len(set(values)) != len(values):
                raise ValueError("named twice")
        if any(resource.node_id not in nodes for resource in self.resources):
            raise ValueError("a resource of a node that does not take part")
        if self.minimum_participants > len(nodes):
            raise ValueError("more participants asked for than there are")
        if (self.release == "dp") != (self.privacy is not None):
            raise ValueError("noise needs its terms, and exact answers have none")
        names = {resource.name for resource in self.resources}
        if any(entry.resource not in names for entry in self.sole_values):
            raise ValueError("values of a resource that is not granted")
        if self.privacy is not None and set(self.privacy.unit_columns) != names:
            raise ValueError("each resource needs its unit's column")
        return self


class RevokedGrant(_Statement):
    jti: str
    at: int
    reason: str


class RevocationList(_Statement):
    """All revoked grants of an authority; ``number`` only ever grows, and nodes refuse a lower one."""

    iss: str
    number: int = Field(ge=1)
    iat: int
    next_update: int
    revoked: tuple[RevokedGrant, ...]


def sign_grant(grant: Grant, private_key: Ed25519PrivateKey) -> str:
    """The grant as a compact JWS. Raises :class:`ValueError` above 512 KiB."""
    return _jws.sign(grant.model_dump(mode="json"), GRANT_TYPE, private_key)


def verify_grant(jws: str, public_key: Ed25519PublicKey) -> Grant:
    """The grant in ``jws``, if ``public_key`` signed exactly it. Term and revocation are the caller's to check.

    Raises:
        ProblemError: ``grant_invalid``.
    """
    return _verified(Grant, jws, GRANT_TYPE, public_key, GRANT_INVALID)


def read_first_grant(jws: str, public_key: Ed25519PublicKey) -> Grant:
    """A grant signed before grants said how answers are released, with today's defaults: to show it, never to act on it.

    Raises:
        ProblemError: ``grant_invalid``, also for one of today's.
    """
    later = {"release", "privacy", "own_figures", "sole_values"}
    try:
        payload = _jws.verify(jws, GRANT_TYPE, public_key)
        grant = Grant.model_validate_json(payload)
        if rfc8785.dumps(grant.model_dump(mode="json", exclude=later)) != payload:
            raise ValueError("another claim is missing")
    except (ValueError, ValidationError) as error:
        raise ProblemError(GRANT_INVALID) from error
    return grant


def sign_revocations(revocations: RevocationList, private_key: Ed25519PrivateKey) -> str:
    """The revocation list as a compact JWS. Raises :class:`ValueError` above 512 KiB."""
    return _jws.sign(revocations.model_dump(mode="json"), REVOCATIONS_TYPE, private_key)


def verify_revocations(jws: str, public_key: Ed25519PublicKey) -> RevocationList:
    """The revocation list in ``jws``. That its number does not go back is the caller's to check.

    Raises:
        ProblemError: ``revocations_invalid``.
    """
    return _verified(RevocationList, jws, REVOCATIONS_TYPE, public_key, REVOCATIONS_INVALID)


def _verified(model: type[S], jws: str, typ: str, key: Ed25519PublicKey, code: str) -> S:
    try:
        payload = _jws.verify(jws, typ, key)
        statement = model.model_validate_json(payload)
        # Every claim is written out, so that what was signed says all that is enforced.
        if rfc8785.dumps(statement.model_dump(mode="json")) != payload:
            raise ValueError("a claim is missing")
    except (ValueError, ValidationError) as error:
        raise ProblemError(code) from error
    return statement


def grant_digest(jws: str) -> str:
    """``sha256:<hex>`` over the compact JWS: how messages and events name a grant."""
    return "sha256:" + hashlib.sha256(jws.encode("ascii", "replace")).hexdigest()
