"""Keys: Ed25519 (RFC 8032) for signatures, X25519 (RFC 7748) for agreement, and how they are kept and shown.

Private keys rest as unencrypted PKCS#8 PEM readable by their owner only; public keys as SubjectPublicKeyInfo PEM.
Inside JSON a public key is its raw 32 bytes in base64url without padding.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from shuyan.problems import ProblemError
from shuyan.trust.errors import KEY_EXISTS, KEY_INVALID

PrivateKey = Ed25519PrivateKey | X25519PrivateKey
PublicKey = Ed25519PublicKey | X25519PublicKey


def generate_signing_key() -> Ed25519PrivateKey:
    """A new Ed25519 key from the operating system's random source."""
    return Ed25519PrivateKey.generate()


def generate_agreement_key() -> X25519PrivateKey:
    """A new X25519 key from the operating system's random source."""
    return X25519PrivateKey.generate()


def save_private_key(path: Path, key: PrivateKey) -> None:
    """Write ``key`` to a new file of mode 0600, durably.

    Raises:
        ProblemError: ``key_exists``; a private key is never overwritten.
    """
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    _write_new(path, pem, 0o600)


def save_public_key(path: Path, key: PublicKey) -> None:
    """Write the public ``key`` to a new file of mode 0644. Raises ``key_exists``."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(path, pem, 0o644)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    # Complete before it gets its name, so that a crash leaves no half-written key and no two writers both win.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise ProblemError(KEY_EXISTS, name=path.name) from None
    finally:
        temporary.unlink(missing_ok=True)


def _load_private(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ProblemError(KEY_INVALID, name=path.name) from error


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key in ``path``. Raises ``key_invalid``."""
    key = _load_private(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ProblemError(KEY_INVALID, name=path.name)
    return key


def load_agreement_key(path: Path) -> X25519PrivateKey:
    """The X25519 private key in ``path``. Raises ``key_invalid``."""
    key = _load_private(path)
    if not isinstance(key, X25519PrivateKey):
        raise ProblemError(KEY_INVALID, name=path.name)
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 public key (PEM) in ``path``. Raises ``key_invalid``."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ProblemError(KEY_INVALID, name=path.name) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ProblemError(KEY_INVALID, name=path.name)
    return key


def raw(key: PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 4648 §5, RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """The inverse of :func:`b64url`, accepting exactly what it writes.

    Raises:
        ValueError: a foreign character, padding, or unused bits that are not zero.
    """
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:  # also binascii.Error and UnicodeEncodeError
        raise ValueError("not base64url") from error
    if b64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def encode_public(key: PublicKey) -> str:
    """A public key as it stands in JSON: base64url of its raw bytes."""
    return b64url(raw(key))


def signing_key_from(text: str) -> Ed25519PublicKey:
    """The Ed25519 public key behind :func:`encode_public`. Raises ``key_invalid``."""
    try:
        return Ed25519PublicKey.from_public_bytes(b64url_decode(text))
    except ValueError as error:
        raise ProblemError(KEY_INVALID, name="signing_key") from error


def agreement_key_from(text: str) -> X25519PublicKey:
    """The X25519 public key behind :func:`encode_public`. Raises ``key_invalid``."""
    try:
        return X25519PublicKey.from_public_bytes(b64url_decode(text))
    except ValueError as error:
        raise ProblemError(KEY_INVALID, name="agreement_key") from error


def verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is ``key``'s over ``message``."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def fingerprint(key: PublicKey | str) -> str:
    """How people compare a key, also over the telephone: 128 bits of its SHA-256 as ``1a2b-3c4d-…`` (8 groups)."""
    data = b64url_decode(key) if isinstance(key, str) else raw(key)
    digest = hashlib.sha256(data).hexdigest()[:32]
    return "-".join(digest[i:i + 4] for i in range(0, 32, 4))
