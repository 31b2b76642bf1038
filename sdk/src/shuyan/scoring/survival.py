"""Cox's model: ``{"score": hazard ratio to an average case, "survival": [{"time", "probability"}]}``."""

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
    ratio = math.exp(max(min(math.fsum(w * x for w, x in zip(content["coefficients"], inputs, strict=True)), 700.0), -700.0))
    survival = [{"time": point["time"], "probability": math.exp(-min(point["hazard"] * ratio, 700.0))}
                for point in content["baseline"]]
    return {"score": ratio, "survival": survival}


def _standardised(feature: Mapping[str, Any], value: Any) -> list[float]:
    if feature["type"] == "number":
        return [(_features.number(feature["name"], value) - feature["mean"]) / feature["sd"]]
    level, levels = _features.level(value), feature["levels"]
    if level not in levels:
        raise _features.level_unknown(feature["name"], levels)
    return [(float(level == other) - mean) / sd
            for other, mean, sd in zip(levels[1:], feature["mean"], feature["sd"], strict=True)]
