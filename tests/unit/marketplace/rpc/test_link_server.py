"""The node link over real mutual TLS: identity, supersession, loss, garbage, revocation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from tests.factories.federation import PARAMS, air
from tests.factories.link_node import LinkNode, certifier, dial

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.catalogue import service as catalogue
from marketplace.computing import approvals, runs
from marketplace.computing import service as computing
from marketplace.events import Tag
from marketplace.rpc.link import PROTOCOL_VERSIONS
from marketplace.rpc.pki import Authority, initialise
from marketplace.trust import service as trust
from shuyan.federation.apps import installed
from shuyan.federation.grid import SecureGrid
from shuyan.federation.transport import NodeFailure, NodeLost, OpenRequest, TaskRequest
from shuyan.trust import notes
from shuyan.trust.grants import verify_grant
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1.framing import MAX_CHUNK_BYTES

Coordinated = Callable[..., None]


def connected(node_id: str) -> bool:
    with db.reading() as session:
        return computing.nodes_by_id(session, [node_id])[node_id].connected


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.01)


async def knock(stranger: Any, c: Any) -> None:
    async with dial(stranger, c.root_pem, c.port) as node:
        await node.ended.wait()
        await node.send(pb.NodeFrame(heartbeat=pb.Heartbeat()))


def task(node_id: str, number: int = 1, size: int = 10, deadline_ms: int = 30_000) -> TaskRequest:
    return TaskRequest(
        task_id=f"run/{number}/1/{node_id}", node_id=node_id, run_id="run", round=number, attempt=1, grant="g",
        grant_digest="d", app_name="a", app_digest="d", purpose="p", participants=(node_id,),
        flower_message=b"x" * size, params_json="{}", deadline_ms=deadline_ms)


def reply(task_id: str, data: bytes = b"masked") -> pb.NodeFrame:
    return pb.NodeFrame(task_reply=pb.TaskReply(task_id=task_id, flower_message=data))


def test_a_node_is_welcomed_and_shown_as_connected_until_it_leaves(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, hello=pb.Hello(
                protocol_versions=[1, 7], software_version="9.9", apps=[pb.AppInfo(name="statistics", digest="sha256:0")])) as node:
            welcome = await node.wait_for("welcome")
            assert welcome.protocol_version in PROTOCOL_VERSIONS
            assert c.transport.connected() == {one.node_id}
            await until(lambda: connected(one.node_id))
            with db.reading() as session:
                row = computing.nodes_by_id(session, [one.node_id])[one.node_id]
                assert (row.software_version, row.apps) == ("9.9", [{"name": "statistics", "digest": "sha256:0"}])
        await until(lambda: not connected(one.node_id))

    coordinated(scenario)


def test_without_a_certificate_of_ours_there_is_no_link(coordinated: Coordinated, tmp_path: Any) -> None:
    async def scenario(c: Any) -> None:
        initialise(tmp_path)
        stranger = c.market.departments[0]
        _, stranger.tls_key, stranger.tls_chain = certifier(Authority(tmp_path))(stranger.node_id)
        for key, chain in ((stranger.tls_key, stranger.tls_chain), (b"", b"")):
            stranger.tls_key, stranger.tls_chain = key, chain
            with pytest.raises(grpc.RpcError):
                await knock(stranger, c)
        assert c.transport.connected() == set()

    coordinated(scenario)


def test_an_older_certificate_of_the_same_node_is_refused(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        from marketplace.settings import settings

        one = c.market.departments[0]
        _, one.tls_key, one.tls_chain = certifier(Authority(settings().keys_dir))(one.node_id)
        async with dial(one, c.root_pem, c.port) as node:
            assert (await node.wait_for("goodbye")).code == "node_revoked"

    coordinated(scenario)


@pytest.mark.parametrize(("first", "code"), [
    (b"\xff\xff\xff", "bad_frame"), (b"", "bad_frame"),
    (pb.NodeFrame(heartbeat=pb.Heartbeat()).SerializeToString(), "bad_frame"),
    (pb.NodeFrame(hello=pb.Hello(protocol_versions=[99])).SerializeToString(), "protocol_version"),
])
def test_a_bad_first_frame_is_answered_with_goodbye(coordinated: Coordinated, first: bytes, code: str) -> None:
    async def scenario(c: Any) -> None:
        async with dial(c.market.departments[0], c.root_pem, c.port, first=first) as node:
            assert (await node.wait_for("goodbye")).code == code
            await node.ended.wait()
        assert c.transport.connected() == set()

    coordinated(scenario)


@pytest.mark.parametrize("garbage", [
    b"\x00garbage", b"",
    pb.NodeFrame(chunk=pb.Chunk(message_id="a", index=3, data=b"x")).SerializeToString(),
    pb.NodeFrame(chunk=pb.Chunk(message_id="a", index=0, last=True, data=b"x", sha256=b"wrong")).SerializeToString(),
    pb.NodeFrame(hello=pb.Hello(protocol_versions=[1])).SerializeToString(),
])
def test_garbage_ends_that_link_and_no_other(coordinated: Coordinated, garbage: bytes) -> None:
    async def scenario(c: Any) -> None:
        one, two, _ = c.market.departments
        async with dial(one, c.root_pem, c.port) as bad, dial(two, c.root_pem, c.port, answering=False) as good:
            await bad.wait_for("welcome")
            await good.wait_for("welcome")
            await bad.send_raw(garbage)
            goodbye = await bad.wait_for("goodbye")
            assert (goodbye.code, goodbye.reconnect_after_ms > 0) == ("bad_frame", True)
            future = c.transport.submit(task(two.node_id))
            await good.wait_for("task_request")
            await good.send(reply(task(two.node_id).task_id))
            assert (await asyncio.wrap_future(future)).flower_message == b"masked"

    coordinated(scenario)


def test_a_newer_connection_supersedes_the_older_and_takes_over_its_tasks(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as old:
            await old.wait_for("welcome")
            future = c.transport.submit(task(one.node_id))
            await old.wait_for("task_request")
            async with dial(one, c.root_pem, c.port, answering=False) as new:
                assert (await old.wait_for("goodbye")).code == "superseded"
                again = await new.wait_for("task_request")
                assert again == old.received[[f.WhichOneof("body") for f in old.received].index("task_request")].task_request
                await new.send(reply(again.task_id))
                assert (await asyncio.wrap_future(future)).flower_message == b"masked"
                await until(lambda: connected(one.node_id))

    coordinated(scenario)


def test_a_task_survives_a_drop_within_the_grace_period(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            future = c.transport.submit(task(one.node_id))
            await node.wait_for("task_request")
            await node.drop()
        await until(lambda: not connected(one.node_id))
        assert c.transport.connected() == {one.node_id}  # may be back in time
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.send(reply((await node.wait_for("task_request")).task_id))
            assert (await asyncio.wrap_future(future)).flower_message == b"masked"

    coordinated(scenario)


def test_after_the_grace_period_the_node_is_lost(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            future = c.transport.submit(task(one.node_id))
            await node.wait_for("task_request")
        with pytest.raises(NodeLost):
            await asyncio.wrap_future(future)
        with pytest.raises(NodeLost):
            await asyncio.wrap_future(c.transport.submit(task(one.node_id, 2)))

    coordinated(scenario, grace_seconds=0.1)


def test_a_silent_node_is_cut_off(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        async with dial(c.market.departments[0], c.root_pem, c.port) as node:
            assert (await node.wait_for("goodbye")).code == "heartbeat_lost"
            assert (await node.wait_for("heartbeat")).sequence == 1

    coordinated(scenario)


def test_large_messages_travel_in_chunks_both_ways(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            future = c.transport.submit(task(one.node_id, size=3 * MAX_CHUNK_BYTES))
            asked = await node.wait_for("task_request")
            assert len(asked.flower_message) == 3 * MAX_CHUNK_BYTES
            await node.send(reply(asked.task_id, b"y" * (5 * MAX_CHUNK_BYTES + 7)))
            assert len((await asyncio.wrap_future(future)).flower_message) == 5 * MAX_CHUNK_BYTES + 7

    coordinated(scenario, heartbeat_seconds=2)


def test_a_refusal_arrives_with_its_code_and_nothing_the_catalogue_does_not_know(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            for number, (code, arrives) in enumerate((("unknown_column", "unknown_column"), ("Traceback: 42", "node_internal"))):
                future = c.transport.submit(task(one.node_id, number + 1))
                asked = await node.wait_for("task_request", number + 1)
                await node.send(pb.NodeFrame(task_reply=pb.TaskReply(task_id=asked.task_id, failure=pb.Failure(
                    code=code, args={"column": "x" * 999}))))
                with pytest.raises(NodeFailure) as failure:
                    await asyncio.wrap_future(future)
                assert failure.value.code == arrives
                assert all(len(str(value)) <= 200 for value in failure.value.args_.values())

    coordinated(scenario)


def test_a_node_cannot_answer_for_another(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one, two, _ = c.market.departments
        async with dial(one, c.root_pem, c.port, answering=False) as mine, dial(two, c.root_pem, c.port) as other:
            await mine.wait_for("welcome")
            await other.wait_for("welcome")
            future = c.transport.submit(task(one.node_id))
            asked = await mine.wait_for("task_request")
            await other.send(reply(asked.task_id, b"forged"))
            await mine.send(reply(asked.task_id, b"real"))
            assert (await asyncio.wrap_future(future)).flower_message == b"real"

    coordinated(scenario)


def test_cancel_reaches_the_nodes_and_ends_what_is_pending(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            task_future = c.transport.submit(task(one.node_id))
            open_future = c.transport.open(OpenRequest("run/1/1/x", one.node_id, "run", 1, 1))
            await node.wait_for("open_request")
            c.transport.cancel("run")
            assert (await node.wait_for("cancel")).run_id == "run"
            for future in (task_future, open_future):
                with pytest.raises(NodeFailure, match="run_cancelled"):
                    await asyncio.wrap_future(future)

    coordinated(scenario)


def test_a_task_past_its_deadline_is_given_up(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            with pytest.raises(NodeFailure, match="task_expired"):
                await asyncio.wrap_future(c.transport.submit(task(one.node_id, deadline_ms=50)))

    coordinated(scenario)


def test_a_revoked_node_is_cut_off_at_once_and_loses_its_tasks(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port, answering=False) as node:
            await node.wait_for("welcome")
            future = c.transport.submit(task(one.node_id))

            def revoke() -> None:
                with db.transaction() as session:
                    computing.revoke_node(session, c.market.operator, one.node_id)

            await asyncio.to_thread(revoke)
            goodbye = await node.wait_for("goodbye", seconds=3)
            assert (goodbye.code, goodbye.reconnect_after_ms) == ("node_revoked", 0)
            with pytest.raises(NodeLost):
                await asyncio.wrap_future(future)
        async with dial(one, c.root_pem, c.port) as node:
            assert (await node.wait_for("goodbye")).code == "node_revoked"

    coordinated(scenario, heartbeat_seconds=5)


def test_resources_are_catalogued_and_acknowledged(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        told = air("water", row_count=7)
        frame = pb.NodeFrame(resources=pb.Resources(resources=[pb.Resource(
            **{key: value for key, value in told.items() if key != "columns"},
            columns=[pb.Column(**{k: v for k, v in column.items() if v is not None}) for column in told["columns"]],
            profile=pb.Profile(measured_at_ms=1_800_000_000_000, completeness=99, validity=98, uniqueness=100,
                               latest_month="2026-10", columns=[pb.ColumnProfile(name="pm25", completeness=97, validity=100)]))]))
        frame.resources.resources[0].columns[0].resolution = 0.5
        frame.resources.resources[0].columns[0].classification = "sensitive"
        async with dial(one, c.root_pem, c.port) as node:
            await node.send(frame)
            accepted = await node.wait_for("resources_accepted")
            assert list(accepted.resource_ids) == ["water"]
            with db.reading() as session:
                (row,) = catalogue.resources_of_node(session, one.node_id)
                described = [{**column, "resolution": None, "classification": ""} for column in told["columns"]]
                described[0] |= {"resolution": 0.5, "classification": "sensitive"}
                assert (row.id, row.row_count, row.columns) == (accepted.resource_ids["water"], 7, described)
                assert row.profile is not None
                assert (row.profile["completeness"], row.profile["columns"]) == (99, [{"name": "pm25", "completeness": 97,
                                                                                      "validity": 100}])
                assert catalogue.get_resource(session, SYSTEM, one.resource_id).status == "withdrawn"

    coordinated(scenario, heartbeat_seconds=5)


def test_what_a_node_says_of_its_budgets_is_kept(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]

        def spent() -> list[int]:
            with db.reading() as session:
                return [row.spent_nano for row in computing.list_budgets(session, SYSTEM, node_id=one.node_id)]

        async with dial(one, c.root_pem, c.port) as node:
            for amount in (5, 7):
                await node.send(pb.NodeFrame(budgets=pb.Budgets(budgets=[pb.Budget(
                    scope="resource", resource="air", cap_nano=100, spent_nano=amount, renewal="monthly",
                    renews_at_ms=1_800_000_000_000, delta=1e-6), pb.Budget(scope="nonsense")])))
                await until(lambda amount=amount: spent() == [amount])
            await node.send(pb.NodeFrame(budgets=pb.Budgets()))
            await until(lambda: spent() == [])

    coordinated(scenario, heartbeat_seconds=5)


@pytest.mark.parametrize(("approved", "status"), [(True, "queued"), (False, "failed")])
def test_what_a_department_decides_reaches_the_job_that_waits_for_it(coordinated: Coordinated, approved: bool,
                                                                     status: str) -> None:
    async def scenario(c: Any) -> None:
        one, other, _ = c.market.departments

        def wait() -> str:
            with db.transaction() as session:
                job_id = computing.submit_job(session, c.market.developer, grant_id=c.market.grant_id, app="statistics",
                                              params=PARAMS, idempotency_key="k").id
                approvals.wait(session, runs.begin(session, job_id, 1) or "", {one.node_id: "apr_1"}, {})
            return job_id

        def state() -> str:
            with db.reading() as session:
                return computing.get_job(session, c.market.developer, job_id).status

        job_id = await asyncio.to_thread(wait)
        decision = pb.NodeFrame(approvals_decided=pb.ApprovalsDecided(decisions=[
            pb.ApprovalDecision(approval_id="apr_0", approved=not approved),
            pb.ApprovalDecision(approval_id="apr_1", approved=approved)]))
        async with dial(one, c.root_pem, c.port) as node, dial(other, c.root_pem, c.port) as stranger:
            await stranger.send(decision)  # not its own
            await stranger.send(pb.NodeFrame(resources=pb.Resources()))
            await stranger.wait_for("resources_accepted")
            assert await asyncio.to_thread(state) == "awaiting_approval"
            await node.send(decision)
            await until(lambda: state() == status)

    coordinated(scenario, heartbeat_seconds=5)


def test_checkpoints_are_pushed_and_cosignatures_kept(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        one = c.market.departments[0]
        async with dial(one, c.root_pem, c.port) as node:
            pushed = await node.wait_for("checkpoint")
            size = int(pushed.note.split("\n")[1])
            line = cosign(pushed.note, one)
            await node.send(pb.NodeFrame(cosignature=pb.Cosignature(size=size, line=line)))

            def kept() -> bool:
                with db.reading() as session:
                    return [row.node_id for row in trust.cosignatures(session, size)] == [one.node_id]

            await until(kept)

            def more() -> None:
                with db.transaction() as session:
                    trust.append(session, Tag.PRODUCT_LISTED, SYSTEM, "product_1")

            await asyncio.to_thread(more)
            following = await node.wait_for("checkpoint", 2)
            assert following.from_size == size
            assert following.consistency_proof

    coordinated(scenario, heartbeat_seconds=5)


def test_a_job_runs_over_the_links_with_no_departments_values_on_the_wire(coordinated: Coordinated) -> None:
    seen: list[tuple[str, pb.NodeFrame]] = []

    async def scenario(c: Any) -> None:
        from marketplace.authorisation import service as authorisation

        with db.reading() as session:
            from marketplace.db import utc_now

            record, grant = authorisation.usable_grant(session, c.market.grant_id, utc_now())
        assert verify_grant(record.jws, c.market.authority_key.public_key()) == grant
        async with AsyncExitStack() as stack:
            nodes: list[LinkNode] = [
                await stack.enter_async_context(dial(one, c.root_pem, c.port)) for one in c.market.departments]
            for node in nodes:
                await node.wait_for("welcome")
            app = installed()["statistics"]
            grid = SecureGrid(c.transport, grant=grant, grant_jws=record.jws, run_id="run_1", app=app,
                              params={**PARAMS, "domains": {"year": ["2013", "2014"]}},
                              participants=[one.node_id for one in c.market.departments])
            content = await asyncio.to_thread(app.load().run, grid)
        assert content["rows"] == 120
        assert content["tables"][0]["cells"][0]["columns"]["pm25"]["sum"] == sum(
            seed * 100 + row for seed in range(3) for row in range(40))
        replies = [frame.task_reply for _, frame in seen if frame.WhichOneof("body") == "task_reply"]
        assert len(replies) == 2 * 3
        # 40 rows a department: neither the count nor its fixed-point forms may be readable
        plain = (40).to_bytes(8, "little")
        assert not any(plain in answer.flower_message for answer in replies)

    coordinated(scenario, heartbeat_seconds=5, recorder=lambda node_id, frame: seen.append((node_id, frame)))


def cosign(note: str, department: Any) -> str:
    """A department's cosignature line for a checkpoint."""
    return notes.cosign(note, notes.node_key_name(department.node_id), department.signing_key, time=int(time.time()))


def test_a_withdrawn_grant_is_told_at_once_and_again_to_whoever_arrives(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        from marketplace.authorisation import service as authorisation

        first, second = c.market.departments[:2]
        department = Actor("source_department", first.organisation_id, member_id="mem_department")

        def act(what: Any, *args: Any) -> None:
            with db.transaction() as session:
                what(session, department, c.market.grant_id, *args)

        async with dial(first, c.root_pem, c.port) as node:
            await node.wait_for("welcome")
            await asyncio.to_thread(act, authorisation.hold_grant, "用途不符")
            told = await _told(node, [c.market.grant_id])
            async with dial(second, c.root_pem, c.port) as other:
                assert list((await other.wait_for("holds")).grant_ids) == [c.market.grant_id]
            await asyncio.to_thread(act, authorisation.release_grant)
            await _told(node, [], told)

    coordinated(scenario, heartbeat_seconds=5)


def test_what_a_node_answers_to_a_hold_is_kept_and_what_is_out_of_date_is_not(coordinated: Coordinated) -> None:
    async def scenario(c: Any) -> None:
        from marketplace.authorisation import service as authorisation

        first, second = c.market.departments[:2]
        grant = c.market.grant_id

        def act(what: Any, department: Any, *args: Any) -> None:
            with db.transaction() as session:
                what(session, Actor("source_department", department.organisation_id, member_id="mem"), grant, *args)

        def stopped() -> set[str]:
            with db.reading() as session:
                rows = authorisation.stops(session, Actor("data_authority", None), grant)
            assert {row.node_id for row in rows} == {one.node_id for one in c.market.departments}
            return {row.node_id for row in rows if row.seen_at}

        def counts() -> list[int]:
            with db.reading() as session:
                rows = authorisation.grant_holds(session, Actor("data_authority", None), grant)
                reached = authorisation.reached(session, [row.id for row in rows])
            return sorted(reached.get(row.id, 0) for row in rows)

        async def answered(node: LinkNode, number: int, wanted: set[str]) -> None:
            await node.send(pb.NodeFrame(holds_seen=pb.HoldsSeen(number=number)))
            while await asyncio.to_thread(stopped) != wanted:
                await asyncio.sleep(0.01)

        await asyncio.to_thread(act, authorisation.hold_grant, first, "用途不符")
        async with dial(first, c.root_pem, c.port) as node:
            told = await node.wait_for("holds")
            await answered(node, told.number, {first.node_id})
            await asyncio.to_thread(act, authorisation.hold_grant, second, "另有原因")  # the grants are the same, the holds are not
            again = await node.wait_for("holds", 2)
            assert (list(again.grant_ids), again.number) == ([grant], told.number + 1)
            await node.send(pb.NodeFrame(holds_seen=pb.HoldsSeen(number=told.number)))
            await answered(node, again.number, {first.node_id})
            while await asyncio.to_thread(counts) != [1, 1]:  # of the earlier one it has answered before
                await asyncio.sleep(0.01)
        async with dial(second, c.root_pem, c.port) as node:  # away until now
            await answered(node, (await node.wait_for("holds")).number, {first.node_id, second.node_id})

        assert await asyncio.to_thread(counts) == [2, 2]

    coordinated(scenario, heartbeat_seconds=5)


async def _told(node: LinkNode, wanted: list[str], after: int = 0) -> int:
    """Wait until a node is told exactly these holds; the number of the frame that does."""
    while True:
        after += 1
        if list((await node.wait_for("holds", after)).grant_ids) == wanted:
            return after
