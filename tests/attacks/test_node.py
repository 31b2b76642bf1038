"""A department that answers what is not so: what the gates stop, what shows, and how far the rest goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from shuyan.federation import _flower, problems
from shuyan.federation.answers import PlainAnswer
from shuyan.federation.local import LocalFederation
from shuyan.federation.ring import Words
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError

from .conftest import ROWS, City, Tables

Figure = Callable[[str, object], None]
PARAMS = {"resource": "patients", "columns": ["cost"], "group_by": [["ward"], []]}
LIAR = "hospital-3"


def worker_says(monkeypatch: pytest.MonkeyPatch, change: Callable[[PlainAnswer], PlainAnswer]) -> None:
    """One department's worker (an app gone wrong, or taken over) returns something else; its agent is honest."""
    honest = _flower.answer

    def answer(*args: Any, **options: Any) -> PlainAnswer:
        plain = honest(*args, **options)
        return change(plain) if threading.current_thread().name.startswith(LIAR) else plain  # each node has a thread

    monkeypatch.setattr(_flower, "answer", answer)


def agent_says(monkeypatch: pytest.MonkeyPatch, federation: LocalFederation, change: Callable[[dict[str, Words]], Mapping[str, Words]]) -> None:
    """One department's agent itself lies: no gate of its own stops it, and its words are masked like any other's."""
    node = federation.nodes[LIAR]
    compute = type(node)._compute

    def lying(self: Any, *args: Any) -> Any:
        words = compute(self, *args)
        return dict(change(words)) if self.node_id == LIAR else words

    monkeypatch.setattr(type(node), "_compute", lying)


@pytest.mark.parametrize(("value", "code"), [
    (float("nan"), problems.OUTPUT_NOT_FINITE), (float("inf"), problems.OUTPUT_NOT_FINITE), (1e60, problems.OUTPUT_OUT_OF_BOUND)])
def test_a_worker_s_garbage_stops_at_its_agent(city: City, monkeypatch: pytest.MonkeyPatch, value: float, code: str) -> None:
    federation = city()
    worker_says(monkeypatch, lambda plain: PlainAnswer(
        {name: np.full_like(vector, value) for name, vector in plain.vectors.items()}, plain.cohort, plain.rows))
    with pytest.raises(NodeFailure) as caught:
        federation.run("statistics", PARAMS)
    assert caught.value.code == code


def test_an_undeclared_vector(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = city()
    worker_says(monkeypatch, lambda plain: PlainAnswer({**plain.vectors, "more": np.ones(3)}, plain.cohort))
    with pytest.raises(NodeFailure) as caught:
        federation.run("statistics", PARAMS)
    assert caught.value.code == problems.OUTPUT_UNDECLARED


def test_row_sets_that_are_none(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = city()
    worker_says(monkeypatch, lambda plain: PlainAnswer(plain.vectors, plain.cohort, b"RWS1 and nothing"))
    with pytest.raises(NodeFailure) as caught:
        federation.run("statistics", PARAMS)
    assert caught.value.code == problems.OUTPUT_UNDECLARED


def test_a_lying_agent_s_random_words_void_the_result(city: City, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    random, found = np.random.default_rng(1), 0
    for name in ("rows", "count", "sum", "square", "present"):
        with monkeypatch.context() as patch:
            federation = city()
            agent_says(patch, federation, lambda words, name=name: {  # type: ignore[misc]
                **words, **({name: random.integers(0, 2**64, words[name].shape, dtype=np.uint64)} if name in words else {})})
            try:
                federation.run("statistics", PARAMS)
            except ProblemError as problem:
                found += problem.code == problems.SUM_IMPLAUSIBLE
    figure("lying agent, one vector of random words: noticed, of 5", found)
    assert found >= 4


def test_a_consistent_lie_moves_a_mean_by_its_share(city: City, tables: Tables, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    """Whoever invents patients cannot be told from a hospital that has them; the cohort shows how many took part."""
    federation = city()
    honest = federation.run("statistics", PARAMS)["tables"][1]["cells"][0]["columns"]["cost"]["mean"]
    table = tables[LIAR]
    worker_says(monkeypatch, lambda plain: PlainAnswer(
        {name: (vector if name == "present" else vector * 2) for name, vector in plain.vectors.items()}, plain.cohort * 2))
    doubled = city().run("statistics", PARAMS)
    moved = doubled["tables"][1]["cells"][0]["columns"]["cost"]["mean"]
    others = np.concatenate([other["cost"] for other in tables.values()])
    expected = (others.sum() + table["cost"].sum()) / (len(others) + ROWS)
    figure("consistent lie (all rows twice): shift of the mean, rows shown against rows declared",
           (f"{moved / honest - 1:+.2%}", doubled["rows"], ROWS * len(tables)))
    assert moved == pytest.approx(expected, rel=1e-9)
    assert doubled["rows"] == ROWS * (len(tables) + 1)
