"""The guard's durable memory: across restarts, rollbacks and questions that are computed at the same time."""

from __future__ import annotations

import numpy as np
import pytest
from node_harness import World, events, one_node, patients, runs
from typer.testing import CliRunner

from node_agent.cli.main import app as cli
from node_agent.guard import Guard, Memory
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import rowsets
from shuyan.federation.differencing import Asked, GuardRules
from shuyan.federation.rowsets import RowSet
from shuyan.problems import ProblemError
from shuyan.trust.keys import generate_agreement_key, generate_signing_key
from shuyan_protos.local.v1 import local_pb2

EVERYONE = ("node0", "node1", "node2", "node3")


class Node:
    """A guard on a database, and questions put to it."""

    def __init__(self, place, rules=None):
        self.path, self.rules, self.tasks = place / "state.sqlite", rules, 0
        self.grant = World(place, nodes=4).grant()
        self.start()

    def start(self):
        self.state = State(self.path)
        self.guard = Guard(self.state, Journal(self.state), self.rules)

    def asked(self, first, last, *, participants=EVERYONE, columns=("age",), grantee="org_1", run="run"):
        rows = {"patients": {"rows": RowSet.of(np.arange(first, last), 1000)}}
        return Asked.under(self.grant.model_copy(update={"grantee": grantee}), self.guard.rules, run_id=run,
                           participants=participants, columns={"patients": columns}, rows=rowsets.encode(rows))

    def checked(self, *args, **options):
        asked = self.asked(*args, **options)
        try:
            known, state = self.guard.earlier(asked)
            return Memory(asked, self.grant, "toy", 10, self.guard.check(asked, known, 10), state)
        except ProblemError as problem:
            self.guard.refused(asked, problem, task="t", question="q")
            raise

    def answer(self, *args, **options):
        self.tasks += 1
        with self.guard.remembering(self.checked(*args, **options), f"task{self.tasks}"):
            pass
        return f"task{self.tasks}"

    def refused(self, code, *args, **options):
        with pytest.raises(ProblemError) as caught:
            self.answer(*args, **options)
        return caught.value.code == code


def test_what_was_answered_is_known_after_a_restart(place):
    node = Node(place)
    node.answer(0, 500)
    node.state.close()
    node.start()
    assert node.refused("differencing_refused", 0, 501)
    node.answer(0, 500)
    node.answer(0, 400)
    assert [(one.resource, one.share, one.times) for one in node.guard.history()] == [("patients", 0.4, 1), ("patients", 0.5, 2)]


def test_what_was_not_recorded_was_not_answered(place):
    node = Node(place)
    with pytest.raises(RuntimeError), node.guard.remembering(node.checked(0, 500), "task"):
        raise RuntimeError("the disk is full")
    node.answer(0, 501)
    assert node.refused("differencing_refused", 0, 500)


def test_questions_computed_at_the_same_time_do_not_slip_past_each_other(place):
    node = Node(place)
    first, second, far = node.checked(0, 500), node.checked(0, 501), node.checked(0, 700)
    with node.guard.remembering(first, "one"):
        pass
    with pytest.raises(ProblemError, match="differencing_refused"), node.guard.remembering(second, "two"):
        pass
    with node.guard.remembering(far, "three"):
        pass


def test_grantees_are_kept_apart_unless_the_department_says_otherwise(place):
    apart = Node(place)
    apart.answer(0, 500)
    apart.answer(0, 501, grantee="org_2")
    (place / "together").mkdir()
    together = Node(place / "together", GuardRules(across_grantees=True))
    together.answer(0, 500)
    assert together.refused("differencing_refused", 0, 501, grantee="org_2")


def test_a_full_memory_refuses_new_conditions_and_keeps_the_old(place):
    node = Node(place, GuardRules(max_sets=2))
    node.answer(0, 500)
    node.answer(500, 1000)
    assert node.refused("guard_full", 100, 300)
    node.answer(0, 500)


def test_after_too_many_refusals_only_known_conditions_are_answered(place):
    node = Node(place, GuardRules(max_refusals=3))
    node.answer(0, 500)
    for last in (501, 502, 503):
        assert node.refused("differencing_refused", 0, last)
    assert node.refused("guard_full", 0, 800)
    node.answer(0, 500)
    node.answer(0, 800, grantee="org_2")


def test_departments_are_compared_as_of_what_was_opened(place):
    node = Node(place)
    never_opened = node.answer(0, 500)
    task = node.answer(0, 500, participants=EVERYONE[:3])  # the first was never opened: a real drop-out
    with node.guard.opening(task):
        pass
    node.state.close()
    node.start()
    assert node.refused("participants_differ", 0, 500)
    with pytest.raises(ProblemError, match="participants_differ"), node.guard.opening(never_opened):
        pass
    node.answer(0, 500, columns=("weight",))  # another column
    node.answer(0, 700)  # other rows


def test_resetting_is_journalled_and_complete(place):
    node = Node(place)
    with node.guard.opening(node.answer(0, 500)):
        pass
    assert node.guard.reset("org_1", "patients") == 1
    assert node.guard.history() == []
    node.answer(0, 501, participants=EVERYONE[:3])
    assert [entry.event for entry in Journal(node.state).read(0, 10)] == ["guard:reset"]


def test_refusals_are_journalled_without_what_they_came_close_to(place):
    node = Node(place)
    node.answer(0, 500)
    node.refused("differencing_refused", 0, 501)
    (entry,) = Journal(node.state).read(0, 10)
    assert (entry.event, entry.data["code"], entry.data["resources"]) == ("guard:refused", "differencing_refused", ["patients"])


@runs
async def test_over_the_link_fewer_departments_are_refused_a_related_question(place):
    async with one_node(place) as (world, _, agent, session):
        world.peers["node3"] = generate_signing_key(), generate_agreement_key()
        jws = world.signed()
        first = world.task(jws)
        assert (await session.ask(first)).WhichOneof("outcome") == "flower_message"
        assert len((await session.open(first)).self_mask_seed) == 32
        # One column more: another question, and the difference would be node3's.
        fewer = world.task(jws, run="run_2", columns=("age", "weight"), participants=sorted(world.peers)[:3])
        assert (await session.ask(fewer)).failure.code == "participants_differ"
        assert "guard:refused" in events(agent)
        other = world.task(jws, run="run_3", columns=("weight",), participants=sorted(world.peers)[:3])
        assert (await session.ask(other)).WhichOneof("outcome") == "flower_message"
        listed = agent.admin.ListGuard(local_pb2.ListGuardRequest()).questions
        assert [(q.grantee, q.resource, q.app, q.share, q.times) for q in listed] == [("org_1", "patients", "toy", 1.0, 2)]


def test_the_administrator_lists_and_resets(place):
    world = World(place)
    node_dir = world.make_node("node0", 1, patients())
    runner = CliRunner()
    command = ["--dir", str(node_dir.path), "--lang", "zh", "guard"]
    assert "没有记住的问题" in runner.invoke(cli, [*command, "list"]).output
    refused = runner.invoke(cli, [*command, "reset", "--grantee", "org_1", "--resource", "patients"])
    assert (refused.exit_code, "--confirm" in refused.output) == (1, True)
    done = runner.invoke(cli, [*command, "reset", "--grantee", "org_1", "--resource", "patients", "--confirm"])
    assert (done.exit_code, "0" in done.output) == (0, True)
