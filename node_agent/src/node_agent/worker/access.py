"""What a worker must be able to reach for given tables, so that its sandbox leaves it that and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_MAGIC: Final = frozenset("*?[")
_FILES: Final = frozenset({"csv", "parquet", "json"})
_NETWORKED: Final = frozenset({"postgres", "mysql"})

# Names, certificates and services of a machine: a database's client library asks for them.
_NETWORK_FILES: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/services",
                         "/etc/gai.conf", "/etc/passwd", "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates")


@dataclass(frozen=True)
class Access:
    """Paths and the network.

    Attributes:
        read: (path, inode); a file that was replaced is another file to the sandbox, so its number is part of it. 0 for
            directories.
        write: files that reading a database in use needs.
        network: a source is reached over it.
    """

    read: frozenset[tuple[str, int]] = frozenset()
    write: frozenset[str] = frozenset()
    network: bool = False

    def __or__(self, other: Access) -> Access:
        return Access(self.read | other.read, self.write | other.write, self.network or other.network)

    def covers(self, other: Access) -> bool:
        """Whether whoever has this access has the other."""
        return self.read >= other.read and self.write >= other.write and (self.network or not other.network)


def needed(sources: Iterable[tuple[str, str]]) -> Access:
    """What reading sources, given as (kind, location), takes."""
    access = Access()
    for kind, location in sources:
        access |= _of(kind, location)
    return access


def _of(kind: str, location: str) -> Access:
    if kind in _FILES:
        return Access(frozenset({_place(location)}))
    try:
        described = json.loads(location)
    except ValueError:
        return Access()
    if kind == "view":
        return needed((inner, place) for inner, place in described.get("sources", {}).values())
    paths = [text for text in _texts(described) if os.path.isabs(text) and os.path.exists(text)]
    read = frozenset(_place(path) for path in paths)
    if kind in _NETWORKED:
        return Access(read | {(path, 0) for path in _NETWORK_FILES if os.path.exists(path)}, network=True)
    # SQLite keeps a log and an index beside a database in use, and reading needs to lock them.
    beside = [path + ending for path in paths for ending in ("-wal", "-shm") if os.path.exists(path + ending)]
    return Access(read | {_place(path) for path in beside}, frozenset(beside))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _place(location: str) -> tuple[str, int]:
    """A file, or the directory that a pattern is looked for in."""
    parts = location.split("/")
    fixed = next((place for place, part in enumerate(parts) if _MAGIC & set(part)), None)
    path = location if fixed is None else "/".join(parts[:fixed]) or "/"
    try:
        return (path, 0) if os.path.isdir(path) else (path, os.stat(path).st_ino)
    except OSError:
        return path, 0
