"""Neural networks (multi-layer perceptrons).

``{"score": probability of class 1, "label": 0 or 1}`` for two classes, ``{"score": probability of the likeliest class,
"label": that class, "probabilities": {class: probability}}`` for several, ``{"score": value}`` for numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shuyan.scoring import _features


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`."""
    values = inputs_of(content, features)
    last = len(content["layers"]) - 1
    for place, layer in enumerate(content["layers"]):
        sums = [math.fsum([bias, *(value * row[unit] for value, row in zip(values, layer["weights"], strict=True))])
                for unit, bias in enumerate(layer["biases"])]
        if place < last:
            sums = [max(total, 0.0) for total in sums] if content["activation"] == "relu" else [math.tanh(total) for total in sums]
        values = sums
    if content["task"] == "number":
        return {"score": values[0] * content["scale"]["sd"] + content["scale"]["mean"]}
    if content["task"] == "binary":
        probability = 0.5 * (1 + math.tanh(0.5 * values[0]))
        return {"score": probability, "label": int(values[0] >= 0)}
    powers = [math.exp(value - max(values)) for value in values]
    shares = [power / math.fsum(powers) for power in powers]
    best = shares.index(max(shares))
    return {"score": shares[best], "label": content["classes"][best],
            "probabilities": dict(zip(content["classes"], shares, strict=True))}


def inputs_of(content: Mapping[str, Any], features: Mapping[str, Any]) -> list[float]:
    """One case as the first layer reads it; errors as for :func:`shuyan.scoring.score`."""
    _features.refuse_unknown({feature["name"] for feature in content["features"]}, features)
    values: list[float] = []
    for feature in content["features"]:
        values += _inputs(feature, _features.value_of(feature["name"], features))
    return values


def _inputs(feature: Mapping[str, Any], value: Any) -> list[float]:
    if feature["type"] == "number":
        scaled = (_features.number(feature["name"], value) - feature["mean"]) / feature["sd"]
        return [min(max(scaled, -1.0), 1.0) if feature.get("lower") is not None else scaled]
    level, levels = _features.level(value), feature["levels"]
    if level not in levels:
        raise _features.level_unknown(feature["name"], levels)
    return [float(level == other) for other in levels[1:]]
