"""What a scoring call delivers for models that say more than a number."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.delivery import rules
from shuyan.problems import ProblemError

MODEL: dict[str, Any] = {
    "kind": "model", "family": "multinomial", "classes": ["low", "high"], "coefficients": [0.0, 2.0], "intercepts": [0.0, 1.0],
    "features": [{"name": "age", "type": "number", "mean": 40.0, "sd": 10.0}],
}


def test_a_label_and_probabilities_are_delivered() -> None:
    found = rules.answer(MODEL, {"features": {"age": 50}})
    assert found["label"] == "high"
    assert set(found["probabilities"]) == {"low", "high"}
    assert sum(found["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("coefficients", [[0.0, 1e308], [float("inf"), 0.0]])
def test_a_probability_that_is_no_number_is_not_delivered(coefficients: list[float]) -> None:
    with pytest.raises(ProblemError) as caught:
        rules.answer({**MODEL, "coefficients": coefficients}, {"features": {"age": 1e9}})
    assert (caught.value.code, caught.value.field) == ("score_out_of_range", "features")
