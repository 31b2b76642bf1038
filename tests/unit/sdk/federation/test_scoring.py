from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from shuyan import scoring
from shuyan.problems import ProblemError
from shuyan.scoring import score

MODEL: dict[str, Any] = {
    "family": "logistic", "coefficients": [2.0, -1.0], "intercept": 0.5,
    "features": [{"name": "age", "type": "number", "mean": 50.0, "sd": 10.0},
                 {"name": "smoker", "type": "category", "levels": ["false", "true"], "mean": [0.3], "sd": [0.5]}],
}
CASE: dict[str, Any] = {"age": 60, "smoker": True}


def test_logistic() -> None:
    linear = 0.5 + 2.0 * 1.0 - 1.0 * (1 - 0.3) / 0.5
    assert score(MODEL, CASE) == {"score": pytest.approx(1 / (1 + math.exp(-linear))), "label": 1}


def test_linear() -> None:
    assert score({**MODEL, "family": "linear"}, {"age": 50.0, "smoker": "false"}) == {"score": pytest.approx(0.5 + 0.6)}


@pytest.mark.parametrize(("age", "expected"), [(1e9, 1.0), (-1e9, 0.0)])
def test_extreme_cases_stay_finite(age: float, expected: float) -> None:
    assert score(MODEL, {**CASE, "age": age})["score"] == pytest.approx(expected, abs=1e-300)


@pytest.mark.parametrize(
    ("features", "code", "field"),
    [
        ({"age": 60}, scoring.FEATURE_MISSING, "smoker"),
        ({**CASE, "height": 1}, scoring.FEATURE_UNKNOWN, "height"),
        ({**CASE, "age": "60"}, scoring.FEATURE_NOT_A_NUMBER, "age"),
        ({**CASE, "age": True}, scoring.FEATURE_NOT_A_NUMBER, "age"),
        ({**CASE, "age": None}, scoring.FEATURE_NOT_A_NUMBER, "age"),
        ({**CASE, "age": math.nan}, scoring.FEATURE_NOT_A_NUMBER, "age"),
        ({**CASE, "age": 10**400}, scoring.FEATURE_NOT_A_NUMBER, "age"),
        ({**CASE, "smoker": "maybe"}, scoring.FEATURE_LEVEL_UNKNOWN, "smoker"),
        ({**CASE, "smoker": None}, scoring.FEATURE_LEVEL_UNKNOWN, "smoker"),
        ({**CASE, "smoker": ["true"]}, scoring.FEATURE_LEVEL_UNKNOWN, "smoker"),
    ],
)
def test_wrong_features_are_named(features: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        score(MODEL, features)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert field in caught.value.text("zh")
    assert field in caught.value.text("en")


@pytest.mark.parametrize("value", [3, 3.0, "3"])
def test_a_level_may_be_given_as_number_or_string(value: object) -> None:
    model = {"family": "linear", "coefficients": [1.0], "intercept": 0.0,
             "features": [{"name": "cp", "type": "category", "levels": ["1", "3"], "mean": [0.0], "sd": [1.0]}]}
    assert score(model, {"cp": value}) == {"score": 1.0}


def test_scoring_needs_no_numerical_library() -> None:
    check = "import sys, shuyan.scoring; sys.exit(any(m in sys.modules for m in ('numpy', 'flwr', 'duckdb')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
