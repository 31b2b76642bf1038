"""Grants and revocation lists: the data authority's signed statements, which every node verifies for itself.

A grant is a compact JWS (RFC 7515) with ``alg`` ``EdDSA`` (RFC 8037) and ``typ`` ``shuyan-grant+jwt``; a revocation
list has ``typ`` ``shuyan-revocations+jwt``. The payload is canonical JSON (RFC 8785).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
    signing_key: str
    agreement_key: str


class Grant(_Statement):
    """The claims of a grant. Times are Unix seconds (RFC 7519 NumericDate)."""

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
    output_forms: tuple[str, ...] = Field(min_length=1)  # of "statistics", "model"
    max_output_values: int = Field(ge=1, default=100_000)


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
