"""Cox's model: ``{"score": hazard ratio to an average case, "survival": [{"time", "probability"}]}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shuyan.scoring import _features
from shuyan.scoring.linear import standardised


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`."""
    _features.refuse_unknown({feature["name"] for feature in content["features"]}, features)
    inputs: list[float] = []
    for feature in content["features"]:
        inputs += standardised(feature, _features.value_of(feature["name"], features))
    ratio = math.exp(max(min(math.fsum(w * x for w, x in zip(content["coefficients"], inputs, strict=True)), 700.0), -700.0))
    survival = [{"time": point["time"], "probability": math.exp(-min(point["hazard"] * ratio, 700.0))}
                for point in content["baseline"]]
    return {"score": ratio, "survival": survival}
