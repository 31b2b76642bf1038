"""Shutting a process in, from the inside and without privileges: what it cannot do is refused by the kernel.

A process that will run code nobody here wrote calls two functions, in this order:

1. :func:`shut_in`, while it has one thread: no new privileges, namespaces where the kernel lets an unprivileged process
   have them, Landlock (files, TCP, abstract sockets, signals). Threads started later inherit all of it.
2. :func:`seal`, when everything it needs is loaded: capabilities dropped, and a seccomp filter over all threads.

A process that needs no file of the machine (:attr:`Confinement.hide`) gets a file system of its own with nothing in it but
the interpreter, where that is allowed: under Landlock alone it could still ask whether a file exists and how large it is.
There Landlock comes with step 2, because ``/proc``, which loading DuckDB needs, has to be let go of first.

Neither can be undone. Both say which layers took hold, because kernels and containers differ; :func:`sufficient` decides
whether that is enough. The same module serves the node's worker and the coordinator, and needs no other package.

``python -m shuyan.confinement`` prints which layers this machine has.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shuyan.confinement import _landlock, _namespaces, _seccomp, _syscalls

NO_NEW_PRIVS: Final = "no_new_privs"
LANDLOCK: Final = "landlock"
LANDLOCK_NETWORK: Final = "landlock_network"
LANDLOCK_SCOPE: Final = "landlock_scope"
NAMESPACES: Final = "namespaces"
NETWORK_NAMESPACE: Final = "network_namespace"
MOUNT_NAMESPACE: Final = "mount_namespace"
CAPABILITIES: Final = "capabilities"
SECCOMP: Final = "seccomp"

LAYERS: Final = (NO_NEW_PRIVS, LANDLOCK, LANDLOCK_NETWORK, LANDLOCK_SCOPE, NAMESPACES, NETWORK_NAMESPACE, MOUNT_NAMESPACE,
                 CAPABILITIES, SECCOMP)
"""Every layer, in the order in which they are reported.

``namespaces`` is a user namespace of its own; ``mount_namespace`` a file system with nothing in it but the interpreter, made
for a process that hides from files, or where Landlock is missing; ``capabilities`` means that none are left.
"""

_MACHINE: Final = ("/proc/self/cgroup", "/proc/self/statm", "/proc/stat", "/proc/meminfo", "/proc/sys/vm/overcommit_memory",
                   "/sys/devices/system/cpu", "/sys/fs/cgroup")
# How many processors and how much memory there is; DuckDB cannot be loaded without the first.

VIOLATION_SIGNAL: Final = 31
"""SIGSYS: how a process ends that asked for what no honest program asks for."""


class SandboxError(Exception):
    """The sandbox could not be closed as it was asked for; nothing may run in this process."""


@dataclass(frozen=True)
class Confinement:
    """What a process keeps.

    Attributes:
        read: files and directories it may read, besides the interpreter and its libraries.
        write: directories whose content it may read, make and remove.
        network: it may still use sockets. Never for code that is not ours.
        hide: not even the names of other files may be seen.
        layers: those to use; the others are left out, which only tests do.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: bool = False
    hide: bool = False
    layers: frozenset[str] = frozenset(LAYERS)


def shut_in(confinement: Confinement) -> tuple[str, ...]:
    """Step 1. Returns the layers that took hold.

    Raises:
        SandboxError: a layer that exists failed half-way, or there is a second thread that would stay outside.
    """
    if not sys.platform.startswith("linux"):
        return ()
    if _syscalls.thread_count() != 1:
        raise SandboxError("the sandbox has to be closed before there are threads")
    wanted = confinement.layers
    active: list[str] = []
    try:
        if NO_NEW_PRIVS in wanted:
            _syscalls.no_new_privileges()
            active.append(NO_NEW_PRIVS)
        readable = [*library_paths(), *confinement.read]
        landlocked = _landlocked(confinement)
        if NAMESPACES in wanted:
            active += _namespaces.enter(network=NETWORK_NAMESPACE in wanted and not confinement.network)
        if NAMESPACES in active and MOUNT_NAMESPACE in wanted and (confinement.hide or not landlocked):
            try:
                _namespaces.empty_file_system(readable, confinement.write)
                active.append(MOUNT_NAMESPACE)
            except OSError:
                if not landlocked:
                    raise
        if landlocked and MOUNT_NAMESPACE not in active:
            active += _restrict(confinement)
    except OSError as error:
        raise SandboxError(f"the sandbox could not be closed: {error}") from error
    return tuple(layer for layer in LAYERS if layer in active)


def seal(confinement: Confinement, *, new_code: bool = False) -> tuple[str, ...]:
    """Step 2. Returns the layers that took hold.

    Args:
        new_code: machine code may still be mapped, which importing extension modules needs.

    Raises:
        SandboxError: see :func:`shut_in`.
    """
    if not sys.platform.startswith("linux"):
        return ()
    active: list[str] = []
    try:
        if _namespaces.drop_proc() and _landlocked(confinement):
            active += _restrict(confinement)
        if CAPABILITIES in confinement.layers and _syscalls.drop_capabilities():
            active.append(CAPABILITIES)
        if SECCOMP in confinement.layers and _seccomp.available():
            _syscalls.no_new_privileges()
            _seccomp.install(network=confinement.network, new_code=new_code)
            active.append(SECCOMP)
    except OSError as error:
        raise SandboxError(f"the sandbox could not be sealed: {error}") from error
    return tuple(active)


def _landlocked(confinement: Confinement) -> bool:
    return LANDLOCK in confinement.layers and _landlock.abi() > 0


def _restrict(confinement: Confinement) -> list[str]:
    readable = [*library_paths(), *confinement.read]
    return _landlock.restrict(readable, confinement.write, network=confinement.network, full=LANDLOCK_SCOPE in confinement.layers)


def sufficient(layers: Collection[str]) -> bool:
    """Whether code that is not ours may run behind these: files closed by Landlock or an empty file system, and seccomp."""
    return SECCOMP in layers and (LANDLOCK in layers or MOUNT_NAMESPACE in layers)


def library_paths() -> list[str]:
    """Where the interpreter, its packages and shared libraries are; no home, no data, no working directory."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo"}
    found.add(str(Path(sys.base_prefix) / "lib"))
    # Packages of ours that are installed in place, for development: the package only, nothing beside it.
    for name in ("shuyan", "shuyan_protos", "node_agent"):
        module = sys.modules.get(name)
        if module is not None and module.__file__:
            found.add(str(Path(module.__file__).parent))
    return sorted(path for path in found if Path(path).exists()) + [path for path in _MACHINE if Path(path).exists()]


def layers_here(python: Sequence[str] = (sys.executable,)) -> tuple[str, ...]:
    """The layers this machine has, tried in a process of its own."""
    done = subprocess.run([*python, "-m", "shuyan.confinement"], capture_output=True, text=True, timeout=30, check=False)
    return in_order(done.stdout.split()) if done.returncode == 0 else ()


def in_order(layers: Iterable[str]) -> tuple[str, ...]:
    """Known layers in the order of :data:`LAYERS`."""
    found = set(layers)
    return tuple(layer for layer in LAYERS if layer in found)
