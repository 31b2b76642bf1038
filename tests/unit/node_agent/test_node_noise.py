"""Answers with differential privacy over the real link: bounded, charged, noisy, and given again unchanged."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from node_harness import Coordinator, World, events, patients, runs
from node_toyapps import DIGEST, app

from node_agent.agent import Agent
from shuyan.federation import _flower
from shuyan.federation.apps import InstalledApp
from shuyan.federation.masking import sum_masked, unmask_sum
from shuyan.federation.privacy import Sensitivity
from shuyan.federation.ring import decode
from shuyan.federation.vectors import COHORT, VectorSpec, layout
from shuyan.trust.grants import PrivacyTerms
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

SPECS = {"totals": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}
SEGMENTS = layout(SPECS, {"totals": 1})
TERMS = PrivacyTerms(unit="person", unit_columns={"patients": "id"}, max_rows_per_unit=2, max_groups_per_unit=1, delta=1e-6,
                     rho_nano=10**9, honest_fraction=0.5)
NOISY = replace(app, privacy=lambda _params, _action, terms: {"totals": Sensitivity(200.0 * terms.max_rows_per_unit)})


def table(rows=40, people=10):
    """Patients with four rows each."""
    lines = patients(rows).splitlines()
    return "\n".join([lines[0], *(f"{number % people},{line.split(',', 1)[1]}" for number, line in enumerate(lines[1:]))]) + "\n"


@contextlib.asynccontextmanager
async def departments(place, toy=NOISY, **options):
    """(world, sessions by node, agents by node) of three departments."""
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    dirs = [world.make_node(f"node{i}", coordinator.port, table(), **options) for i in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(noisy_node(path, toy)) for path in dirs]
        yield world, await sessions(world, coordinator, 3), {agent.identity.node_id: agent for agent in agents}
    await coordinator.stop()


@contextlib.asynccontextmanager
async def noisy_node(node_dir, toy=NOISY):
    agent = Agent(node_dir, apps={"toy": InstalledApp("toy", "1", DIGEST, toy.manifest, toy)},
                  worker_apps={"toy": "node_toyapps:app"})
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        agent.admin.close()


async def sessions(world, coordinator, count):
    found = {}
    for _ in range(count):
        session = await coordinator.sessions.get()
        found[next(iter(session.identity)).decode().rsplit(":", 1)[-1]] = session
        await session.send(revocations=link_pb2.Revocations(list=world.revocations(number=1)))
        await session.expect("revocations_seen")
    return dict(sorted(found.items()))


async def ask(world, by_node, jws, **options):
    """Cohort and total of one round among those nodes, or the failure codes."""
    requests = {name: world.task(jws, node_id=name, participants=sorted(by_node), **options) for name in by_node}
    replies = await asyncio.gather(*(by_node[name].ask(requests[name]) for name in by_node))
    if failed := [reply.failure for reply in replies if reply.HasField("failure")]:
        return failed
    masked = [_flower.read_masked(reply.flower_message, SEGMENTS) for reply in replies]
    seeds = [(await by_node[name].open(requests[name])).self_mask_seed for name in by_node]
    total = unmask_sum(sum_masked(masked, SEGMENTS), SEGMENTS, seeds)
    return int(decode(total[COHORT], 0)[0]), float(decode(total["totals"], 40)[0])


@runs
async def test_bounded_noisy_and_the_same_again(place):
    async with departments(place) as (world, by_node, agents):
        jws = world.signed(release="dp", privacy=TERMS)
        cohort, total = await ask(world, by_node, jws)
        # Two of each patient's four rows: 60 rows of all three departments, and noise.
        assert abs(cohort - 60) < 3000
        assert total != pytest.approx(round(total), abs=1e-9)
        spent = {agent.admin.budgets.overview()[0].spent_nano for agent in agents.values()}
        assert spent == {agents["node0"].admin.budgets.overview()[-1].spent_nano}
        assert 0 < min(spent) <= 10**7
        assert await ask(world, by_node, jws, run="run_2") == (cohort, total)
        assert await ask(world, by_node, jws, run="run_3", attempt=4) == (cohort, total)
        assert {agent.admin.budgets.overview()[0].spent_nano for agent in agents.values()} == spent
        other = await ask(world, by_node, jws, run="run_4", columns=("weight",))
        assert other[0] != cohort
        for agent in agents.values():
            assert events(agent).count("budget:charged") == 2
            agent.admin.budgets.check()
            agent.admin.journal.verify()
        told = await by_node["node0"].expect("budgets")
        assert {row.scope for row in told.budgets} == {"resource", "grantee", "grant"}


@runs
async def test_an_answer_outlives_a_restart_of_its_node(place):
    world = World(place)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    dirs = [world.make_node(f"node{i}", coordinator.port, table()) for i in range(3)]
    jws = world.signed(release="dp", privacy=TERMS)
    answers = []
    for run in ("run_1", "run_2"):
        async with contextlib.AsyncExitStack() as stack:
            for path in dirs:
                await stack.enter_async_context(noisy_node(path))
            answers.append(await ask(world, await sessions(world, coordinator, 3), jws, run=run))
    assert answers[0] == answers[1]
    await coordinator.stop()


@runs
async def test_other_departments_are_no_second_noise(place):
    world = World(place, nodes=4)
    coordinator = Coordinator(world.pki)
    await coordinator.start()
    dirs = [world.make_node(f"node{i}", coordinator.port, table()) for i in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(noisy_node(path)) for path in dirs]
        by_node = await sessions(world, coordinator, 4)
        jws = world.signed(release="dp", privacy=TERMS)
        three = {name: by_node[name] for name in list(by_node)[:3]}
        # A first attempt among four that is never opened; the charge is the question's, so the second costs nothing more.
        first = [await by_node[name].ask(world.task(jws, node_id=name)) for name in by_node]
        assert all(reply.WhichOneof("outcome") == "flower_message" for reply in first)
        assert isinstance(await ask(world, three, jws, attempt=2), tuple)
        assert {events(agent).count("budget:charged") for agent in agents} == {1}
        # Opened among three, it is never opened among four.
        codes = {failure.code for failure in await ask(world, by_node, jws, run="run_2")}
        assert codes == {"question_answered_with_others"}
    await coordinator.stop()


@runs
async def test_an_exhausted_budget_refuses_and_charges_nothing(place):
    async with departments(place) as (world, by_node, agents):
        agents["node1"].admin.SetBudget(local_pb2.SetBudgetRequest(resource="patients", cap_nano=1))
        jws = world.signed(release="dp", privacy=TERMS)
        (failure,) = await ask(world, by_node, jws)
        assert (failure.code, failure.retryable) == ("budget_exhausted", False)
        assert failure.args["left"] == "0.000000001"
        assert failure.args["what"] == "patients"
        assert "budget:charged" not in events(agents["node1"])
        # A question that failed at one department was paid for at the others, and is not paid for twice.
        agents["node1"].admin.SetBudget(local_pb2.SetBudgetRequest(resource="patients", cap_nano=10**9))
        assert isinstance(await ask(world, by_node, jws, run="run_2"), tuple)
        assert {events(agent).count("budget:charged") for agent in agents.values()} == {1}


@runs
async def test_a_worker_that_fails_was_paid_for(place):
    async with departments(place) as (world, by_node, agents):
        jws = world.signed(release="dp", privacy=TERMS)
        failures = await ask(world, by_node, jws, mode="raise")
        assert {failure.code for failure in failures} == {"app_failed"}
        assert {events(agent).count("budget:charged") for agent in agents.values()} == {1}


@runs
async def test_few_rows_do_not_show(place):
    """Whether a department has fewer rows than the cohort must not decide whether it answers."""
    async with departments(place, config="[policy]\nminimum_cohort = 1000\n") as (world, by_node, _):
        assert isinstance(await ask(world, by_node, world.signed(release="dp", privacy=TERMS)), tuple)


@runs
async def test_what_has_no_noise_is_not_answered(place):
    async with departments(place, toy=app) as (world, by_node, _):
        failures = await ask(world, by_node, world.signed(release="dp", privacy=TERMS))
        assert {failure.code for failure in failures} == {"noise_undeclared"}


@runs
async def test_an_unknown_unit_is_told(place):
    async with departments(place) as (world, by_node, _):
        terms = TERMS.model_copy(update={"unit_columns": {"patients": "passport"}})
        failures = await ask(world, by_node, world.signed(release="dp", privacy=terms))
        assert {failure.code for failure in failures} == {"unit_column_unknown"}


@runs
async def test_exact_answers_of_the_same_run_are_of_other_rows(place):
    """One run id under two grants: what was bounded for one is not what the other reads."""
    async with departments(place) as (world, by_node, _):
        await ask(world, by_node, world.signed(release="dp", privacy=TERMS), run="run_1")
        cohort, total = await ask(world, by_node, world.signed(jti="grt_2"), run="run_1", round_=2)
        assert (cohort, total) == (120, pytest.approx(3 * sum(range(30, 70))))
