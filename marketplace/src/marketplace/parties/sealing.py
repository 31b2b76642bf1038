"""Secrets that must be read again, encrypted at rest with a key from a file that the database has not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from marketplace.parties.errors import SEALED_BY_ANOTHER
from marketplace.settings import settings
from shuyan.problems import ProblemError


def ensure_key() -> Path:
    """The key file (readable by its owner only), made if there is none."""
    path = settings().account_key_file or settings().keys_dir / "accounts.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
        with contextlib.suppress(FileExistsError):  # another process was first: its key it is
            os.link(partial, path)
        partial.unlink()
    return path


def seal(text: str) -> str:
    """``text`` encrypted and authenticated (Fernet)."""
    return Fernet(ensure_key().read_bytes()).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed. Raises ``sealed_by_another_key``."""
    try:
        return Fernet(ensure_key().read_bytes()).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise ProblemError(SEALED_BY_ANOTHER) from None
