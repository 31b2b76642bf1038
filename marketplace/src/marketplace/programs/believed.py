"""Which packages this market believes: whole, with the digest they were accepted under, signed by the operator's key.

The operator's signing key is held apart from the marketplace; here is only its public half, ``keys/apps.pub``. The file may
hold several keys one below the other, while one replaces another.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from marketplace.programs import errors
from marketplace.settings import settings
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from shuyan.appkit.package import Package
    from shuyan.federation.apps import InstalledApp

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def read_keys() -> bytes:
    """The operator's public keys for apps, as PEM.

    Raises:
        ProblemError: ``apps_key_missing``.
    """
    try:
        return (settings().keys_dir / "apps.pub").read_bytes()
    except OSError:
        raise ProblemError(errors.APPS_KEY_MISSING) from None


@lru_cache(maxsize=4)
def _keys(pem: bytes) -> tuple[Ed25519PublicKey, ...]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = [load_pem_public_key(block) for block in _PEM.findall(pem)]
    except (ValueError, TypeError):
        raise ProblemError(errors.APPS_KEY_MISSING) from None
    keys = tuple(key for key in found if isinstance(key, Ed25519PublicKey))
    if not keys or len(keys) != len(found):
        raise ProblemError(errors.APPS_KEY_MISSING)
    return keys


def verify(package: Package, signature: str, pem: bytes) -> Any:
    """What the operator stated about ``package``.

    Raises:
        ProblemError: ``apps_key_missing``, ``app_signature_invalid``.
    """
    from shuyan.appkit.signature import verify_signature

    refused: ProblemError | None = None
    for key in _keys(pem):
        try:
            return verify_signature(package, signature, key)
        except ProblemError as error:
            refused = error
    raise refused or ProblemError(errors.APPS_KEY_MISSING)


def believe(data: bytes, digest: str, signature: str | None, pem: bytes) -> Package:
    """The package in ``data``, if it is the one that was accepted and signed.

    Raises:
        ProblemError: ``apps_key_missing``, ``app_package_altered``.
    """
    from shuyan.appkit.package import read_package

    try:
        package = read_package(data)
        if package.digest == digest and signature:
            verify(package, signature, pem)
            return package
    except ProblemError as error:
        if error.code == errors.APPS_KEY_MISSING:
            raise
    raise ProblemError(errors.PACKAGE_ALTERED)


def as_installed(package: Package) -> InstalledApp:
    """The package as an app; none of its code is imported."""
    from shuyan.federation.foreign import installed_app

    return installed_app(package)
