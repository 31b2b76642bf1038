"""The link: what is sent when, and what a coordinator that misbehaves or vanishes can do."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_harness import Coordinator, World, events, one_node, patients, running, runs

from node_agent.link import Backoff
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.link.v1.framing import FrameError, Reader, split
from shuyan_protos.local.v1 import local_pb2


@runs
async def test_hello_resources_heartbeats(place):
    async with one_node(place) as (world, _, agent, session):
        assert list(session.hello.protocol_versions) == [1]
        assert [app.name for app in session.hello.apps] == ["toy"]
        (resource,) = (await session.expect("resources")).resources
        assert (resource.name, resource.row_count, resource.grade) == ("patients", 20, 2)
        columns = {column.name: column for column in resource.columns}
        assert columns["id"].identifier
        assert list(columns["sex"].domain) == ["f", "m"]
        assert columns["age"].type == "integer"
        await session.send(resources_accepted=link_pb2.ResourcesAccepted(resource_ids={"patients": "res_9"}))
        assert (await session.expect("heartbeat")).sequence > 0
        assert (await session.ask(world.task(world.signed()))).HasField("flower_message")
        assert agent.admin.resources.find("patients").resource_id == "res_9"
        agent.admin.WithdrawResource(local_pb2.WithdrawResourceRequest(name="patients"))
        assert not (await session.expect("resources")).resources


@runs
async def test_allowing_an_app_is_told_in_a_new_hello(place):
    async with one_node(place, allow=False) as (_, coordinator, agent, session):
        assert not session.hello.apps
        agent.admin.AllowApp(local_pb2.AllowAppRequest(name="toy", allow=True))
        assert [app.name for app in (await coordinator.sessions.get()).hello.apps] == ["toy"]


@runs
async def test_what_changes_between_hello_and_welcome_is_told_in_another_hello(place):
    async with one_node(place, allow=False) as (_, coordinator, agent, session):
        hello = agent.hello

        def outrun():
            said, agent.hello = hello(), hello
            agent.admin.AllowApp(local_pb2.AllowAppRequest(name="toy", allow=True))
            return said

        agent.hello = outrun
        await session.hang_up()
        assert not (await coordinator.sessions.get()).hello.apps
        assert [app.name for app in (await coordinator.sessions.get()).hello.apps] == ["toy"]


@runs
async def test_a_decision_is_told_at_once_and_again_on_every_connection(place):
    async with one_node(place, approval="manual") as (world, coordinator, agent, session):
        jws, asked = world.signed(), []
        for round_, column in enumerate(("age", "weight"), start=1):
            reply = await session.ask(world.task(jws, round_=round_, columns=(column,)))
            asked.append(reply.failure.args["approval"])
        agent.admin.Decide(local_pb2.DecideRequest(approval_id=asked[0], approve=True, note="between us"))
        (told,) = (await session.expect("approvals_decided")).decisions
        assert (told.approval_id, told.approved) == (asked[0], True)
        await coordinator.stop()
        agent.admin.Decide(local_pb2.DecideRequest(approval_id=asked[1], approve=False, note="no"))
        await coordinator.start()
        session = await coordinator.sessions.get()
        told = {item.approval_id: item.approved for item in (await session.expect("approvals_decided")).decisions}
        assert told == {asked[0]: True, asked[1]: False}


@runs
async def test_the_node_comes_back_when_the_coordinator_does(place):
    async with one_node(place) as (world, coordinator, agent, session):
        request = world.task(world.signed())
        first = await session.ask(request)
        await coordinator.stop()
        await coordinator.start()
        session = await coordinator.sessions.get()
        assert session.hello.revocations_number == 1
        # Unasked: the answer may never have arrived.
        again = await session.expect("task_reply")
        assert again.SerializeToString() == first.SerializeToString()
        seed = await session.open(request)
        await session.hang_up()
        session = await coordinator.sessions.get()
        assert (await session.expect("open_reply")).self_mask_seed == seed.self_mask_seed
        assert agent.link.state == "connected"


@runs
async def test_a_task_survives_a_lost_connection(place):
    async with one_node(place) as (world, coordinator, agent, session):
        jws = world.signed()
        await session.send(task_request=world.task(jws, mode="hang", deadline_ms=1500))
        await session.expect("heartbeat")
        await session.hang_up()
        session = await coordinator.sessions.get()
        assert (await session.expect("task_reply")).failure.code == "worker_timeout"
        assert events(agent).count("task:failed") == 1


@runs
async def test_an_answer_is_the_same_after_a_restart(place):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())
    request = world.task(world.signed())
    async with running(node_dir):
        session = await coordinator.sessions.get()
        await session.send(revocations=link_pb2.Revocations(list=world.revocations()))
        first = await session.ask(request)
    async with running(node_dir) as agent:
        session = await coordinator.sessions.get()
        request.grant = ""
        assert (await session.ask(request)).SerializeToString() == first.SerializeToString()
        assert len((await session.open(request)).self_mask_seed) == 32
        # The grant is remembered too; the list of revocations was on the disk.
        fresh = world.task(world.signed(), round_=2)
        assert (await session.ask(fresh)).HasField("flower_message")
        assert events(agent).count("task:answered") == 2
        agent.admin.journal.verify()
    await coordinator.stop()


def _chunk(**fields):
    return link_pb2.CoordinatorFrame(chunk=link_pb2.Chunk(**fields)).SerializeToString()


@pytest.mark.parametrize(("data", "reason"), [
    (b"\xff\xfe garbage", "garbage_frame"), (b"", "garbage_frame"), (b"\x00" * 5_000_000, "message_too_large"),
    (_chunk(message_id="a", index=1, data=b"x"), "chunk_order"),
    (_chunk(message_id="a", index=0, data=b"x", last=True, sha256=b"no"), "chunk_digest"),
    (_chunk(message_id="a", index=0, data=b"\xff\xff", last=True, sha256=hashlib.sha256(b"\xff\xff").digest()),
     "garbage_frame"),
    (link_pb2.CoordinatorFrame(welcome=link_pb2.Welcome(protocol_version=1)).SerializeToString(), "unexpected_frame"),
])
@runs
async def test_a_bad_frame_closes_the_link_and_is_journalled(place, data, reason):
    async with one_node(place) as (world, coordinator, agent, session):
        await session.send_raw(data)
        session = await coordinator.sessions.get()
        faults = [entry.data for entry in agent.admin.journal.read(0, 100) if entry.event == "link:fault"]
        assert faults == [{"reason": reason}]
        assert (await session.ask(world.task(world.signed()))).HasField("flower_message")


@runs
async def test_large_frames_travel_in_chunks(place):
    world = World(place)
    coordinator = Coordinator(world.pki, max_chunk_bytes=700)
    await coordinator.start()
    async with running(world.make_node("node0", coordinator.port, patients())):
        session = await coordinator.sessions.get()
        whole = link_pb2.CoordinatorFrame(revocations=link_pb2.Revocations(
            list=world.revocations())).SerializeToString()
        for index, start in enumerate(range(0, len(whole), 100)):
            await session.send_raw(_chunk(message_id="r", index=index, data=whole[start:start + 100],
                                          last=start + 100 >= len(whole), sha256=hashlib.sha256(whole).digest()))
        assert (await session.expect("revocations_seen")).number == 1
        request = world.task(world.signed(), columns=("age",) * 60, expect={"totals": 60})
        assert (await session.ask(request)).HasField("flower_message")
        assert max(session.raw_sizes) <= 700
    await coordinator.stop()


@pytest.mark.parametrize(("goodbye", "state"), [
    (link_pb2.Goodbye(code="node_revoked"), "revoked"), (link_pb2.Goodbye(code="superseded"), "stopped")])
@runs
async def test_goodbye_for_good(place, goodbye, state):
    async with one_node(place) as (_, _, agent, session):
        await session.send(goodbye=goodbye)
        while agent.link.state not in ("revoked", "stopped"):
            await asyncio.sleep(0)
        assert agent.link.state == state
        assert agent.admin.Status(local_pb2.StatusRequest()).state == ("revoked" if state == "revoked" else "connecting")


@runs
async def test_goodbye_for_now(place):
    async with one_node(place) as (_, coordinator, agent, session):
        await session.send(goodbye=link_pb2.Goodbye(code="shutting_down", reconnect_after_ms=10))
        await coordinator.sessions.get()
        assert "link:goodbye" in events(agent)


@runs
async def test_a_silent_coordinator_is_left(place):
    world = World(place)
    coordinator = Coordinator(world.pki, heartbeat_seconds=1)
    await coordinator.start()
    async with running(world.make_node("node0", coordinator.port, patients())) as agent:
        session = await coordinator.sessions.get()
        coordinator.heartbeat_seconds = 3600  # it says nothing from here on
        await session.expect("heartbeat")
        await coordinator.sessions.get()
        assert "link:closed" in events(agent)
    await coordinator.stop()


@runs
async def test_a_coordinator_with_another_certificate_is_not_spoken_to(place):
    world, other = World(place), World(place / "..")
    coordinator = Coordinator(other.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())
    async with running(node_dir) as agent:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await coordinator.sessions.get()
        assert "link:connected" not in events(agent)
    await coordinator.stop()


@settings(deadline=None)
@given(st.binary(max_size=5000), st.integers(300, 2000))
def test_chunks_put_together_are_the_frame(data, limit):
    frame = link_pb2.NodeFrame(task_reply=link_pb2.TaskReply(task_id="t", flower_message=data))
    messages = [part.SerializeToString() for part in split(frame, limit)]
    assert max(map(len, messages)) <= limit
    parts = [link_pb2.NodeFrame.FromString(message) for message in messages]
    if len(parts) == 1:
        assert parts[0] == frame
        return
    whole = b"".join(part.chunk.data for part in parts)
    assert link_pb2.NodeFrame.FromString(whole) == frame
    assert [part.chunk.index for part in parts] == list(range(len(parts)))
    assert [part.chunk.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].chunk.sha256 == hashlib.sha256(whole).digest()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_crash_the_reader(messages):
    reader = Reader(link_pb2.CoordinatorFrame, 1000)
    for message in messages:
        try:
            frame = reader.take(message)
        except FrameError:
            return
        assert frame is None or frame.WhichOneof("body") not in (None, "chunk")


def test_backoff_starts_fast_and_is_bounded():
    backoff = Backoff()
    delays = [backoff.delay() for _ in range(12)]
    assert 0.1 <= delays[0] <= 0.2
    assert all(0.1 <= delay <= 5 for delay in delays)
    assert min(delays[6:]) >= 2.5
    backoff.reset()
    assert backoff.delay() <= 0.2
