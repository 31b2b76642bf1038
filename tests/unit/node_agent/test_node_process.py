"""The command line and the agent as processes of their own: start, stop, kill, come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from node_harness import Coordinator, World, patients, runs
from tests.factories import forking

from shuyan.trust.grants import GrantedApp
from shuyan_protos.link.v1 import link_pb2

SHUYAN_NODE = str(Path(sys.executable).with_name("shuyan-node"))


@pytest.fixture(autouse=True)
def _toy_is_installed(tmp_path, monkeypatch):
    """The toy app as a distribution with an entry point, for processes started here."""
    info = tmp_path / "site" / "toyapp-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyapp\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[shuyan.apps]\ntoy = node_toyapps:app\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("SHUYAN_LANG", "en")


def allow_toy(node_dir):
    """Allow the toy app as it is installed; its digest."""
    command(node_dir, "app", "allow", "toy")
    return next(app["digest"] for app in json.loads(command(node_dir, "app", "list", "--json")) if app["name"] == "toy")


def command(node_dir, *arguments, code=0):
    """Run one command to its end; its standard output."""
    done = forking.finished(["shuyan-node", "--dir", str(node_dir), *arguments], environment=os.environ, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def start(node_dir):
    return subprocess.Popen([SHUYAN_NODE, "--dir", str(node_dir), "run"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def test_commands_without_a_node(place):
    assert "init first" in command(place / "x", "status", code=4)
    assert "is ready" in command(place / "x", "init")
    assert "already" in command(place / "x", "init", code=1)
    assert "not enrolled" in command(place / "x", "run", code=4)
    assert "not enrolled" in command(place / "x", "card", code=4)
    assert json.loads(command(place / "x", "status", "--json"))["state"] == "not_enrolled"
    command(place / "x", "resource", "register", code=2)


def test_commands_on_a_directory(place):
    node_dir = place / "x"
    table = place / "t.csv"
    table.write_text(patients())
    command(node_dir, "init")
    assert "20 rows" in command(node_dir, "source", "add", "people", str(table))
    assert "only" in command(node_dir, "source", "add", "Bad Name", str(table), code=1)
    command(node_dir, "resource", "register", "people", "--source", "people", "--sector", "health", "--grade", "2",
            "--title", "病人", "--dimension", "sex", "--dimension", "age=30,31", "--identifier", "id", "--bounds",
            "weight=0:300", "--unit", "weight=kg", "--approval", "automatic")
    (listed,) = json.loads(command(node_dir, "resource", "list", "--json"))
    columns = {column["name"]: column for column in listed["resource"]["columns"]}
    assert listed["resource"]["row_count"] == 20
    assert columns["sex"]["domain"] == ["f", "m"]
    assert columns["age"]["domain"] == ["30", "31"]
    assert columns["id"]["identifier"]
    assert (columns["weight"]["lower"], columns["weight"]["upper"], columns["weight"]["unit"]) == (0, 300, "kg")
    assert "no column" in command(node_dir, "resource", "register", "r", "--source", "people", "--sector", "health",
                                  "--grade", "2", "--dimension", "gone", code=1)
    assert "withdrawn" in command(node_dir, "resource", "withdraw", "people")
    assert "removed" in command(node_dir, "source", "remove", "people")
    said = json.loads(command(node_dir, "journal", "--verify", "--json"))
    assert said["verified"]
    assert [entry["event"] for entry in said["entries"]] == [
        "source:added", "resource:registered", "resource:withdrawn", "source:removed"]
    assert "Nothing waits" in command(node_dir, "approvals")
    assert "no approval" in command(node_dir, "approve", "apr_x", code=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@runs
async def test_run_serve_and_stop(place, number):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())
    process = start(node_dir.path)
    session = await coordinator.sessions.get()
    assert stat.S_IMODE(node_dir.socket.stat().st_mode) == 0o600
    status = json.loads(await asyncio.to_thread(command, node_dir.path, "status", "--json"))
    assert (status["state"], status["node_id"], status["alerts"]) == ("connected", "node0", ["revocations_stale"])
    assert "in use" in await asyncio.to_thread(command, node_dir.path, "run", code=1)
    # Registered through the running agent, and told to the coordinator at once.
    await session.expect("resources")
    await asyncio.to_thread(command, node_dir.path, "resource", "register", "second", "--source", "patients",
                            "--sector", "health", "--grade", "1", "--column", "age")
    assert [r.name for r in (await session.expect("resources")).resources] == ["patients", "second"]
    assert "no source" in await asyncio.to_thread(command, node_dir.path, "source", "remove", "gone", code=1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(process.wait) == 0
    psutil.wait_procs(workers, timeout=5)
    assert not any(worker.is_running() for worker in workers)
    assert not node_dir.socket.exists()
    assert "node:stopped" in await asyncio.to_thread(command, node_dir.path, "journal")
    await coordinator.stop()


@runs
async def test_killed_and_restarted_nothing_is_lost_or_doubled(place):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())
    digest = allow_toy(node_dir.path)
    jws, asked, answers = world.signed(apps=(GrantedApp(name="toy", digest=digest),)), [], {}
    for turn in range(3):
        process = start(node_dir.path)
        session = await coordinator.sessions.get()
        if not turn:
            await session.send(revocations=link_pb2.Revocations(list=world.revocations()))
        for request in asked:
            assert (await session.ask(request)).SerializeToString() == answers[request.task_id]
        for round_ in range(3):
            request = world.task(jws, round_=3 * turn + round_ + 1, app_digest=digest)
            asked.append(request)
            answers[request.task_id] = (await session.ask(request)).SerializeToString()
        # One more is under way when everything dies at once.
        await session.send(task_request=world.task(jws, run=f"late_{turn}", mode="hang", app_digest=digest))
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await asyncio.to_thread(process.wait)
        _gone, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
        assert not alive, "a worker outlived its agent"
    said = json.loads(await asyncio.to_thread(command, node_dir.path, "journal", "--verify", "--limit", "1000", "--json"))
    answered = [entry["data"]["task"] for entry in said["entries"] if entry["event"] == "task:answered"]
    assert answered == [request.task_id for request in asked]
    await coordinator.stop()


@runs
async def test_a_killed_worker_is_replaced(place):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())
    digest = allow_toy(node_dir.path)
    process = start(node_dir.path)
    session = await coordinator.sessions.get()
    await session.send(revocations=link_pb2.Revocations(list=world.revocations()))
    jws = world.signed(apps=(GrantedApp(name="toy", digest=digest),))
    assert (await session.ask(world.task(jws, app_digest=digest))).HasField("flower_message")
    (worker,) = psutil.Process(process.pid).children()  # and no process for copying, while no developer's app runs
    worker.kill()
    await asyncio.to_thread(psutil.wait_procs, [worker], timeout=10)
    failure = (await session.ask(world.task(jws, round_=2, app_digest=digest))).failure
    if failure.code:  # whether the agent noticed before it asked
        assert (failure.code, failure.retryable) == ("worker_crashed", True)
    assert (await session.ask(world.task(jws, round_=3, app_digest=digest))).HasField("flower_message")
    process.terminate()
    await asyncio.to_thread(process.wait)
    await coordinator.stop()
