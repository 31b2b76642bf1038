from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from shuyan.federation import problems, ring
from shuyan.federation.apps import AppManifest, VectorSpec
from shuyan.federation.egress import check_output, check_question
from shuyan.federation.vectors import COHORT
from shuyan.problems import ProblemError

MANIFEST = AppManifest(
    name="demo", version="1", title_zh="例", title_en="Demo", output_form="statistics",
    actions={"query.x": {"v": VectorSpec(limbs=2, fraction_bits=20, bound=1e6),
                         "fine": VectorSpec(limbs=3, fraction_bits=80, bound=1e6, terms=2),
                         "narrow": VectorSpec(limbs=1, fraction_bits=40, bound=4e6)}},
)
SPECS = MANIFEST.actions["query.x"]


def code_of(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ProblemError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.mark.parametrize(
    ("message_type", "expect", "code"),
    [
        ("query.y", {"v": 1}, problems.UNKNOWN_ACTION),
        ("query.x", {}, problems.OUTPUT_UNDECLARED),
        ("query.x", {"w": 1}, problems.OUTPUT_UNDECLARED),
        ("query.x", {COHORT: 1}, problems.OUTPUT_UNDECLARED),
        ("query.x", {"v": -1}, problems.OUTPUT_UNDECLARED),
        ("query.x", {"v": 100, "fine": 1}, problems.OUTPUT_TOO_LARGE),
        ("query.x", {"narrow": 1}, problems.OUTPUT_OUT_OF_BOUND),
    ],
)
def test_questions_beyond_the_declaration_are_refused(message_type: str, expect: dict[str, int], code: str) -> None:
    assert code_of(check_question, MANIFEST, message_type, expect, max_values=100, participants=3) == code


@pytest.mark.parametrize(
    ("vector", "code"),
    [
        (np.zeros(2), problems.OUTPUT_UNDECLARED),
        (np.zeros((2, 3)), problems.OUTPUT_UNDECLARED),
        (np.zeros((1, 1, 3)), problems.OUTPUT_UNDECLARED),
        (np.zeros(3, dtype=np.float32), problems.OUTPUT_UNDECLARED),
        ([0.0, 0.0, 0.0], problems.OUTPUT_UNDECLARED),
        (np.array([0.0, math.nan, 0.0]), problems.OUTPUT_NOT_FINITE),
        (np.array([0.0, math.inf, 0.0]), problems.OUTPUT_NOT_FINITE),
        (np.array([0.0, -math.inf, 0.0]), problems.OUTPUT_NOT_FINITE),
        (np.array([0.0, 0.0, -1e6 - 1]), problems.OUTPUT_OUT_OF_BOUND),
    ],
)
def test_vectors_other_than_declared_do_not_pass(vector: Any, code: str) -> None:
    assert code_of(check_output, SPECS, {"v": 3}, {"v": vector}, 100, minimum_cohort=10) == code


@pytest.mark.parametrize("vectors", [{}, {"v": np.zeros(3), "extra": np.zeros(1)}])
def test_exactly_the_asked_vectors_pass(vectors: Any) -> None:
    assert code_of(check_output, SPECS, {"v": 3}, vectors, 100, minimum_cohort=10) == problems.OUTPUT_UNDECLARED


@pytest.mark.parametrize(
    ("cohort", "code"),
    [(9, problems.COHORT_TOO_SMALL), (-1, problems.OUTPUT_UNDECLARED), (True, problems.OUTPUT_UNDECLARED),
     (10.5, problems.OUTPUT_UNDECLARED), (2**60, problems.OUTPUT_UNDECLARED)],
)
def test_the_cohort_is_large_enough_and_a_number(cohort: Any, code: str) -> None:
    assert code_of(check_output, SPECS, {"v": 3}, {"v": np.zeros(3)}, cohort, minimum_cohort=10) == code


def test_good_output_is_encoded_with_its_cohort_and_terms_add_up_exactly() -> None:
    vectors = {"v": np.array([1.5, -2.0]), "fine": np.array([[1.0], [2.0**-75]])}

    words = check_output(SPECS, {"v": 2, "fine": 1}, vectors, 42, minimum_cohort=10)

    assert ring.integers(words[COHORT]) == [42]
    assert ring.integers(words["v"]) == [int(1.5 * 2**20), -2 * 2**20]
    assert ring.integers(words["fine"]) == [2**80 + 2**5]
