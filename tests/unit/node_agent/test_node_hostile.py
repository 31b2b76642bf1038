"""A developer's app that means harm: each attempt fails with a code, the agent stays well, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
import rfc8785
from node_harness import one_node, runs

from node_agent.worker.pool import Workers
from shuyan import confinement
from shuyan.appkit import loader, sign_package
from shuyan.appkit.package import pack
from shuyan.federation.answers import PlainAnswer
from shuyan.trust.grants import GrantedApp
from shuyan.trust.keys import generate_signing_key
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

LAYERS = confinement.layers_here()
CANARY = "73910.5"
FILES = ["read", "read_passwd", "list_root", "list_home", "agent_memory", "agent_environment", "agent_files", "own_memory",
         "processes", "in_a_thread", "write_here", "write_tmp", "write_shm", "write_node", "delete", "rename", "directory", "link",
         "truncate"]
METADATA = ["metadata", "passwd_there"]
NETWORK = ["internet", "datagram", "unix", "pair", "netlink", "raw"]
PROCESSES = ["fork", "program", "exec", "spawn", "kill_agent", "look_for_agent", "kill_nursery", "kill_all", "kill_group", "pidfd", "memfd",
             "machine_code", "session", "priority", "limit_agent", "stay", "dumpable", "shared", "more_memory", "more_files"]
SQL = ["sql_file", "sql_glob", "sql_copy", "sql_attach", "sql_install", "sql_load", "sql_unlock", "sql_threads", "other_database",
       "database_file"]

needs_sandbox = pytest.mark.skipif(not confinement.sufficient(LAYERS), reason=f"the kernel offers only {', '.join(LAYERS) or 'nothing'}")


@pytest.fixture(scope="module")
def package():
    text = (Path(__file__).parent / "hostile" / "__init__.py").read_text()
    sources = {"hostile/__init__.py": text}
    return pack(loader.static_manifest(loader.import_app("hostile", sources)), sources)


def canary_csv(rows=40):
    lines = ["id,age,weight", *(f"{row},{30 + row},{50 + row}" for row in range(rows - 1)), f"99,40,{CANARY}"]
    return "\n".join(lines) + "\n"


class Hostile:
    """One node on which the hostile app is installed and allowed."""

    def __init__(self, package, world, agent, session):
        self.package, self.world, self.agent, self.session = package, world, agent, session
        self.jws = world.signed(apps=(GrantedApp(name="hostile", digest=package.digest),), resources=tuple(
            item.model_copy(update={"columns": ("age", "weight")}) for item in world.grant().resources))
        self.runs = 0
        self.plain = []

    async def ask(self, *, run="", deadline_ms=60_000, **params):
        self.runs += 1
        given = {"resource": "patients", "column": "weight", "domains": {}, "mode": "sum", "attempts": [], "path": "", "pid": os.getpid(), **params}
        return await self.session.ask(self.world.task(
            self.jws, run=run or f"run_{self.runs}", round_=self.runs, task_id=f"task-{self.runs}", expect={"totals": 1},
            app_name="hostile", app_digest=self.package.digest, deadline_ms=deadline_ms,
            params_json=rfc8785.dumps(given).decode()))


@contextlib.asynccontextmanager
async def hostile_node(place, package, *, config="[worker]\nmemory_mb = 400\n[policy]\napp_failures = 1000\n"):
    """A connected node with the app installed the way an administrator does it, and its files before anything ran."""
    key = generate_signing_key()

    async with one_node(place, csv=canary_csv(), config=config) as (world, _, agent, session):
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        agent.admin.on_change = lambda _what: None  # the link would be dialled anew for each of these
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        agent.admin.TrustAppKey(local_pb2.TrustAppKeyRequest(pem=pem))
        agent.admin.InstallApp(local_pb2.InstallAppRequest(
            package=package.data, signature=sign_package(package, key, issuer="运营机构", at=int(time.time()))))
        agent.admin.AllowApp(local_pb2.AllowAppRequest(name="hostile", allow=True))
        attack = Hostile(package, world, agent, session)
        original = agent.worker.run

        async def listen(work, deadline):
            answer = await original(work, deadline)
            attack.plain.append(PlainAnswer.from_bytes(answer))
            return answer

        agent.worker.run = listen
        yield attack


def bytes_left(place):
    """Every file of the node with the canary in it, but the source itself."""
    return [path for path in Path(place).rglob("*") if path.is_file() and path.suffix != ".csv" and CANARY.encode() in path.read_bytes()]


@needs_sandbox
@pytest.mark.parametrize("attempts", [FILES, NETWORK, PROCESSES, SQL], ids=["files", "network", "processes", "sql"])
@runs
async def test_what_is_refused(place, package, attempts):
    async with hostile_node(place, package) as attack:
        secret = str(place / "node0" / "keys" / "authority.pub")
        before = sorted(path for path in Path(place).rglob("*"))
        agent_alive = os.getpid()
        reply = await attack.ask(attempts=attempts, path=secret)
        assert reply.HasField("flower_message"), reply.failure
        (value,) = attack.plain[-1].vectors["totals"]
        assert value < 1000 or value > 2000, f"{attempts[int(value) - 1000]} succeeded"
        assert Path(secret).read_bytes()
        assert os.getpid() == agent_alive
        new = {path.name for path in Path(place).rglob("*")} - {path.name for path in before}
        assert not {name for name in new if not name.startswith(("state.sqlite", "worker.log"))}
        assert not Path("/tmp/rows").exists()
        assert not bytes_left(place)


@needs_sandbox
@pytest.mark.skipif("mount_namespace" not in LAYERS, reason="without a file system of its own it can ask whether a file exists")
@runs
async def test_not_even_names_are_seen(place, package):
    async with hostile_node(place, package) as attack:
        assert (await attack.ask(attempts=METADATA, path=str(place / "node0.csv"))).HasField("flower_message")
        assert attack.plain[-1].vectors["totals"] > 2000


@needs_sandbox
@pytest.mark.slow
@runs
async def test_what_ends_the_process(place, package):
    async with hostile_node(place, package) as attack:
        for mode in ("ptrace", "process_vm_readv", "unshare", "io_uring", "bpf", "keyring", "mount"):
            failure = (await attack.ask(mode=mode)).failure
            assert (mode, failure.code, failure.retryable, dict(failure.args)) == (mode, "sandbox_violation", False, {})
        assert not attack.agent.worker.foreign_pids
        assert (await attack.ask()).HasField("flower_message")


@needs_sandbox
@pytest.mark.slow
@runs
async def test_what_uses_too_much(place, package):
    async with hostile_node(place, package) as attack:
        warm = attack.agent.worker.pid
        for mode, codes, deadline in (
                ("memory", {"worker_memory"}, 60_000), ("threads", {"app_failed", "worker_memory", "worker_crashed"}, 60_000),
                ("hang", {"worker_timeout"}, 3000), ("spin", {"worker_timeout"}, 3000), ("deaf", {"worker_timeout"}, 3000),
                ("exit", {"worker_crashed"}, 60_000)):
            failure = (await attack.ask(mode=mode, deadline_ms=deadline)).failure
            assert failure.code in codes, (mode, failure)
            assert not failure.args
        assert attack.agent.worker.pid == warm
        assert (await attack.ask()).HasField("flower_message")


@needs_sandbox
@pytest.mark.slow
@runs
async def test_what_it_answers(place, package):
    async with hostile_node(place, package) as attack:
        for mode, code in (
                ("nan", "output_not_finite"), ("huge", "output_out_of_bound"), ("undeclared", "output_undeclared"),
                ("other_name", "output_undeclared"), ("too_many", "output_undeclared"), ("flood", "output_undeclared"),
                ("rows_claimed", "output_undeclared"), ("rows_few", "cohort_too_small"), ("raise", "app_failed"),
                ("kind", "app_failed"), ("patched", "output_undeclared")):
            reply = await attack.ask(mode=mode)
            assert (mode, reply.failure.code) == (mode, code)
            assert CANARY not in str(reply)
            assert set(reply.failure.args) <= {"minimum"}
        assert (await attack.ask(mode="chatter")).HasField("flower_message")
        assert not bytes_left(place)


@needs_sandbox
@pytest.mark.slow
@runs
async def test_what_it_writes_to_the_agent(place, package):
    async with hostile_node(place, package) as attack:
        for mode, code in (
                ("garbage", "output_undeclared"), ("no_json", "output_undeclared"), ("nested", "output_undeclared"), ("long_header", "output_undeclared"),
                ("long_body", "output_undeclared"), ("other_code", "app_failed"), ("other_words", "app_failed"),
                ("sealed_again", "output_undeclared"), ("empty", "output_undeclared"), ("bad_answer", "output_undeclared")):
            reply = await attack.ask(mode=mode, deadline_ms=20_000)
            assert (mode, reply.failure.code) == (mode, code)
            assert not reply.failure.args
        assert "Zhang" not in (place / "node0" / "worker.log").read_text()
        assert (await attack.ask()).HasField("flower_message")


@needs_sandbox
@runs
async def test_a_process_serves_one_run_and_rests_between_tasks(place, package):
    async with hostile_node(place, package) as attack:
        assert (await attack.ask(run="first")).HasField("flower_message")
        (pid,) = attack.agent.worker.foreign_pids
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
            await asyncio.sleep(0)  # the signal has been sent; it arrives when the kernel gets to it
        assert (await attack.ask(run="first")).HasField("flower_message")
        assert attack.agent.worker.foreign_pids == [pid]
        assert (await attack.ask(run="second")).HasField("flower_message")
        assert len(attack.agent.worker.foreign_pids) == 2
        # Other columns are other data: a new process.
        assert (await attack.ask(run="second", column="age")).HasField("flower_message")
        assert len(attack.agent.worker.foreign_pids) == 3
        await attack.session.send(cancel=link_pb2.Cancel(run_id="first", reason="finished"))
        assert (await attack.ask(run="first")).failure.code == "run_cancelled"
        assert pid not in attack.agent.worker.foreign_pids
        np.testing.assert_array_equal([plain.vectors["totals"] for plain in attack.plain][:2],
                                      [[sum(range(50, 89)) + float(CANARY)]] * 2)


@runs
async def test_without_a_sandbox_it_does_not_run(place, package):
    async with hostile_node(place, package) as attack:
        weak = Workers(attack.agent.worker._limits, place / "node0" / "scratch", place / "node0" / "worker.log",
                       layers=("no_new_privs", "seccomp"))
        attack.agent.pipeline._worker = weak
        try:
            assert (await attack.ask()).failure.code == "sandbox_unavailable"
        finally:
            await weak.stop()


@pytest.mark.skipif("namespaces" not in LAYERS or "seccomp" not in LAYERS, reason="no namespaces for this process here")
@runs
async def test_namespaces_do_where_landlock_is_missing(place, package):
    async with hostile_node(place, package) as attack:
        other = Workers(attack.agent.worker._limits, place / "node0" / "scratch", place / "node0" / "worker.log",
                        layers=[layer for layer in confinement.LAYERS if not layer.startswith("landlock")])
        attack.agent.pipeline._worker = other
        try:
            for attempts in (FILES, NETWORK):
                reply = await attack.ask(attempts=attempts, path=str(place / "node0" / "keys" / "authority.pub"))
                assert reply.HasField("flower_message"), reply.failure
            assert not bytes_left(place)
        finally:
            await other.stop()


@needs_sandbox
@runs
async def test_it_cannot_tell_bits_by_failing_for_long(place, package):
    async with hostile_node(place, package, config="[policy]\napp_failures = 3\n") as attack:
        codes = [(await attack.ask(mode=mode)).failure.code for mode in ("exit", "nan", "raise", "sum")]
        assert codes == ["worker_crashed", "output_not_finite", "app_failed", "app_suspended"]
        assert [entry.event for entry in attack.agent.admin.journal.read(limit=1000)].count("app:suspended") == 1
        attack.agent.admin.AllowApp(local_pb2.AllowAppRequest(name="hostile", allow=True))
        assert (await attack.ask()).HasField("flower_message")


@runs
async def test_installing(place, package):
    from shuyan.problems import ProblemError

    async with hostile_node(place, package) as attack:
        admin = attack.agent.admin
        (app,) = [app for app in admin.ListApps(local_pb2.ListAppsRequest()).apps if app.kind == "third_party"]
        assert (app.name, app.allowed, app.signer, app.digest) == ("hostile", True, "运营机构", package.digest)
        stranger = generate_signing_key()
        for request, code in (
                (local_pb2.InstallAppRequest(package=package.data, signature="x.y.z"), "app_signature_invalid"),
                (local_pb2.InstallAppRequest(package=package.data, signature=sign_package(package, stranger, issuer="x", at=1)),
                 "app_signature_invalid"),
                (local_pb2.InstallAppRequest(package=package.data[:-1], signature=""), "package_invalid")):
            with pytest.raises(ProblemError) as raised:
                admin.InstallApp(request)
            assert raised.value.code == code
        assert (await attack.ask()).HasField("flower_message")
        # The files are read-only and say what is signed; changing one makes the app unusable at the next start.
        folder = place / "node0" / "apps" / "hostile"
        assert (folder / "content" / "src" / "hostile" / "__init__.py").read_text() == package.sources["hostile/__init__.py"]
        admin.RemoveApp(local_pb2.RemoveAppRequest(name="hostile"))
        assert not folder.exists()
        assert (await attack.ask()).failure.code == "app_not_allowed"
