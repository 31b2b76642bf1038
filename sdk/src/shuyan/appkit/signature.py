"""The operator's signature on an app package: a compact JWS (EdDSA) about its name, version and digest, in a file beside it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.appkit.errors import APP_SIGNATURE_INVALID
from shuyan.appkit.package import Package
from shuyan.problems import ProblemError
from shuyan.trust import _jws

TYPE = "shuyan-app+jws"
SUFFIX = ".sig"


class AppStatement(BaseModel):
    """What is signed: this package was reviewed.

    Attributes:
        iss: who signs.
        iat: when, in seconds since 1970.
        digest: ``sha256:<hex>`` of the package file.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    iss: str = Field(min_length=1, max_length=200)
    iat: int = Field(ge=0)
    name: str
    version: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


def sign_package(package: Package, key: Ed25519PrivateKey, *, issuer: str, at: int) -> str:
    """The compact JWS to put into ``NAME-VERSION.shuyanapp.sig``."""
    statement = AppStatement(iss=issuer, iat=at, name=package.name, version=package.version, digest=package.digest)
    return _jws.sign(statement.model_dump(), TYPE, key)


def verify_signature(package: Package, compact: str, key: Ed25519PublicKey) -> AppStatement:
    """What was signed, having checked that ``key`` signed it and that it is about this package.

    Raises:
        ProblemError: ``app_signature_invalid``.
    """
    try:
        statement = AppStatement.model_validate_json(_jws.verify(compact.strip(), TYPE, key))
    except (ValueError, ValidationError) as error:
        raise ProblemError(APP_SIGNATURE_INVALID, field="signature") from error
    if (statement.name, statement.version, statement.digest) != (package.name, package.version, package.digest):
        raise ProblemError(APP_SIGNATURE_INVALID, field="signature")
    return statement
