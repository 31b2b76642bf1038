"""Developers' apps on this node: packages that a trusted operator signed, kept here unpacked for reading and never imported.

A package is believed again at every start: its digest is computed, its signature verified with a key that is still
trusted. Code from it runs in a worker that is shut in, from bytes whose digest the agent has just checked.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node_agent import errors
from node_agent.config import write_private
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.problems import ProblemError
from shuyan.trust import keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from shuyan.appkit.package import Package
    from shuyan.federation.apps import InstalledApp

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS app_key (fingerprint TEXT PRIMARY KEY, key TEXT NOT NULL, added_at_ms INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS app_package (name TEXT PRIMARY KEY, version TEXT NOT NULL, digest TEXT NOT NULL,"
    " signer TEXT NOT NULL, fingerprint TEXT NOT NULL, signature TEXT NOT NULL, installed_at_ms INTEGER NOT NULL)")
_FILE: Final = "package.shuyanapp"
_CONTENT: Final = "content"

@dataclass(frozen=True)
class Installed:
    """A package that is believed: whole, signed by a trusted key."""

    package: Package
    signer: str
    fingerprint: str


class Packages:
    """The packages and the keys they may be signed with.

    Args:
        directory: where packages lie, one folder each; made when first needed.
        reserved: names of the apps that come with the product.

    Attributes:
        unusable: by name, why a package that was installed is not believed any more.
    """

    def __init__(self, state: State, journal: Journal, directory: Path, reserved: frozenset[str]) -> None:
        self._state, self._journal, self._directory, self._reserved = state, journal, directory, reserved
        for statement in _TABLES:
            state.execute(statement)
        self.unusable: dict[str, str] = {}
        self._known: dict[str, Installed] = {}
        self._apps: dict[str, InstalledApp] = {}
        for row in state.all("SELECT name FROM app_package ORDER BY name"):
            self._load(row["name"])

    @staticmethod
    def any(state: State) -> bool:
        """Whether a package was ever installed."""
        made = state.one("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'app_package'")
        return made is not None and state.one("SELECT 1 FROM app_package") is not None

    @property
    def apps(self) -> dict[str, InstalledApp]:
        """The packages as apps, by name; none of their code is in this process."""
        return self._apps

    def get(self, name: str) -> Installed | None:
        """A package by name."""
        return self._known.get(name)

    # --- keys ---

    def trust(self, pem: bytes) -> str:
        """Trust what this public key signs; returns its fingerprint.

        Raises:
            ProblemError: ``app_key_invalid``.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(pem)
        except ValueError as error:
            raise ProblemError(errors.APP_KEY_INVALID) from error
        if not isinstance(key, Ed25519PublicKey):
            raise ProblemError(errors.APP_KEY_INVALID)
        fingerprint = keys.fingerprint(key)
        with self._state.transaction():
            self._state.execute("INSERT OR IGNORE INTO app_key VALUES (?, ?, ?)",
                                (fingerprint, keys.encode_public(key), _now_ms()))
            self._journal.append("app_key:trusted", key=fingerprint)
        return fingerprint

    def distrust(self, fingerprint: str) -> None:
        """Trust a key no longer; the packages it signed run no more.

        Raises:
            ProblemError: ``app_key_unknown``.
        """
        with self._state.transaction():
            gone = self._state.execute("DELETE FROM app_key WHERE fingerprint = ?", (fingerprint,)).rowcount
            if not gone:
                raise ProblemError(errors.APP_KEY_UNKNOWN, key=fingerprint)
            self._journal.append("app_key:distrusted", key=fingerprint)
        for name, item in list(self._known.items()):
            if item.fingerprint == fingerprint:
                self._drop(name)

    def trusted(self) -> list[tuple[str, int]]:
        """(fingerprint, added at) of every trusted key."""
        return [(row["fingerprint"], row["added_at_ms"]) for row in self._state.all("SELECT * FROM app_key ORDER BY added_at_ms")]

    def _keys(self) -> dict[str, Ed25519PublicKey]:
        return {row["fingerprint"]: keys.signing_key_from(row["key"]) for row in self._state.all("SELECT * FROM app_key")}

    # --- packages ---

    def install(self, data: bytes, signature: str) -> Installed:
        """Check a package and its signature and keep it; it runs only when it is allowed besides.

        Raises:
            ProblemError: ``package_invalid``, ``app_signature_invalid``, ``app_key_none``, ``app_name_taken``.
        """
        from shuyan.appkit.package import read_package

        package = read_package(data)
        if package.name in self._reserved:
            raise ProblemError(errors.APP_NAME_TAKEN, name=package.name)
        believed = self._believe(package, signature)
        self._write(package)
        with self._state.transaction():
            self._state.execute(
                "INSERT OR REPLACE INTO app_package VALUES (?, ?, ?, ?, ?, ?, ?)",
                (package.name, package.version, package.digest, believed.signer, believed.fingerprint, signature.strip(),
                 _now_ms()))
            self._journal.append("app:installed", name=package.name, version=package.version, digest=package.digest,
                                 signer=believed.signer, key=believed.fingerprint)
        self.unusable.pop(package.name, None)
        self._add(believed)
        return believed

    def remove(self, name: str) -> None:
        """Forget a package and delete its files.

        Raises:
            ProblemError: ``app_not_installed``.
        """
        with self._state.transaction():
            row = self._state.one("SELECT digest FROM app_package WHERE name = ?", (name,))
            if row is None:
                raise ProblemError(errors.APP_NOT_INSTALLED, field="name", name=name)
            self._state.execute("DELETE FROM app_package WHERE name = ?", (name,))
            self._state.execute("DELETE FROM allowed_app WHERE name = ?", (name,))
            self._journal.append("app:removed", name=name, digest=row["digest"])
        self.unusable.pop(name, None)
        self._drop(name)
        _delete(self._directory / name)

    def _believe(self, package: Package, signature: str) -> Installed:
        from shuyan.appkit.signature import verify_signature

        trusted = self._keys()
        if not trusted:
            raise ProblemError(errors.APP_KEY_NONE)
        for fingerprint, key in trusted.items():
            try:
                return Installed(package, verify_signature(package, signature, key).iss, fingerprint)
            except ProblemError as error:
                refused = error
        raise refused

    def _load(self, name: str) -> None:
        from shuyan.appkit.package import read_package

        row = self._state.one("SELECT * FROM app_package WHERE name = ?", (name,))
        assert row is not None
        try:
            package = read_package((self._directory / name / _FILE).read_bytes())
            if (package.name, package.digest) != (name, row["digest"]) or name in self._reserved:
                raise ProblemError(errors.APP_NOT_INSTALLED, field="name", name=name)
            self._add(self._believe(package, row["signature"]))
        except (ProblemError, OSError) as error:
            self.unusable[name] = str(error)

    def _add(self, installed: Installed) -> None:
        from shuyan.federation.foreign import installed_app

        self._known[installed.package.name] = installed
        self._apps[installed.package.name] = installed_app(installed.package)

    def _drop(self, name: str) -> None:
        self._known.pop(name, None)
        self._apps.pop(name, None)

    def _write(self, package: Package) -> None:
        folder = self._directory / package.name
        fresh = self._directory / f".{package.name}.new"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        _delete(fresh)
        fresh.mkdir(mode=0o700)
        write_private(fresh / _FILE, package.data)
        texts = {f"src/{path}": text for path, text in package.sources.items()} | {"README.md": package.readme}
        for path, text in texts.items():
            target = fresh / _CONTENT / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for path_, folders, files in os.walk(fresh, topdown=False):
            for name in files:
                os.chmod(Path(path_) / name, 0o400)
            for name in folders:
                os.chmod(Path(path_) / name, 0o500)
        _delete(folder)
        fresh.replace(folder)
        os.chmod(folder, 0o500)


def _delete(folder: Path) -> None:
    if not folder.exists():
        return
    for path, _folders, _files in os.walk(folder):
        os.chmod(path, 0o700)
    shutil.rmtree(folder)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
