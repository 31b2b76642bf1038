"""The layers one by one, each tried in a process of its own, and the numbers of the system calls against the C headers."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from shuyan import confinement
from shuyan.confinement import _seccomp

LAYERS = confinement.layers_here()
ALWAYS = {"no_new_privs"}


def inside(code: str, layers: list[str], **confinement: object) -> subprocess.CompletedProcess[str]:
    """Run ``code`` shut in and sealed behind some layers; it prints what it found."""
    whole = (
        "import ctypes, os, socket, sys, threading\n"
        "from shuyan import confinement\n"
        f"c = confinement.Confinement(layers=frozenset({sorted({*layers, *ALWAYS})!r}), **{confinement!r})\n"
        "active = [*confinement.shut_in(c)]\n"
        "active += confinement.seal(c)\n"
        "def attempt(f):\n"
        "    try:\n        f()\n    except OSError as error:\n        return error.errno\n    return 0\n"
        f"{code}\n")
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False, timeout=60)


def needs(*layers: str) -> pytest.MarkDecorator:
    missing = [layer for layer in layers if layer not in LAYERS]
    return pytest.mark.skipif(bool(missing), reason=f"the kernel does not offer {', '.join(missing)}")


@needs("landlock")
def test_landlock_leaves_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "granted").mkdir()
    (tmp_path / "granted" / "file").write_text("rows")
    (tmp_path / "one").write_text("rows")
    (tmp_path / "other").write_text("rows")
    (tmp_path / "scratch").mkdir()
    done = inside(
        f"""place = {str(tmp_path)!r}
print(open(place + "/granted/file").read(), open(place + "/one").read(), attempt(lambda: open(place + "/other")),
      attempt(lambda: open(place + "/one", "w")), attempt(lambda: open(place + "/granted/new", "w")),
      attempt(lambda: os.listdir(place)), attempt(lambda: open("/etc/passwd")))
open(place + "/scratch/file", "w").write("x"); os.mkdir(place + "/scratch/d"); os.remove(place + "/scratch/file")
print(attempt(lambda: os.symlink("/etc/passwd", place + "/scratch/l")), attempt(lambda: os.mkfifo(place + "/scratch/f")))
""", ["landlock"], read=(str(tmp_path / "granted"), str(tmp_path / "one")), write=(str(tmp_path / "scratch"),))
    assert done.stdout.split() == ["rows", "rows", *["13"] * 5, "13", "13"], done.stderr


@needs("landlock", "landlock_scope")
def test_landlock_hides_other_processes() -> None:
    done = inside(
        "print(attempt(lambda: os.kill(os.getppid(), 0)), attempt(lambda: open(f'/proc/{os.getppid()}/environ')))",
        ["landlock", "landlock_scope"])
    assert done.stdout.split() == ["1", "13"], done.stderr


@needs("landlock_network")
def test_landlock_closes_tcp() -> None:
    done = inside("s = socket.socket(); print(attempt(lambda: s.connect(('127.0.0.1', 9))), attempt(lambda: s.bind(('127.0.0.1', 0))))",
                  ["landlock"])
    assert done.stdout.split() == ["13", "13"], done.stderr
    open_ = inside("s = socket.socket(); print(attempt(lambda: s.bind(('127.0.0.1', 0))))", ["landlock"], network=True)
    assert open_.stdout.split() == ["0"], open_.stderr


@needs("landlock")
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_landlock_of_older_kernels(version: int, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("rows")
    whole = (
        "from shuyan import confinement\nfrom shuyan.confinement import _landlock\n"
        f"real = _landlock.abi()\n_landlock.abi = lambda: min(real, {version})\n"
        f"active = confinement.shut_in(confinement.Confinement(read=({str(tmp_path / 'one')!r},), layers=frozenset({{'landlock', 'landlock_scope'}})))\n"
        f"print(open({str(tmp_path / 'one')!r}).read(), *active)\n"
        "try:\n    open('/etc/passwd')\nexcept PermissionError:\n    print('refused')")
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False)
    assert done.stdout.split()[0] == "rows", done.stderr
    assert done.stdout.split()[-1] == "refused"
    assert ("landlock_network" in done.stdout) == (version >= 4 and "landlock_network" in LAYERS)
    assert ("landlock_scope" in done.stdout) == (version >= 6 and "landlock_scope" in LAYERS)


@needs("landlock", "mount_namespace")
def test_hiding(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("rows")
    done = inside(
        f"""print(os.path.exists({str(tmp_path / "one")!r}), os.path.exists("/etc/passwd"), attempt(lambda: os.listdir("/")),
      attempt(lambda: os.listdir("/proc")), "landlock" in active, "mount_namespace" in active)
import json, decimal, sqlite3""", sorted(confinement.LAYERS), hide=True)
    assert done.stdout.split() == ["False", "False", "13", "13", "True", "True"], done.stdout + done.stderr


@needs("seccomp")
def test_seccomp_refuses_and_kills() -> None:
    done = inside(
        "print(attempt(socket.socket), attempt(os.fork), attempt(lambda: os.kill(1, 0)), attempt(lambda: os.execv('/bin/true', ['x'])))\n"
        "t = threading.Thread(target=lambda: print(attempt(socket.socket))); t.start(); t.join()\n"
        "print(attempt(lambda: os.kill(os.getpid(), 0)))", ["seccomp"])
    assert done.stdout.split() == ["1", "1", "1", "1", "1", "1"], done.stderr
    number = {"x86_64": 101, "aarch64": 117}[_seccomp.MACHINE]
    assert inside(f"ctypes.CDLL(None).syscall({number}, 0, 0, 0, 0)", ["seccomp"]).returncode == -confinement.VIOLATION_SIGNAL
    networked = inside("print(attempt(socket.socket), attempt(os.fork))", ["seccomp"], network=True)
    assert networked.stdout.split() == ["0", "1"], networked.stderr


@needs("seccomp")
def test_abort_still_works_and_capabilities_are_gone() -> None:
    assert inside("os.abort()", ["seccomp"]).returncode == -6
    done = inside("print(open('/proc/self/status').read())", ["seccomp", "capabilities"])
    assert re.search(r"CapEff:\s*0+\n", done.stdout)
    assert re.search(r"NoNewPrivs:\s*1", done.stdout)
    assert re.search(r"Seccomp:\s*2", done.stdout)


@needs("namespaces", "network_namespace")
def test_namespaces(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("rows")
    done = inside(
        f"""print(sorted(os.listdir("/sys/class/net")) if os.path.exists("/sys/class/net") else [], attempt(lambda: open("/etc/passwd")),
      open({str(tmp_path / "one")!r}).read(), attempt(lambda: open("/rows", "w")), os.listdir("/proc"), "mount_namespace" in active)
import json, decimal, sqlite3""", ["namespaces", "network_namespace", "mount_namespace"], read=(str(tmp_path / "one"),))
    assert done.stdout.split() == ["[]", "2", "rows", "30", "[]", "True"], done.stdout + done.stderr


@needs("landlock")
def test_a_second_thread_would_stay_outside() -> None:
    done = inside("", [])
    assert done.returncode == 0
    code = ("import threading, time\nfrom shuyan import confinement\nthreading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
            "try:\n    confinement.shut_in(confinement.Confinement())\nexcept confinement.SandboxError as error:\n    print('refused')")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout == "refused\n"


def test_what_is_sufficient() -> None:
    assert confinement.sufficient(["seccomp", "landlock"])
    assert confinement.sufficient(["seccomp", "namespaces", "mount_namespace"])
    for layers in ([], ["seccomp"], ["landlock"], ["seccomp", "namespaces", "network_namespace"], ["landlock", "mount_namespace"]):
        assert not confinement.sufficient(layers)


HEADERS = {"x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "aarch64": Path("/usr/include/asm-generic/unistd.h")}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())}
    place = list(HEADERS).index(machine)
    named = {**_seccomp._KILLED, **_seccomp._REFUSED, **_seccomp._SOCKETS, "clone": _seccomp._CLONE, "clone3": _seccomp._CLONE3,
             "tgkill": _seccomp._TGKILL, "prctl": _seccomp._PRCTL, "prlimit64": _seccomp._PRLIMIT64, "ioctl": _seccomp._IOCTL,
             "mmap": _seccomp._MMAP, "mprotect": _seccomp._MPROTECT, "pkey_mprotect": _seccomp._PKEY_MPROTECT}
    wrong = {name: (numbers[place], known.get(name)) for name, numbers in named.items()
             if numbers[place] != known.get(name) and not (name not in known and (numbers[place] or 0) > 445)}
    assert not wrong


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("network", [False, True])
def test_every_path_through_the_filter_ends(machine: str, network: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program, run by a small machine of our own: every call ends in a verdict, and the right one."""
    monkeypatch.setattr(_seccomp, "MACHINE", machine)
    code = _seccomp.program(network=network, pid=7)
    program = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]

    def verdict(number: int, arguments: tuple[int, ...] = (), architecture: int = _seccomp._ARCHITECTURE[machine]) -> str:
        data = struct.pack("<IIQ6Q", number, architecture, 0, *(arguments + (0,) * 6)[:6])
        at = register = 0
        for _ in range(len(program) + 1):
            kind, then, otherwise, value = program[at]
            at += 1
            if kind == _seccomp._LOAD:
                (register,) = struct.unpack_from("<I", data, value)
            elif kind == _seccomp._RETURN:
                return {0x80000000: "kill", 0x7FFF0000: "allow", 0x50001: "EPERM", 0x50026: "ENOSYS"}[value]
            else:
                met = {_seccomp._JUMP_EQUAL: register == value, _seccomp._JUMP_ABOVE: register > value,
                       _seccomp._JUMP_AT_LEAST: register >= value, _seccomp._JUMP_ANY_BIT: bool(register & value)}[kind]
                at += then if met else otherwise
        raise AssertionError("no end")

    place = 0 if machine == "x86_64" else 1
    for numbers in _seccomp._KILLED.values():
        if numbers[place] is not None:
            assert verdict(numbers[place]) == "kill"
    for numbers in _seccomp._REFUSED.values():
        if numbers[place] is not None:
            assert verdict(numbers[place]) == "EPERM"
    for numbers in _seccomp._SOCKETS.values():
        assert verdict(numbers[place]) == ("allow" if network else "EPERM")
    assert verdict(0, architecture=0x40000003) == "kill"
    assert verdict(5000) == "ENOSYS"
    assert verdict(_seccomp._CLONE3[place]) == "ENOSYS"
    assert (verdict(_seccomp._CLONE[place], (0x3D0F00,)), verdict(_seccomp._CLONE[place], (17,))) == ("allow", "EPERM")
    assert (verdict(_seccomp._TGKILL[place], (7, 7)), verdict(_seccomp._TGKILL[place], (8, 8))) == ("allow", "EPERM")
    assert [verdict(_seccomp._PRLIMIT64[place], (who,)) for who in (0, 7, 1)] == ["allow", "allow", "EPERM"]
    assert [verdict(_seccomp._MMAP[place], (0, 0, rights)) for rights in (3, 5, 7, 4)] == ["allow", "EPERM", "EPERM", "EPERM"]
    assert [verdict(_seccomp._PRCTL[place], (option,)) for option in (15, 38, 1, 4, 22)] == ["allow", *["EPERM"] * 4]
    assert [verdict(_seccomp._IOCTL[place], (0, request)) for request in (0x5401, 0x5412)] == ["allow", "EPERM"]
    read, write = ((0, 1), (63, 64))[place]
    assert verdict(read) == verdict(write) == "allow"
    if machine == "x86_64":
        assert verdict(0x40000000 | 1) == "kill"
