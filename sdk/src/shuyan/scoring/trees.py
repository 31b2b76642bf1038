"""Boosted trees, from XGBoost's own JSON in ``content["model"]``; numbers are rounded as XGBoost rounds them.

``{"score": probability of class 1, "label": 0 or 1}`` for two classes, ``{"score": probability of the likeliest class,
"label": that class, "probabilities": {class: probability}}`` for several, ``{"score": value}`` for numbers and counts. A
feature's null is a missing value: every split says where such rows go.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from shuyan.scoring import _features

_FLOAT32: Final = struct.Struct("<f")


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`."""
    _features.refuse_unknown({feature["name"] for feature in content["features"]}, features)
    row = [_value(feature, _features.value_of(feature["name"], features)) for feature in content["features"]]
    learner = content["model"]["learner"]
    model, objective = learner["gradient_booster"]["model"], learner["objective"]["name"]
    base = [float(part) for part in learner["learner_model_param"]["base_score"].strip("[]").split(",")]
    margins = [_float32(_margin(objective, value)) for value in base]
    for group, tree in zip(model["tree_info"], model["trees"], strict=True):
        margins[group] = _float32(margins[group] + _float32(_leaf(tree, row)))
    if objective == "binary:logistic":
        probability = 1 / (1 + math.exp(-margins[0])) if margins[0] >= 0 else math.exp(margins[0]) / (1 + math.exp(margins[0]))
        return {"score": probability, "label": int(probability >= 0.5)}
    if objective == "multi:softprob":
        powers = [math.exp(margin - max(margins)) for margin in margins]
        shares = [power / math.fsum(powers) for power in powers]
        best = shares.index(max(shares))
        return {"score": shares[best], "label": content["classes"][best],
                "probabilities": dict(zip(content["classes"], shares, strict=True))}
    return {"score": math.exp(margins[0]) if objective == "count:poisson" else margins[0]}


def _margin(objective: str, score_: float) -> float:
    if objective == "binary:logistic":
        return -math.log(1 / _float32(score_) - 1)
    return math.log(_float32(score_)) if objective == "count:poisson" else score_


def _value(feature: Mapping[str, Any], value: Any) -> float | None:
    """A number as float32, the place of a category's value, or None where it is missing."""
    if value is None:
        return None
    if feature["type"] == "number":
        return _float32(_features.number(feature["name"], value))
    level, levels = _features.level(value), feature["levels"]
    if level not in levels:
        raise _features.level_unknown(feature["name"], levels)
    return float(levels.index(level))


def _leaf(tree: Mapping[str, Any], row: list[float | None]) -> float:
    at = 0
    left, right, conditions = tree["left_children"], tree["right_children"], tree["split_conditions"]
    while left[at] >= 0:
        value = row[tree["split_indices"][at]]
        if value is None:
            goes_left = tree["default_left"][at] == 1
        elif tree["split_type"][at] == 1:
            place = tree["categories_nodes"].index(at)
            start = tree["categories_segments"][place]
            goes_left = int(value) not in tree["categories"][start : start + tree["categories_sizes"][place]]
        else:
            goes_left = value < _float32(conditions[at])
        at = left[at] if goes_left else right[at]
    return float(conditions[at])


def _float32(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:  # beyond float32 everything is beyond every split
        return math.copysign(math.inf, value)
