"""Landlock (Linux 5.13 and later): rights over files, TCP and scopes that a process takes from itself.

Source: docs.kernel.org/userspace-api/landlock.html; numbers from include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

from shuyan.confinement._syscalls import call, no_new_privileges

# The same numbers on every architecture.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_QUERY_ABI: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI = (1 << 13) - 1
_READ: Final = _READ_FILE | _READ_DIR
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE_FILE | _REMOVE_DIR | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_NET_BIND_TCP, _NET_CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1


def abi() -> int:
    """The version the kernel speaks; 0 where there is no Landlock, or it is switched off."""
    try:
        return call(_CREATE_RULESET, 0, 0, _QUERY_ABI)
    except OSError:
        return 0


def _handled(version: int) -> int:
    rights = _FIRST_ABI
    if version >= 2:
        rights |= _REFER
    if version >= 3:
        rights |= _TRUNCATE
    if version >= 5:
        rights |= _IOCTL_DEV
    return rights


def restrict(read: Iterable[str], write: Iterable[str], *, network: bool, full: bool = True) -> list[str]:
    """Keep reading ``read`` and writing ``write``, and nothing else; this thread and those it starts.

    Returns the names of the parts that took hold: ``landlock``, ``landlock_network``, ``landlock_scope``.

    Raises:
        OSError: it did not take hold.
    """
    version = abi()
    files = _handled(version)
    active = ["landlock"]
    tcp = scope = 0
    if version >= 4 and not network:
        tcp = _NET_BIND_TCP | _NET_CONNECT_TCP
        active.append("landlock_network")
    if version >= 6 and full:
        scope = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
        active.append("landlock_scope")
    # Older kernels take the shorter structure.
    attributes = struct.pack("QQQ", files, tcp, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = call(_CREATE_RULESET, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    try:
        for path in read:
            _allow(ruleset, path, _READ & files)
        for path in write:
            _allow(ruleset, path, _WRITE & files)
        no_new_privileges()
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return active


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, descriptor)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)
    finally:
        os.close(descriptor)
