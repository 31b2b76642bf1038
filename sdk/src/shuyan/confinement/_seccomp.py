"""A seccomp filter, written as classic BPF: which system calls are refused, and which end the process.

An allow-list for Python with NumPy and DuckDB would have to grow with every release of each, so this is a deny-list over
whole families, with everything the kernel may learn later refused as unknown (``ENOSYS``). Two answers:

* **killed** (SIGSYS): what no honest computation asks for, in any library: looking into other processes, mounting,
  namespaces, kernel modules, BPF, io_uring, keyrings. The death is seen by the parent and written down.
* **refused** (``EPERM``): what a library may try in good faith and live without: sockets, new processes, programs,
  signals to others, shared memory, priorities, new machine code. A developer then sees an ordinary exception.

``clone3`` hides its flags from a filter and is unknown (``ENOSYS``), so that C libraries fall back to ``clone``, which
may make threads only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final

from shuyan.confinement._syscalls import MACHINE, call, prctl

# include/uapi/linux/{audit,seccomp,filter}.h
_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_FLAG_TSYNC: Final = 1
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_PR_GET_SECCOMP: Final = 21

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_PROT_EXEC: Final = 4

_LAST_KNOWN: Final = 463  # removexattrat, Linux 6.13: what came later is refused until somebody has looked at it

# name: (x86-64, AArch64); None where the architecture has no such call
_Numbers = tuple[int | None, int | None]

_KILLED: Final[dict[str, _Numbers]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_getfd": (438, 438),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428),
    "mount_setattr": (442, 442), "chroot": (161, 51), "swapon": (167, 224), "swapoff": (168, 225),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "create_module": (174, None), "reboot": (169, 142), "acct": (163, 89),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "lookup_dcookie": (212, 18), "uselib": (134, None),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "vhangup": (153, 58), "syslog": (103, 116), "nfsservctl": (180, 42),
    "memfd_secret": (447, 447),
}

_SOCKETS: Final[dict[str, _Numbers]] = {
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "connect": (42, 203), "getsockname": (51, 204), "getpeername": (52, 205), "sendto": (44, 206),
    "recvfrom": (45, 207), "setsockopt": (54, 208), "getsockopt": (55, 209), "shutdown": (48, 210), "sendmsg": (46, 211),
    "recvmsg": (47, 212), "sendmmsg": (307, 269), "recvmmsg": (299, 243),
}

_REFUSED: Final[dict[str, _Numbers]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "memfd_create": (319, 279), "seccomp": (317, 277), "personality": (135, 92),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143), "setresuid": (117, 147),
    "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152), "setgroups": (116, 159), "capset": (126, 91),
    "setsid": (112, 157), "setpgid": (109, 154), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30), "setrlimit": (160, 164),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "semget": (64, 190), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "mlock": (149, 228), "mlock2": (325, 284),
    "mlockall": (151, 230), "mknod": (133, None), "mknodat": (259, 33), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "utimensat": (280, 88),
    "vmsplice": (278, 75), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446), "timer_create": (222, 107), "timerfd_create": (283, 85),
}

# Calls of which only some uses are refused: argument, and what it must be.
_CLONE: Final[_Numbers] = (56, 220)
_CLONE3: Final[_Numbers] = (435, 435)
_TGKILL: Final[_Numbers] = (234, 131)
_PRCTL: Final[_Numbers] = (157, 167)
_PRLIMIT64: Final[_Numbers] = (302, 261)
_IOCTL: Final[_Numbers] = (16, 29)
_MMAP: Final[_Numbers] = (9, 222)
_MPROTECT: Final[_Numbers] = (10, 226)
_PKEY_MPROTECT: Final[_Numbers] = (329, 288)
_REMAP_FILE_PAGES: Final[_Numbers] = (216, 234)

_PR_SET_NAME, _PR_GET_NAME, _PR_GET_DUMPABLE, _PR_SET_VMA = 15, 16, 3, 0x53564D41
_TIOCSTI, _TIOCLINUX, _TIOCSCTTY = 0x5412, 0x541C, 0x540E


def available() -> bool:
    """Whether the kernel filters, and kills whole processes, on a machine whose numbers are known here."""
    if MACHINE not in _ARCHITECTURE:
        return False
    try:
        for action in (_KILL_PROCESS, _ERRNO):
            call(_SECCOMP[MACHINE], _GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(action)))
    except OSError:
        return False
    return True


class _Program:
    """BPF instructions for one machine."""

    def __init__(self) -> None:
        self._place = 0 if MACHINE == "x86_64" else 1
        self._code: list[bytes] = []

    def add(self, code: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        """One instruction; ``then`` and ``otherwise`` are how many instructions a jump skips."""
        self._code.append(struct.pack("HBBI", code, then, otherwise, value & 0xFFFFFFFF))

    def number(self, numbers: _Numbers) -> int | None:
        """A call's number on this machine."""
        return numbers[self._place]

    def answer(self, numbers: _Numbers, action: int) -> None:
        """The call ends with ``action``."""
        if (number := self.number(numbers)) is not None:
            self.add(_JUMP_EQUAL, number, 0, 1)
            self.add(_RETURN, action)

    def only(self, numbers: _Numbers, argument: int, values: tuple[int, ...], action: int) -> None:
        """The call is allowed if its argument's low word is one of ``values``, else it ends with ``action``."""
        if (number := self.number(numbers)) is None:
            return
        self.add(_JUMP_EQUAL, number, 0, len(values) + 3)
        self.add(_LOAD, _ARGUMENTS_AT + 8 * argument)
        for place, value in enumerate(values):
            self.add(_JUMP_EQUAL, value, len(values) - place, 0)
        self.add(_RETURN, action)
        self.add(_RETURN, _ALLOW)

    def unless_bits(self, numbers: _Numbers, argument: int, bits: int, action: int) -> None:
        """The call is allowed if none of ``bits`` is set in its argument, else it ends with ``action``."""
        if (number := self.number(numbers)) is None:
            return
        self.add(_JUMP_EQUAL, number, 0, 4)
        self.add(_LOAD, _ARGUMENTS_AT + 8 * argument)
        self.add(_JUMP_ANY_BIT, bits, 0, 1)
        self.add(_RETURN, action)
        self.add(_RETURN, _ALLOW)

    def bytes(self) -> bytes:
        """The whole program."""
        return b"".join(self._code)


def program(*, network: bool = False, new_code: bool = False, pid: int | None = None) -> bytes:
    """The filter as an array of ``struct sock_filter``.

    Args:
        network: leave sockets alone.
        new_code: leave mapping of machine code alone.
        pid: the process that may signal its own threads; this one.
    """
    refused, killed, unknown = _ERRNO | errno.EPERM, _KILL_PROCESS, _ERRNO | errno.ENOSYS
    built = _Program()
    built.add(_LOAD, _ARCHITECTURE_AT)
    built.add(_JUMP_EQUAL, _ARCHITECTURE[MACHINE], 1, 0)
    built.add(_RETURN, killed)
    built.add(_LOAD, _NUMBER_AT)
    if MACHINE == "x86_64":
        built.add(_JUMP_AT_LEAST, _X32_BIT, 0, 1)
        built.add(_RETURN, killed)
    built.add(_JUMP_ABOVE, _LAST_KNOWN, 0, 1)
    built.add(_RETURN, unknown)
    for numbers in _KILLED.values():
        built.answer(numbers, killed)
    for numbers in (_REFUSED if network else _REFUSED | _SOCKETS).values():
        built.answer(numbers, refused)
    built.answer(_CLONE3, unknown)
    if (clone := built.number(_CLONE)) is not None:
        built.add(_JUMP_EQUAL, clone, 0, 4)
        built.add(_LOAD, _ARGUMENTS_AT)
        built.add(_JUMP_ANY_BIT, _CLONE_THREAD, 1, 0)
        built.add(_RETURN, refused)
        built.add(_RETURN, _ALLOW)
    own = os.getpid() if pid is None else pid
    built.only(_TGKILL, 0, (own,), refused)
    built.only(_PRLIMIT64, 0, (0, own), refused)
    built.only(_PRCTL, 0, (_PR_SET_NAME, _PR_GET_NAME, _PR_GET_DUMPABLE, _PR_GET_SECCOMP, _PR_SET_VMA), refused)
    built.answer(_REMAP_FILE_PAGES, refused)
    if not new_code:
        for numbers in (_MMAP, _MPROTECT, _PKEY_MPROTECT):
            built.unless_bits(numbers, 2, _PROT_EXEC, refused)
    if (ioctl := built.number(_IOCTL)) is not None:
        built.add(_JUMP_EQUAL, ioctl, 0, 6)
        built.add(_LOAD, _ARGUMENTS_AT + 8)
        for place, request in enumerate((_TIOCSTI, _TIOCLINUX, _TIOCSCTTY)):
            built.add(_JUMP_EQUAL, request, 3 - place, 0)
        built.add(_RETURN, _ALLOW)
        built.add(_RETURN, refused)
    built.add(_RETURN, _ALLOW)
    return built.bytes()


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(*, network: bool = False, new_code: bool = False) -> None:
    """Put the filter on every thread of this process, for good; needs ``no_new_privs``.

    Raises:
        OSError: it did not take hold.
    """
    code = program(network=network, new_code=new_code)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = _SockFprog(len(code) // 8, ctypes.addressof(buffer))
    thread = call(_SECCOMP[MACHINE], _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(filter_))
    if thread > 0:
        raise OSError(errno.EBUSY, f"thread {thread} did not take the filter")


def active() -> bool:
    """Whether a filter is on this process."""
    return prctl(_PR_GET_SECCOMP) == 2
