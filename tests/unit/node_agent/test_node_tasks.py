"""Tasks over the real link: what is answered, and every way in which it is not."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from node_harness import Coordinator, World, events, one_node, patients, running, runs

from shuyan.federation import _flower
from shuyan.federation.answers import PlainAnswer
from shuyan.federation.masking import sum_masked, unmask_sum
from shuyan.federation.ring import decode
from shuyan.federation.vectors import COHORT, VectorSpec, layout
from shuyan.problems import ProblemError
from shuyan.trust.grants import GrantedApp, GrantedResource
from shuyan.trust.keys import generate_agreement_key, generate_signing_key
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

SPECS = {"totals": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}


@runs
async def test_three_departments_sum_and_only_the_sum_is_seen(place):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    dirs = [world.make_node(f"node{i}", coordinator.port, patients(10 + i, start=20 * i)) for i in range(3)]
    async with running(dirs[0]), running(dirs[1]), running(dirs[2]):
        sessions = {}
        for _ in range(3):
            session = await coordinator.sessions.get()
            name = session.identity and next(iter(session.identity)).decode()
            sessions[name.rsplit(":", 1)[-1]] = session
            await session.send(revocations=link_pb2.Revocations(list=world.revocations(number=1)))
        jws = world.signed()
        requests = {i: world.task(jws, node_id=i, columns=("age", "weight")) for i in sessions}
        replies = dict(zip(sessions, await asyncio.gather(*(sessions[i].ask(requests[i]) for i in sessions)), strict=True))
        assert {reply.WhichOneof("outcome") for reply in replies.values()} == {"flower_message"}
        segments = layout(SPECS, {"totals": 2})
        masked = [_flower.read_masked(reply.flower_message, segments) for reply in replies.values()]
        ages = sum(range(10)) + sum(range(20, 31)) + sum(range(40, 52))
        for one in masked:
            assert decode(one[COHORT], 0)[0] not in (10, 11, 12)
        seeds = [(await sessions[i].open(requests[i])).self_mask_seed for i in sessions]
        total = unmask_sum(sum_masked(masked, segments), segments, seeds)
        assert decode(total[COHORT], 0)[0] == 33
        assert decode(total["totals"], 40)[0] == ages
        weights = sum(50.5 + row for size in (10, 11, 12) for row in range(size) if row not in (3, 4))
        assert decode(total["totals"], 40)[1] == pytest.approx(weights, rel=1e-12)
    await coordinator.stop()


@runs
async def test_grants_that_do_not_hold(place):
    async with one_node(place) as (world, _, agent, session):
        own = world.grant()
        first, second, *rest = own.nodes
        swapped = (first.model_copy(update={"agreement_key": second.agreement_key}),
                   second.model_copy(update={"agreement_key": first.agreement_key}), *rest)
        others = tuple(r for r in own.resources if r.node_id != "node0")
        good = world.signed()
        widened = world.task(good, columns=("weight",))
        only_age = world.signed(resources=(
            GrantedResource(resource_id="res_0", node_id="node0", name="patients", columns=("age",)), *others))
        cases = {
            "expired": (world.task(world.signed(iat=1, nbf=1, exp=2)), "grant_expired"),
            "early": (world.task(world.signed(nbf=own.exp - 10)), "grant_not_yet_valid"),
            "forged": (world.task(world.signed(key=generate_signing_key())), "grant_invalid"),
            "tampered": (world.task(good[:-8] + "AAAAAAAA"), "grant_invalid"),
            "digest": (world.task(good, grant_digest="sha256:" + "0" * 64), "grant_invalid"),
            "garbage": (world.task("x.y.z"), "grant_invalid"),
            "keys": (world.task(world.signed(nodes=swapped)), "grant_other_node"),
            "column": (world.task(only_age, columns=("weight",)), "column_not_granted"),
            "resource": (world.task(world.signed(resources=others)), "grant_widened"),
            "identifier": (world.task(good, columns=("id",)), "column_not_granted"),
            "unknown column": (world.task(good, columns=("gone",)), "unknown_column"),
            "wrong type": (world.task(good, columns=("sex",)), "wrong_type"),
            "unknown resource": (world.task(good, resource="nothing"), "resource_unknown"),
            "purpose": (world.task(good, purpose="other"), "purpose_mismatch"),
            "app": (world.task(good, app_name="other"), "grant_widened"),
            "digest of app": (world.task(good, app_digest="sha256:" + "0" * 64), "app_digest_mismatch"),
            "app granted elsewhere": (world.task(world.signed(
                apps=(GrantedApp(name="toy", digest="sha256:" + "0" * 64),))), "app_digest_mismatch"),
            "form": (world.task(world.signed(output_forms=("model",))), "grant_widened"),
            "two": (world.task(good, participants=["node0", "node1"]), "participants_too_few"),
            "unsorted": (world.task(good, participants=["node1", "node0", "node2"]), "participants_invalid"),
            "twice": (world.task(good, participants=["node0", "node0", "node1"]), "participants_invalid"),
            "stranger": (world.task(good, participants=["node0", "node1", "node9"]), "participants_invalid"),
            "without us": (world.task(good, participants=["node1", "node2", "node9"]), "participants_invalid"),
            "spelling": (world.task(good, params_json=widened.params_json + " "), "bad_params"),
            "parameters": (world.task(good, params_json='{"resource":1}'), "bad_params"),
            "message": (world.task(good, flower_message=b"\xff\xff"), "bad_params"),
            "too many values": (world.task(good, expect={"totals": 5000}), "output_too_large"),
            "undeclared vector": (world.task(good, expect={"other": 1}), "output_undeclared"),
        }
        for number, (name, (request, code)) in enumerate(cases.items()):
            request.task_id = f"case-{number}"
            reply = await session.ask(request)
            assert (reply.failure.code, name) == (code, name)
        assert events(agent).count("task:failed") == len(cases)
        assert (await session.ask(world.task(good))).HasField("flower_message")


@runs
async def test_revocation_reaches_the_node_and_cannot_be_rolled_back(place):
    async with one_node(place) as (world, _, agent, session):
        jws = world.signed()
        answered = world.task(jws)
        assert (await session.ask(answered)).HasField("flower_message")
        clean = world.revocations(number=1)
        await session.send(revocations=link_pb2.Revocations(list=world.revocations("grt_1", number=7)))
        assert (await session.expect("revocations_seen")).number == 7
        assert (await session.ask(world.task(jws, round_=2))).failure.code == "grant_revoked"
        # What was answered before the revocation is not opened after it.
        assert (await session.open(answered)).failure.code == "grant_revoked"
        await session.send(revocations=link_pb2.Revocations(list=clean))
        assert (await session.expect("revocations_seen")).number == 7
        await session.send(revocations=link_pb2.Revocations(
            list=world.revocations(number=9, key=generate_signing_key())))
        assert (await session.expect("revocations_seen")).number == 7
        assert events(agent).count("revocations:refused") == 2
        assert (await session.ask(world.task(jws, round_=3))).failure.code == "grant_revoked"


@runs
async def test_a_revocation_stops_a_running_task(place):
    async with one_node(place) as (world, _, _agent, session):
        request = world.task(world.signed(), mode="hang")
        await session.send(task_request=request)
        await session.expect("heartbeat")
        await session.send(revocations=link_pb2.Revocations(list=world.revocations("grt_1")))
        assert (await session.expect("task_reply")).failure.code == "grant_revoked"


@runs
async def test_a_hold_stops_and_lifting_it_gives_back_what_is_signed_and_no_more(place):
    async with one_node(place) as (world, _, agent, session):
        jws = world.signed()
        assert (await session.ask(world.task(jws))).HasField("flower_message")
        await session.send(holds=link_pb2.Holds(grant_ids=["grt_1", "", "x" * 65]))
        assert (await session.ask(world.task(jws, round_=2))).failure.code == "grant_held"
        assert agent.admin.holds.told == {"grt_1"}
        await session.send(holds=link_pb2.Holds(grant_ids=["grt_other"]))
        assert (await session.ask(world.task(jws, round_=3))).HasField("flower_message")
        await session.send(revocations=link_pb2.Revocations(list=world.revocations("grt_1", number=7)))
        await session.expect("revocations_seen")
        await session.send(holds=link_pb2.Holds())
        assert (await session.ask(world.task(jws, round_=4))).failure.code == "grant_revoked"
        assert events(agent).count("holds:told") == 3


@runs
async def test_a_hold_of_the_market_stops_a_running_task(place):
    async with one_node(place) as (world, _, _agent, session):
        await session.send(task_request=world.task(world.signed(), mode="hang"))
        await session.expect("heartbeat")
        await session.send(holds=link_pb2.Holds(grant_ids=["grt_1"], number=3))
        assert (await session.expect("task_reply")).failure.code == "grant_held"
        assert (await session.expect("holds_seen")).number == 3


@runs
async def test_a_department_holds_a_grant_at_its_own_node_and_nobody_else_lifts_it(place):
    async with one_node(place) as (world, _, agent, session):
        jws = world.signed()
        assert (await session.ask(world.task(jws))).HasField("flower_message")
        await session.send(task_request=world.task(jws, round_=2, mode="hang"))
        await session.expect("heartbeat")
        agent.admin.HoldGrant(local_pb2.HoldGrantRequest(grant_id="grt_1", reason="超出用途"))
        assert (await session.expect("task_reply")).failure.code == "grant_held"
        await session.send(holds=link_pb2.Holds())
        assert (await session.ask(world.task(jws, round_=3))).failure.code == "grant_held"
        listed = agent.admin.ListGrants(local_pb2.ListGrantsRequest()).grants
        assert [(one.grant_id, one.held_here, one.held_by_market, one.reason) for one in listed] == [("grt_1", True, False, "超出用途")]
        for wrong in (local_pb2.HoldGrantRequest(grant_id="", reason="x"), local_pb2.HoldGrantRequest(grant_id="g", reason=" "),
                      local_pb2.HoldGrantRequest(grant_id="g", reason="长" * 501)):
            with pytest.raises(ProblemError, match="bad_params"):
                agent.admin.HoldGrant(wrong)
        assert agent.admin.ReleaseGrant(local_pb2.HoldGrantRequest(grant_id="grt_1")).changed
        assert not agent.admin.ReleaseGrant(local_pb2.HoldGrantRequest(grant_id="grt_1")).changed
        assert (await session.ask(world.task(jws, round_=4))).HasField("flower_message")
        assert [one for one in events(agent) if one.startswith("grant:")] == ["grant:held", "grant:released"]


@runs
async def test_no_task_without_a_current_revocation_list(place):
    async with one_node(place, revocations=False) as (world, _, agent, session):
        assert (await session.ask(world.task(world.signed()))).failure.code == "revocations_stale"
        await session.send(revocations=link_pb2.Revocations(list=world.revocations(next_update=-1)))
        await session.expect("revocations_seen")
        assert (await session.ask(world.task(world.signed(), round_=2))).failure.code == "revocations_stale"
        assert list(agent.admin.Status(local_pb2.StatusRequest()).alerts) == ["revocations_stale"]


@runs
async def test_apps_must_be_allowed(place):
    async with one_node(place, allow=False) as (world, _, _agent, session):
        assert not session.hello.apps
        assert (await session.ask(world.task(world.signed()))).failure.code == "app_not_allowed"


@runs
async def test_core_data_is_never_granted(place):
    async with one_node(place, grade=4) as (world, _, _agent, session):
        assert (await session.ask(world.task(world.signed()))).failure.code == "grant_widened"


@runs
async def test_too_few_rows(place):
    async with one_node(place, csv=patients(7)) as (world, _, _agent, session):
        assert (await session.ask(world.task(world.signed(minimum_cohort=8)))).failure.code == "cohort_too_small"
        failure = (await session.ask(world.task(world.signed(minimum_cohort=8), round_=2))).failure
        assert (failure.code, dict(failure.args), failure.retryable) == ("cohort_too_small", {"minimum": "8"}, False)


@runs
async def test_the_department_may_ask_for_more_rows_than_the_grant(place):
    async with one_node(place, csv=patients(12), config="[policy]\nminimum_cohort = 50\n") as (world, _, _a, session):
        assert dict((await session.ask(world.task(world.signed()))).failure.args) == {"minimum": "50"}


@runs
async def test_manual_approval(place):
    async with one_node(place, approval="manual") as (world, _, agent, session):
        jws = world.signed()
        failure = (await session.ask(world.task(jws))).failure
        assert failure.code == "approval_pending"
        assert (await session.ask(world.task(jws, round_=2))).failure == failure
        (waiting,) = agent.admin.ListApprovals(local_pb2.ListApprovalsRequest()).approvals
        assert dict(failure.args) == {"approval": waiting.approval_id}
        assert (waiting.grantee, waiting.app_name, waiting.resource) == ("开发公司", "toy", "patients")
        agent.admin.Decide(local_pb2.DecideRequest(approval_id=waiting.approval_id, approve=True))
        assert (await session.ask(world.task(jws, round_=3))).HasField("flower_message")
        # Another question is another approval.
        assert (await session.ask(world.task(jws, round_=4, columns=("weight",)))).failure.code == "approval_pending"
        (waiting,) = agent.admin.ListApprovals(local_pb2.ListApprovalsRequest()).approvals
        agent.admin.Decide(local_pb2.DecideRequest(approval_id=waiting.approval_id, approve=False, note="no"))
        assert (await session.ask(world.task(jws, round_=5, columns=("weight",)))).failure.code == "approval_rejected"


@runs
async def test_a_task_is_answered_once(place):
    async with one_node(place) as (world, _, agent, session):
        jws = world.signed()
        request = world.task(jws)
        first = await session.ask(request)
        assert first.HasField("flower_message")
        again = world.task(jws)
        again.CopyFrom(request)
        again.grant = ""
        assert (await session.ask(again)).SerializeToString() == first.SerializeToString()
        other = link_pb2.TaskRequest()
        other.CopyFrom(request)
        other.deadline_ms += 1
        assert (await session.ask(other)).failure.code == "task_replayed"
        other.CopyFrom(request)
        other.task_id = "another-name"
        assert (await session.ask(other)).failure.code == "task_replayed"
        seed = await session.open(request)
        assert len(seed.self_mask_seed) == 32
        assert (await session.open(request)).self_mask_seed == seed.self_mask_seed
        assert (await session.ask(world.task(jws, attempt=2))).failure.code == "already_opened"
        assert events(agent).count("task:answered") == events(agent).count("round:opened") == 1


@runs
async def test_an_answer_that_a_power_failure_took_is_never_opened(place):
    """An answer does not wait for the disk, so its record may be gone: nothing was told then, and it can be asked again."""
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    node_dir = world.make_node("node0", coordinator.port, patients())

    async def session():
        found = await coordinator.sessions.get()
        await found.send(revocations=link_pb2.Revocations(list=world.revocations()))
        await found.expect("revocations_seen")
        return found

    jws = world.signed()
    request = world.task(jws)
    async with running(node_dir):
        first = await session()
    before = {path: path.read_bytes() for path in node_dir.path.glob(node_dir.database.name + "*")}
    async with running(node_dir):
        first = await (await session()).ask(request)
    for path in node_dir.path.glob(node_dir.database.name + "*"):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    async with running(node_dir):
        again = await session()
        assert (await again.open(request)).failure.code == "task_unknown"
        second = await again.ask(request)
        segments = layout(SPECS, {"totals": 1})
        masks = [_flower.read_masked(reply.flower_message, segments)["totals"] for reply in (first, second)]
        assert (masks[0] != masks[1]).all()
        assert len((await again.open(request)).self_mask_seed) == 32
    await coordinator.stop()


@runs
async def test_one_attempt_of_a_round_is_opened(place):
    async with one_node(place) as (world, _, _agent, session):
        world.peers["node3"] = (generate_signing_key(), generate_agreement_key())
        jws = world.signed()
        four = world.task(jws)
        three = world.task(jws, attempt=2, participants=["node0", "node1", "node2"])
        assert (await session.ask(four)).HasField("flower_message")
        assert (await session.ask(three)).HasField("flower_message")
        assert len((await session.open(three)).self_mask_seed) == 32
        assert (await session.open(four)).failure.code == "already_opened"
        unknown = world.task(jws, task_id="never-asked")
        assert (await session.open(unknown)).failure.code == "task_unknown"
        wrong = world.task(jws, task_id=three.task_id, round_=2)
        assert (await session.open(wrong)).failure.code == "task_unknown"
        # The same question in another run: with the same departments, yes; with others, no.
        same = world.task(jws, run="run_2", participants=["node0", "node1", "node2"])
        assert (await session.ask(same)).HasField("flower_message")
        assert len((await session.open(same)).self_mask_seed) == 32
        more = world.task(jws, run="run_3")
        assert (await session.ask(more)).failure.code == "question_answered_with_others"


@pytest.mark.parametrize(("mode", "code"), [
    ("crash", "worker_crashed"), ("memory", "worker_memory"), ("raise", "app_failed"), ("nan", "output_not_finite"),
    ("undeclared", "output_undeclared"), ("large", "output_undeclared"), ("bound", "output_out_of_bound")])
@runs
async def test_what_an_app_may_do_wrong(place, mode, code):
    async with one_node(place, config="[worker]\nmemory_mb = 300\n") as (world, _, agent, session):
        jws = world.signed()
        reply = await session.ask(world.task(jws, mode=mode))
        expected = {code, "worker_crashed"} if mode == "large" else {code}
        assert reply.failure.code in expected
        assert "Zhang" not in str(reply)
        assert not reply.failure.args
        # The next task finds a worker again.
        assert (await session.ask(world.task(jws, round_=2))).HasField("flower_message")
        assert "Zhang" not in str(agent.admin.journal.read())
    if mode == "raise":
        assert "Zhang San" in (place / "node0" / "worker.log").read_text()


@pytest.mark.parametrize("mode", ["hang", "spin"])
@runs
async def test_a_task_that_does_not_end_is_ended(place, mode):
    async with one_node(place) as (world, _, agent, session):
        jws = world.signed()
        await session.ask(world.task(jws))
        before = agent.worker.pid
        failure = (await session.ask(world.task(jws, round_=2, mode=mode, deadline_ms=300))).failure
        assert (failure.code, failure.retryable) == ("worker_timeout", True)
        assert (await session.ask(world.task(jws, round_=3))).HasField("flower_message")
        assert agent.worker.pid != before


@runs
async def test_cancel_stops_the_run(place):
    async with one_node(place) as (world, _, _agent, session):
        jws = world.signed()
        await session.send(task_request=world.task(jws, mode="hang"))
        await session.expect("heartbeat")
        await session.send(cancel=link_pb2.Cancel(run_id="run_1", reason="cancelled"))
        assert (await session.expect("task_reply")).failure.code == "run_cancelled"
        assert (await session.ask(world.task(jws, round_=2))).failure.code == "run_cancelled"
        assert (await session.ask(world.task(jws, run="run_2"))).HasField("flower_message")


@pytest.mark.parametrize("mode", ["environment", "files", "stray"])
@runs
async def test_the_worker_is_shut_in(place, mode, monkeypatch):
    """What the app found is only visible in a sum; here the plain answer is looked at inside the agent."""
    monkeypatch.setenv("SHUYAN_SECRET", "of the agent only")
    async with one_node(place) as (world, _, agent, session):
        seen = []
        original = agent.worker.run

        async def listen(work, deadline):
            answer = await original(work, deadline)
            seen.append(answer)
            return answer

        agent.worker.run = listen
        assert (await session.ask(world.task(world.signed(), mode=mode))).HasField("flower_message")
        totals = PlainAnswer.from_bytes(seen[0]).vectors["totals"]
        expected = {"environment": 0.0, "files": 7.0, "stray": float(sum(range(30, 50)))}[mode]
        np.testing.assert_array_equal(totals.ravel(), [expected])


@runs
async def test_the_worker_keeps_a_run_warm_and_forgets_it(place):
    async with one_node(place) as (world, _, agent, session):
        seen = []
        original = agent.worker.run

        async def listen(work, deadline):
            answer = await original(work, deadline)
            seen.append(PlainAnswer.from_bytes(answer).vectors["totals"].ravel()[0])
            return answer

        agent.worker.run = listen
        jws = world.signed()
        for round_ in (1, 2):
            assert (await session.ask(world.task(jws, round_=round_, mode="rounds"))).HasField("flower_message")
        await agent.worker.forget_idle(0)
        for round_ in (3, 4):
            assert (await session.ask(world.task(jws, round_=round_, mode="rounds"))).HasField("flower_message")
        assert (await session.ask(world.task(jws, run="run_2", mode="rounds"))).HasField("flower_message")
        assert seen == [1, 2, 1, 2, 1]
