"""The few system calls that Python has no function for, by number, on x86-64 and AArch64."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any, Final

MACHINE: Final = platform.machine()

PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}

_libc: ctypes.CDLL | None = None


def libc() -> ctypes.CDLL:
    """The C library, loaded once."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.syscall.restype = ctypes.c_long
    return _libc


def call(number: int, *arguments: Any) -> int:
    """One system call.

    Raises:
        OSError: it failed.
    """
    plain = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(libc().syscall(ctypes.c_long(number), *plain))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); raises ``OSError``."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    result = int(libc().prctl(ctypes.c_int(option), *padded))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def no_new_privileges() -> None:
    """From now on no program started here gains rights, and filters may be set without any."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def thread_count() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def drop_capabilities() -> bool:
    """Give up every capability, for good; False on a machine whose system call numbers are not known here."""
    if MACHINE not in _CAPSET:
        return False
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    call(_CAPSET[MACHINE], header, ctypes.create_string_buffer(24))
    return True
