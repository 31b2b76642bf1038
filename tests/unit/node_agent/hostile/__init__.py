# ruff: noqa: RUF012, SIM115
"""A federated app that means harm. It is packed as it stands, without the checks that would refuse it."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Literal

import duckdb
import numpy as np

from shuyan.federation.kit import (
    ClientApp,
    Content,
    Context,
    Message,
    Params,
    Reads,
    VectorSpec,
    federated_app,
    reply,
)

client_app = ClientApp()


class HostileParams(Params):
    column: str
    mode: str = "sum"
    attempts: list[str] = []
    path: str = ""
    pid: int = 0


class HostileContent(Content):
    kind: Literal["statistics"]
    total: float


def _syscall(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _write(place: str) -> None:
    with open(place, "w") as file:
        file.write("rows")


def _thread(attempt) -> None:
    """The same from a new thread: it must not be freer than its parent."""
    failed = []

    def run() -> None:
        try:
            attempt()
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _attempts(params: HostileParams, inputs) -> dict:
    agent = params.pid
    sql = inputs.connection.execute
    return {
        "read": lambda: open(params.path).read(), "read_passwd": lambda: open("/etc/passwd").read(),
        "metadata": lambda: os.stat(params.path), "passwd_there": lambda: os.stat("/etc/passwd"),
        "list_root": lambda: os.listdir("/"), "list_home": lambda: os.listdir(os.path.expanduser("~")),
        "agent_memory": lambda: open(f"/proc/{agent}/mem", "rb"), "agent_environment": lambda: open(f"/proc/{agent}/environ").read(),
        "agent_files": lambda: os.listdir(f"/proc/{agent}/fd"), "own_memory": lambda: open("/proc/self/mem", "wb"),
        "processes": lambda: os.listdir("/proc"), "in_a_thread": lambda: _thread(lambda: open("/etc/passwd")),
        "write_here": lambda: _write("rows"), "write_tmp": lambda: _write("/tmp/rows"), "write_shm": lambda: _write("/dev/shm/rows"),
        "write_node": lambda: _write(params.path + ".rows"), "delete": lambda: os.remove(params.path),
        "rename": lambda: os.rename(params.path, params.path + "2"), "directory": lambda: os.mkdir("/tmp/rows"),
        "link": lambda: os.link(params.path, "/tmp/link"), "truncate": lambda: os.truncate(params.path, 0),
        "internet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", 9)),
        "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"rows", ("127.0.0.1", 9)),
        "unix": lambda: socket.socket(socket.AF_UNIX).connect(params.path), "pair": lambda: socket.socketpair(),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), "raw": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "fork": lambda: os._exit(0) if os.fork() == 0 else None, "program": lambda: subprocess.run(["/bin/true"], check=True),
        "exec": lambda: os.execv("/bin/true", ["true"]), "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "kill_agent": lambda: os.kill(agent, signal.SIGKILL), "look_for_agent": lambda: os.kill(agent, 0),
        "kill_nursery": lambda: os.kill(os.getppid(), signal.SIGKILL), "kill_all": lambda: os.kill(-1, signal.SIGTERM), "kill_group": lambda: os.killpg(0, signal.SIGTERM),
        "pidfd": lambda: os.pidfd_open(agent), "memfd": lambda: os.memfd_create("rows"),
        "machine_code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "become": lambda: os.setuid(0), "session": lambda: os.setsid(), "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
        "more_memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "more_files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
        "limit_agent": lambda: resource.prlimit(agent, resource.RLIMIT_CPU, (1, 1)),
        "stay": lambda: _prctl(1, 0), "dumpable": lambda: _prctl(4, 1), "shared": lambda: _syscall(29, 1, 4096, 0o1666),
        "sql_file": lambda: sql("SELECT * FROM read_text('/etc/passwd')").fetchall(),
        "sql_glob": lambda: sql("SELECT * FROM glob('/*')").fetchall(),
        "sql_copy": lambda: sql("COPY data TO '/tmp/rows.csv'"), "sql_attach": lambda: sql("ATTACH '/tmp/rows.db'"),
        "sql_install": lambda: sql("INSTALL httpfs"), "sql_load": lambda: sql("LOAD httpfs"),
        "sql_unlock": lambda: sql("SET enable_external_access = true"),
        "sql_threads": lambda: sql("SET memory_limit = '100GB'"),
        "other_database": lambda: _some(duckdb.connect(":memory:").execute("SELECT * FROM read_text('/etc/passwd')").fetchall()),
        "database_file": lambda: duckdb.connect("/tmp/rows.duckdb").execute("CREATE TABLE t AS SELECT 1"),
    }


def _some(rows: list) -> None:
    """A file that is not there reads as no rows."""
    if not rows:
        raise OSError("nothing")


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


VIOLATIONS = {
    "ptrace": lambda pid: _syscall({"x86_64": 101, "aarch64": 117}[os.uname().machine], 16, pid, 0, 0),
    "process_vm_readv": lambda pid: _syscall({"x86_64": 310, "aarch64": 270}[os.uname().machine], pid, 0, 0, 0, 0, 0),
    "unshare": lambda _: _syscall({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000),
    "io_uring": lambda _: _syscall(425, 8, ctypes.create_string_buffer(256)),
    "bpf": lambda _: _syscall({"x86_64": 321, "aarch64": 280}[os.uname().machine], 0, 0, 0),
    "keyring": lambda _: _syscall({"x86_64": 250, "aarch64": 219}[os.uname().machine], 0, 0, 0),
    "mount": lambda _: _syscall({"x86_64": 165, "aarch64": 40}[os.uname().machine], 0, 0, 0, 0, 0),
}


def _agent_channel() -> int:
    """The descriptor that leads to the agent: the only one above the standard three that is a socket."""
    for descriptor in range(3, 64):
        try:
            if (os.fstat(descriptor).st_mode & 0o170000) == 0o140000:
                return descriptor
        except OSError:
            continue
    raise OSError("none")


def _frame(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(4, "big") + len(body).to_bytes(4, "big") + header + body


FORGERIES = {
    "garbage": b"\xff" * 64, "no_json": _frame(b"{" * 40), "nested": _frame(b"[" * 60_000), "long_header": b"\x7f\xff\xff\xff\x00\x00\x00\x00",
    "long_body": b"\x00\x00\x00\x02\xff\xff\xff\xff{}", "other_code": _frame(b'{"status":"failed","code":"grant_revoked"}'),
    "other_words": _frame(b'{"status":"failed","code":"app_failed","where":"Zhang San has a secret"}'),
    "sealed_again": _frame(b'{"status":"sealed","layers":[],"rows":{"patients":999999}}'), "empty": _frame(b'{"status":"ok"}'),
    "bad_answer": _frame(b'{"status":"ok"}', b"\x10\x00\x00\x00{\"cohort\":true}"),
}


@client_app.query("tally")
def tally(message: Message, context: Context) -> Message:
    params, inputs = context.params, context.inputs
    rows = inputs.row_count()
    (total,) = inputs.connection.execute(f'SELECT sum("{params.column}") FROM data').fetchone()
    secret = str(inputs.connection.execute(f'SELECT max("{params.column}") FROM data').fetchone())
    answer = {"totals": np.array([float(total)])}
    mode = params.mode
    known = _attempts(params, inputs)
    for place, name in enumerate(params.attempts):
        try:
            known[name]()
        except (OSError, ValueError, duckdb.Error):
            continue
        return reply(message, {"totals": np.array([1000.0 + place])}, rows)
    if params.attempts:
        return reply(message, answer, rows)
    if mode in VIOLATIONS:
        VIOLATIONS[mode](params.pid)
    if mode in FORGERIES:
        os.write(_agent_channel(), FORGERIES[mode])
        time.sleep(3600)
    if mode == "chatter":
        print(secret, flush=True)
        print(secret, file=sys.stderr, flush=True)
        os.write(2, secret.encode())
    if mode == "raise":
        raise RuntimeError(secret)
    if mode == "kind":
        raise type("E" + secret.strip("(),").replace(".", "_"), (Exception,), {})
    if mode == "hang":
        time.sleep(3600)
    if mode == "spin":
        while True:
            pass
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass
    if mode == "memory":
        hoard = []
        while True:
            hoard.append(np.ones(4_000_000))
    if mode == "threads":
        for _ in range(100_000):
            threading.Thread(target=time.sleep, args=(3600,)).start()
    if mode == "exit":
        os._exit(0)
    if mode == "nan":
        answer = {"totals": np.array([np.nan])}
    if mode == "huge":
        answer = {"totals": np.array([1e300])}
    if mode == "undeclared":
        answer = {**answer, "rows": np.ones(3)}
    if mode == "other_name":
        answer = {"secret": answer["totals"]}
    if mode == "too_many":
        answer = {"totals": np.ones(100_000)}
    if mode == "flood":
        answer = {"totals": np.ones(8_000_000)}
    if mode == "rows_claimed":
        rows = 10**9
    if mode == "rows_few":
        rows = 1
    if mode == "patched":
        _patch()
    return reply(message, answer, rows)


def _patch() -> None:
    """Change the platform from the inside, as far as it is in this process."""
    from node_agent.worker import host
    from shuyan.federation import egress, problems
    from shuyan.federation.answers import PlainAnswer

    egress.check_output = lambda *_, **__: {}
    problems.APP_CODES = frozenset({"grant_revoked"})
    host.Worker = None
    PlainAnswer.to_bytes = lambda _: b"anything at all"


def serve(grid, params, progress):
    modes = {
        "server_socket": lambda: socket.socket(), "server_file": lambda: open("/etc/passwd"), "server_program": lambda: subprocess.run(["/bin/true"], check=True),
        "server_raise": lambda: int("a secret row"), "server_violation": lambda: VIOLATIONS["ptrace"](1), "server_exit": lambda: os._exit(0),
        "server_spin": lambda: _spin(), "server_memory": lambda: np.ones(10**10),
    }
    if params.mode in modes:
        modes[params.mode]()
    total = grid.secure_sum("query.tally", expect={"totals": 1})
    grid.tell("secret_" + str(total["totals"][0]))
    content = {"kind": "statistics", "rows": total.cohort, "departments": len(total.participants), "total": float(total["totals"][0])}
    if params.mode == "server_more":
        content["rows_of_somebody"] = [1, 2, 3]
    if params.mode == "server_kind":
        content["kind"] = "model"
    if params.mode == "server_ask_more":
        grid.secure_sum("query.everything", expect={"totals": 1})
    return content


def _spin() -> None:
    while True:
        pass


app = federated_app(
    name="hostile", version="1.0.0", title_zh="恶意应用", title_en="Hostile", output_form="statistics", client_app=client_app,
    serve=serve, params=HostileParams, content=HostileContent, reads=[Reads(param="column", need="number")],
    actions={"query.tally": {"totals": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}})
