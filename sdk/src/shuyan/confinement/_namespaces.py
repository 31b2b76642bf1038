"""Namespaces: a network with no interface, and, where Landlock is missing, a file system with nothing but the interpreter.

Containers often forbid unprivileged user namespaces; then there are none here, and Landlock has to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shuyan.confinement._syscalls import libc

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUTS: Final = 0x04000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MNT_DETACH: Final = 2
_LOCKED: Final = _MS_NOSUID | _MS_NODEV

_root: str | None = None  # the process's own root, once it has one


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter(*, network: bool) -> list[str]:
    """Enter namespaces of one's own; returns ``namespaces`` and ``network_namespace`` as far as that was allowed.

    A super-user keeps its own user namespace: in a new one it could no longer read other people's files.
    """
    kinds = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUTS | (_CLONE_NEWNET if network else 0)
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        kinds |= _CLONE_NEWUSER
    if libc().unshare(ctypes.c_int(kinds)) != 0:
        return []
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return ["namespaces", "network_namespace"] if network else ["namespaces"]


def empty_file_system(read: Iterable[str], write: Iterable[str]) -> None:
    """Change to a root that holds ``read`` (read-only), ``write`` and, until :func:`drop_proc`, ``/proc``.

    Raises:
        OSError: it did not work; the process is then in no fit state to go on.
    """
    global _root
    wanted = [(path, True) for path in _outermost([path for path in read if not path.startswith("/proc")])]
    wanted += [("/proc", False), *((path, False) for path in write)]
    # Held open: some of them may lie in the directory that is about to be covered.
    held = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC), os.path.isdir(path), read_only) for path, read_only in wanted]
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    # Any directory can be covered in a mount namespace of one's own.
    base = "/tmp"  # noqa: S108
    _mount("shuyan", base, "tmpfs", _LOCKED, "mode=0755,size=1m")
    for path, descriptor, folder, read_only in held:
        _bind(descriptor, Path(base + path), folder=folder, read_only=read_only)
        os.close(descriptor)
    os.chdir(base)
    _check(libc().syscall(ctypes.c_long(_PIVOT_ROOT[os.uname().machine]), b".", b"."), "pivot_root")
    _check(libc().umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
    _mount(None, "/", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _LOCKED)
    _root = "/"


_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}


def drop_proc() -> bool:
    """Let go of ``/proc``, where other processes can be seen; False for a process without a root of its own."""
    global _root
    if _root is None:
        return False
    _check(libc().umount2(b"/proc", _MNT_DETACH), "umount2")
    _root = None
    return True


def _outermost(paths: list[str]) -> list[str]:
    chosen: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths} | {str(path) for path in paths}):
        if not any(path == kept or path.startswith(kept.rstrip("/") + "/") for kept in chosen):
            chosen.append(path)
    return chosen


def _bind(descriptor: int, target: Path, *, folder: bool, read_only: bool) -> None:
    if folder:
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(f"/proc/self/fd/{descriptor}", str(target), None, _MS_BIND | _MS_REC)
    if read_only:
        # Some mounts are locked with flags a remount must repeat; what it may not take away stays as it is.
        for flags in (_LOCKED, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, 0):
            with contextlib.suppress(OSError):
                _mount(None, str(target), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
                return
        raise OSError(f"cannot be made read-only: {target}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _check(libc().mount(*encoded, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")
