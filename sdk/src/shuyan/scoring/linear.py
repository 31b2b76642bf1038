"""Linear and logistic regression: ``{"score": value}``, or ``{"score": probability of class 1, "label": 0 or 1}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shuyan.scoring import _features


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`."""
    _features.refuse_unknown({feature["name"] for feature in content["features"]}, features)
    inputs: list[float] = []
    for feature in content["features"]:
        inputs += _standardised(feature, _features.value_of(feature["name"], features))
    linear = math.fsum([content["intercept"], *(w * x for w, x in zip(content["coefficients"], inputs, strict=True))])
    if content["family"] == "linear":
        return {"score": linear}
    probability = 1 / (1 + math.exp(-linear)) if linear >= 0 else math.exp(max(linear, -745.0)) / (1 + math.exp(linear))
    return {"score": probability, "label": int(probability >= 0.5)}


def _standardised(feature: Mapping[str, Any], value: Any) -> list[float]:
    if feature["type"] == "number":
        return [(_features.number(feature["name"], value) - feature["mean"]) / feature["sd"]]
    level, levels = _features.level(value), feature["levels"]
    if level not in levels:
        raise _features.level_unknown(feature["name"], levels)
    # The first level is the reference: it has no term.
    return [
        (float(level == other) - mean) / sd
        for other, mean, sd in zip(levels[1:], feature["mean"], feature["sd"], strict=True)
    ]
