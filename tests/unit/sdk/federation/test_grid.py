from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from shuyan.federation import _flower, problems
from shuyan.federation.apps.statistics._app import expect
from shuyan.federation.differencing import GuardRules
from shuyan.federation.grid import ApprovalsPending, RunCancelled, SecureGrid
from shuyan.federation.local import LocalFederation, LocalTransport
from shuyan.federation.transport import (
    NodeFailure,
    NodeLost,
    OpenReply,
    OpenRequest,
    TaskReply,
    TaskRequest,
    Transport,
)
from shuyan.federation.vectors import layout
from shuyan.problems import ProblemError

from .conftest import department

Federate = Callable[..., LocalFederation]
TABLES = [department(seed, 50 + seed) for seed in range(1, 6)]
PARAMS = {"resource": "cases", "columns": ["amount"], "group_by": []}  # one round


class Unreliable(Transport):
    """A local transport on which things happen at a chosen moment."""

    def __init__(self, inner: LocalTransport) -> None:
        self.inner = inner
        self.before_task: Callable[[TaskRequest], None] = lambda request: None
        self.before_open: Callable[[OpenRequest], None] = lambda request: None

    def connected(self) -> set[str]:
        return self.inner.connected()

    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        return self._guarded(self.before_task, self.inner.submit, request)

    def open(self, request: OpenRequest) -> Future[OpenReply]:
        return self._guarded(self.before_open, self.inner.open, request)

    def cancel(self, run_id: str) -> None:
        self.inner.cancel(run_id)

    @staticmethod
    def _guarded(before: Callable[[Any], None], then: Callable[[Any], Future[Any]], request: Any) -> Future[Any]:
        try:
            before(request)
        except NodeFailure as failure:
            failed: Future[Any] = Future()
            failed.set_exception(failure)
            return failed
        return then(request)


def run(federation: LocalFederation, transport: Transport | None = None, **options: Any) -> dict[str, Any]:
    grid = federation.grid("statistics", PARAMS, **options)
    if transport is not None:
        grid._transport = transport
    content: dict[str, Any] = federation.apps["statistics"].load().run(grid)
    return content


def name_of(federation: LocalFederation, node_id: str) -> str:
    return next(node.name for node in federation.grant.nodes if node.node_id == node_id)


def overall(content: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = content["tables"][0]["cells"][0]
    return cell


def rows_of(tables: list[dict[str, Any]]) -> int:
    return sum(len(table["amount"]) for table in tables)


def test_a_node_offline_from_the_start_is_left_out(federate: Federate) -> None:
    federation = federate(TABLES)
    federation.transport.offline.add("node-4")
    told: list[tuple[str, dict[str, object]]] = []

    content = run(federation, progress=lambda round_, rounds, code, /, **args: told.append((code, args)))

    assert (content["departments"], content["rows"]) == (4, rows_of(TABLES[:4]))
    assert overall(content)["columns"]["amount"]["sum"] == pytest.approx(sum(t["amount"].sum() for t in TABLES[:4]), rel=1e-14)
    assert told == [
        ("department_lost", {"node": "node-4", "reason": "node_offline"}), ("round_started", {"departments": 4}),
        ("round_opening", {"departments": 4}), ("round_finished", {"departments": 4}),
    ]


@pytest.mark.parametrize("code", sorted(problems.RETRYABLE))
def test_a_node_lost_during_a_round_is_left_out_of_a_new_attempt(federate: Federate, code: str) -> None:
    federation = federate(TABLES, record=True)
    transport = Unreliable(federation.transport)

    def fail(request: TaskRequest) -> None:
        if request.node_id == "node-1":
            raise NodeFailure("node-1", code)

    transport.before_task = fail
    content = run(federation, transport)

    assert (content["departments"], content["rows"]) == (4, rows_of(TABLES) - len(TABLES[1]["amount"]))
    requests = [item for item in federation.transport.carried if isinstance(item, TaskRequest)]
    assert {request.participants for request in requests if request.attempt == 2} == {("node-0", "node-2", "node-3", "node-4")}
    opened = [item for item in federation.transport.carried if isinstance(item, OpenRequest)]
    assert {request.attempt for request in opened} == {2}


def test_below_the_minimum_the_run_ends_with_a_clear_problem(federate: Federate) -> None:
    federation = federate(TABLES[:4], minimum_participants=4)
    federation.transport.offline.add("node-0")

    with pytest.raises(ProblemError) as caught:
        run(federation)

    assert (caught.value.code, caught.value.args_) == (
        problems.DEPARTMENTS_LOST, {"left": 3, "minimum": 4, "lost": [name_of(federation, "node-0")]})
    assert name_of(federation, "node-0") in caught.value.text("zh")
    assert name_of(federation, "node-0") in caught.value.text("en")


def test_departments_lost_one_after_the_other_are_all_named(federate: Federate) -> None:
    federation = federate(TABLES[:4])
    transport = Unreliable(federation.transport)
    gone: list[str] = []

    def lose(request: TaskRequest) -> None:
        if request.node_id == f"node-{len(gone) + 1}" and request.attempt == len(gone) + 1:
            gone.append(request.node_id)
            raise NodeLost(request.node_id)

    transport.before_task = lose
    with pytest.raises(ProblemError) as caught:
        run(federation, transport)

    names = [name_of(federation, node) for node in ("node-1", "node-2")]
    assert (caught.value.code, caught.value.args_["lost"]) == (problems.DEPARTMENTS_LOST, names)
    assert "、".join(names) in caught.value.text("zh")
    assert ", ".join(names) in caught.value.text("en")


def test_the_grid_remembers_the_smallest_cohort_it_saw(federate: Federate) -> None:
    federation = federate(TABLES[:4], guard=GuardRules(participants="run"))
    transport = Unreliable(federation.transport)
    grid = federation.grid("regression", {"resource": "cases", "family": "linear", "target": "amount", "features": ["age"]})
    grid._transport = transport
    assert grid.smallest_cohort == 0

    def lose(request: TaskRequest) -> None:
        if request.node_id == "node-3" and request.round == 2:
            raise NodeLost(request.node_id)

    transport.before_task = lose
    federation.apps["regression"].load().run(grid)

    assert grid.smallest_cohort == sum(len(table["age"]) for table in TABLES[:3])


def test_all_departments_that_must_approve_first_are_named_together(federate: Federate) -> None:
    federation = federate(TABLES[:4])
    transport = Unreliable(federation.transport)

    def ask(request: TaskRequest) -> None:
        if request.node_id in ("node-0", "node-2"):
            raise NodeFailure(request.node_id, problems.APPROVAL_PENDING, {"approval": f"apr of {request.node_id}"})

    transport.before_task = ask
    with pytest.raises(ApprovalsPending) as caught:
        run(federation, transport)

    assert (caught.value.code, caught.value.retryable) == (problems.APPROVAL_PENDING, False)
    assert caught.value.approvals == {node: f"apr of {node}" for node in ("node-0", "node-2")}


def test_a_refusal_is_no_matter_of_approval(federate: Federate) -> None:
    federation = federate(TABLES[:3])
    transport = Unreliable(federation.transport)
    codes = {"node-0": problems.APPROVAL_PENDING, "node-1": problems.APPROVAL_REJECTED}

    def ask(request: TaskRequest) -> None:
        if request.node_id in codes:
            raise NodeFailure(request.node_id, codes[request.node_id])

    transport.before_task = ask
    with pytest.raises(NodeFailure) as caught:
        run(federation, transport)

    assert (caught.value.node_id, caught.value.code) == ("node-1", problems.APPROVAL_REJECTED)


def test_three_is_the_least_whatever_the_caller_says(federate: Federate) -> None:
    federation = federate(TABLES)
    with pytest.raises(ProblemError) as caught:
        run(federation, participants=("node-0", "node-1"))
    assert caught.value.code == problems.PARTICIPANTS_TOO_FEW


def test_a_refusal_ends_the_run_and_stops_the_others(federate: Federate) -> None:
    tables = [*TABLES[:3], department(9, 5)]
    federation = federate(tables)

    with pytest.raises(NodeFailure) as caught:
        run(federation)

    assert (caught.value.node_id, caught.value.code, caught.value.retryable) == ("node-3", problems.COHORT_TOO_SMALL, False)
    assert federation.transport.cancelled == {"local-1"}


def test_a_node_lost_while_opening_ends_the_run(federate: Federate) -> None:
    """The others may have opened; asking them to open another attempt is what the rule forbids."""
    federation = federate(TABLES)
    transport = Unreliable(federation.transport)

    def fail(request: OpenRequest) -> None:
        if request.node_id == "node-2":
            raise NodeLost("node-2")

    transport.before_open = fail
    with pytest.raises(ProblemError) as caught:
        run(federation, transport)
    assert caught.value.code == problems.ROUND_LOST


def test_cancelling_from_another_thread_ends_the_question_under_way(federate: Federate) -> None:
    federation = federate(TABLES)
    grid = federation.grid("statistics", PARAMS)
    asked, never = threading.Event(), Future[Any]()

    class Silent(LocalTransport):
        def submit(self, request: TaskRequest) -> Future[TaskReply]:
            asked.set()
            return never

    silent = Silent(list(federation.nodes.values()))
    grid._transport = silent
    canceller = threading.Thread(target=lambda: (asked.wait(), grid.cancel()))
    canceller.start()

    with pytest.raises(RunCancelled):
        federation.apps["statistics"].load().run(grid)

    canceller.join()
    assert silent.cancelled == {"local-1"}
    silent.close()
    with pytest.raises(RunCancelled):
        federation.apps["statistics"].load().run(grid)


def test_a_silent_node_is_given_up_when_time_is_up(federate: Federate) -> None:
    federation = federate(TABLES)

    class Deaf(Unreliable):
        def submit(self, request: TaskRequest) -> Future[TaskReply]:
            return Future() if request.node_id == "node-0" else super().submit(request)

    content = run(federation, Deaf(federation.transport), round_seconds=0.3)

    assert content["departments"] == 4


# --- what the coordinator gets to see ----------------------------------------------------------------------------


def carried_bytes(federation: LocalFederation) -> list[bytes]:
    return [item.flower_message for item in federation.transport.carried if isinstance(item, TaskReply)]


def test_nothing_a_node_sends_resembles_its_plain_numbers(federate: Federate) -> None:
    """Every reply holds ring elements only, which look uniform even where all plain numbers are nought or alike."""
    tables = [department(seed, 200) for seed in range(4)]
    for table in tables:
        table["amount"] = np.full(200, 123_456.0)
    federation = federate(tables, record=True)
    params = {**PARAMS, "group_by": [[], ["district"]], "domains": {"district": [f"d{place}" for place in range(3000)] + ["east", "north", "south", "west"]}}
    federation.run("statistics", params)

    replies = carried_bytes(federation)
    assert len(replies) == 2 * 4
    plain = {float(v).hex() for v in (200, 123_456.0, 200 * 123_456.0)}
    for data in replies:
        proto = _flower.ProtoMessage.FromString(data)
        assert [item.key for item in proto.content.items] == ["masked"]
        for item in proto.content.items[0].array_record.items:
            words = np.frombuffer(item.value.data, dtype="<u8")
            if item.key == "cohort#":
                continue
            bits = np.unpackbits(np.frombuffer(item.value.data, dtype=np.uint8))
            assert abs(bits.mean() - 0.5) < 0.01, item.key
            assert len(np.unique(words)) == len(words)
            assert not {float(value).hex() for value in words.view(np.float64)} & plain
    kinds = {type(item) for item in federation.transport.carried}
    assert kinds == {TaskRequest, TaskReply, OpenRequest, OpenReply}


def test_the_same_question_looks_different_in_every_run_round_and_attempt(federate: Federate) -> None:
    federation = federate(TABLES, record=True)
    run(federation)
    run(federation)

    by_node: dict[str, list[bytes]] = {}
    for item in federation.transport.carried:
        if isinstance(item, TaskReply):
            proto = _flower.ProtoMessage.FromString(item.flower_message)
            by_node.setdefault(item.node_id, []).append(proto.content.items[0].array_record.items[0].value.data)
    assert all(len(set(seen)) == 2 for seen in by_node.values())


def sum_for(federation: LocalFederation, participants: tuple[str, ...], run_id: str, attempt: int, *, open_it: bool) -> Any:
    """What a dishonest coordinator would do: choose participants and attempts freely."""
    grid = federation.grid("statistics", PARAMS, participants=participants)
    grid._run_id = run_id
    grid._round = 1
    content = _flower.question_content({}, {}, expect(grid.params))
    outgoing = _flower.Outgoing(content, "query.tally", run_id, 1)
    specs = grid._app.manifest.actions["query.tally"]
    segments = layout(specs, expect(grid.params))
    total = grid._collect(outgoing, segments, attempt)
    return grid._open(attempt) if open_it else total


def test_a_claimed_drop_out_cannot_yield_two_sums_of_one_round(federate: Federate) -> None:
    federation = federate(TABLES)
    everyone, fewer = tuple(federation.nodes), tuple(federation.nodes)[:-1]
    sum_for(federation, everyone, "run", 1, open_it=True)

    with pytest.raises(NodeFailure) as caught:
        sum_for(federation, fewer, "run", 2, open_it=True)

    assert caught.value.code in (problems.ALREADY_OPENED, problems.QUESTION_ANSWERED_WITH_OTHERS)


def test_masked_answers_to_both_lists_are_useless_when_only_one_is_opened(federate: Federate) -> None:
    """Both attempts are collected first, so no node could refuse early; the second opening is refused by all."""
    federation = federate(TABLES)
    everyone, fewer = tuple(federation.nodes), tuple(federation.nodes)[:-1]
    sum_for(federation, everyone, "run", 1, open_it=False)
    sum_for(federation, fewer, "run", 2, open_it=False)

    for node in everyone:
        federation.nodes[node].open(OpenRequest(f"run/1/1/{node}", node, "run", 1, 1))
    for node in fewer:
        with pytest.raises(ProblemError) as caught:
            federation.nodes[node].open(OpenRequest(f"run/1/2/{node}", node, "run", 1, 2))
        assert caught.value.code == problems.ALREADY_OPENED


def test_the_same_question_in_a_new_run_is_not_answered_for_fewer(federate: Federate) -> None:
    federation = federate(TABLES)
    run(federation)
    run(federation)

    with pytest.raises(NodeFailure) as caught:
        run(federation, participants=tuple(federation.nodes)[:-1])

    assert caught.value.code == problems.QUESTION_ANSWERED_WITH_OTHERS


def test_a_task_is_answered_once_and_that_answer_repeated(federate: Federate) -> None:
    federation = federate(TABLES, record=True)
    run(federation)
    request = next(item for item in federation.transport.carried if isinstance(item, TaskRequest))
    node = federation.nodes[request.node_id]

    assert node.answer(request) == node.answer(request)
    with pytest.raises(ProblemError) as caught:
        node.answer(replace(request, attempt=3))
    assert caught.value.code == problems.TASK_REPLAYED


def test_an_opening_must_name_the_task_it_means(federate: Federate) -> None:
    federation = federate(TABLES, record=True)
    run(federation)
    request = next(item for item in federation.transport.carried if isinstance(item, TaskRequest))

    for wrong in (OpenRequest("no/such/task", request.node_id, request.run_id, 1, 1),
                  OpenRequest(request.task_id, request.node_id, request.run_id, 1, 2)):
        with pytest.raises(ProblemError) as caught:
            federation.nodes[request.node_id].open(wrong)
        assert caught.value.code == problems.TASK_UNKNOWN


# --- Flower's interface ------------------------------------------------------------------------------------------


def test_messages_of_one_round_must_put_the_same_question(federate: Federate) -> None:
    grid: SecureGrid = federate(TABLES).grid("statistics", PARAMS)
    questions = [RecordDict({"expect": ConfigRecord({"rows": 5}), "config": ConfigRecord({"x": x})}) for x in (1, 2)]
    messages = [grid.create_message(content, "query.tally", 2, "1") for content in questions]

    with pytest.raises(ValueError, match="same question"):
        grid.send_and_receive(messages)
    with pytest.raises(ValueError, match="expect"):
        grid.send_and_receive([grid.create_message(RecordDict({}), "query.tally", 2, "1")])
    assert grid.send_and_receive([]) == []


def test_an_undeclared_vector_is_refused_before_anyone_is_asked(federate: Federate) -> None:
    federation = federate(TABLES, record=True)
    with pytest.raises(ProblemError) as caught:
        federation.grid("statistics", PARAMS).secure_sum("query.tally", expect={"raw": 10})
    assert caught.value.code == problems.OUTPUT_UNDECLARED
    assert federation.transport.carried == []
