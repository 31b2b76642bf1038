"""Runs that go on from the rounds another run had finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shuyan.federation.differencing import GuardRules
from shuyan.federation.grid import SecureGrid
from shuyan.federation.local import LocalFederation
from shuyan.federation.rounds import MemoryRounds, StoredRound
from shuyan.federation.transport import OpenRequest, TaskRequest

from .conftest import department

Federate = Callable[..., LocalFederation]
TABLES = [department(seed, 120 + seed) for seed in range(1, 5)]
PARAMS = {"resource": "cases", "family": "logistic", "target": "paid", "features": ["age", "amount", "district"],
          "tolerance": 1e-12}


class _Died(BaseException):
    """The coordinator was killed."""


def grid(federation: LocalFederation, rounds: MemoryRounds, told: list[str], **options: Any) -> SecureGrid:
    return federation.grid("regression", PARAMS, rounds=rounds, progress=lambda r, n, code, /, **args: told.append(f"{r} {code}"),
                           **options)


def run(federation: LocalFederation, on: SecureGrid) -> dict[str, Any]:
    content: dict[str, Any] = federation.apps["regression"].load().run(on)
    return content


def die_in(federation: LocalFederation, rounds: MemoryRounds, round_: int, code: str = "round_started") -> None:
    on = grid(federation, rounds, [])

    def watch(number: int, _rounds: int, told: str, /, **_args: object) -> None:
        if (number, told) == (round_, code):
            raise _Died

    on._watcher = watch
    with pytest.raises(_Died):
        run(federation, on)


def asked(federation: LocalFederation, kind: type[TaskRequest] | type[OpenRequest]) -> list[tuple[str, int]]:
    return [(one.run_id, one.round) for one in federation.transport.carried if isinstance(one, kind) and one.node_id == "node-0"]


@pytest.mark.parametrize("code", ["round_started", "round_opening", "round_finished"])
def test_a_run_goes_on_after_the_last_finished_round(federate: Federate, code: str) -> None:
    whole = federate(TABLES)
    expected = run(whole, grid(whole, MemoryRounds(), []))
    federation, rounds, told = federate(TABLES, record=True), MemoryRounds(), list[str]()
    die_in(federation, rounds, 3, code)
    finished = len(rounds.kept)
    assert finished == (3 if code == "round_finished" else 2)

    on = grid(federation, rounds, told)
    content = run(federation, on)

    assert content == expected
    opened = asked(federation, OpenRequest)
    assert [number for _run, number in opened] == list(range(1, on.round + 1))  # no round is opened twice
    assert {number for run_id, number in asked(federation, TaskRequest) if run_id != opened[0][0]} == set(
        range(finished + 1, on.round + 1))
    assert told[0] == f"{finished + 1} rounds_resumed"
    assert on.smallest_cohort == sum(len(table["age"]) for table in TABLES)


def test_a_department_lost_meanwhile_stays_in_the_finished_rounds_only(federate: Federate) -> None:
    federation, rounds, told = federate(TABLES, record=True, guard=GuardRules(participants="off")), MemoryRounds(), list[str]()
    die_in(federation, rounds, 3)
    federation.transport.offline.add("node-3")
    content = run(federation, grid(federation, rounds, told))
    assert content["departments"] == 3
    assert told[:3] == ["3 rounds_resumed", "3 department_lost", "3 round_started"]
    assert [number for _run, number in asked(federation, OpenRequest)] == list(range(1, len(rounds.kept) + 1))


def test_rounds_that_do_not_fit_are_not_used(federate: Federate) -> None:
    federation, rounds, told = federate(TABLES), MemoryRounds(), list[str]()
    die_in(federation, rounds, 3)
    kept = StoredRound.from_bytes(rounds.kept[2])
    rounds.kept[2] = StoredRound("sha256:other", kept.participants, kept.cohort, kept.words).to_bytes()
    run(federation, grid(federation, rounds, told))
    assert told[:2] == ["2 rounds_discarded", "2 rounds_resumed"]
    assert StoredRound.from_bytes(rounds.kept[2]).question == kept.question


@given(words=st.dictionaries(st.text(min_size=1, max_size=5), arrays.arrays(np.uint64, st.tuples(st.integers(1, 4), st.integers(0, 9))),
                             max_size=3), cohort=st.integers(0, 2**48))
def test_a_round_is_read_as_it_was_written(words: dict[str, Any], cohort: int) -> None:
    kept = StoredRound("sha256:q", ("a", "b", "c"), cohort, words)
    again = StoredRound.from_bytes(kept.to_bytes())
    assert (again.question, again.participants, again.cohort) == (kept.question, kept.participants, kept.cohort)
    assert all(np.array_equal(again.words[name], words[name]) for name in words)


@given(data=st.binary(max_size=60))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  JSON's own errors are among them
        StoredRound.from_bytes(data)
