"""Clusters and components.

Clusters give ``{"score": distance to the nearest centre, "label": its number from 0}``, in standard deviations;
components give ``{"score": the first, "components": [...]}``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shuyan.scoring import _features


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`."""
    declared = content["features"]
    _features.refuse_unknown({feature["name"] for feature in declared}, features)
    values = [
        (_features.number(feature["name"], _features.value_of(feature["name"], features)) - feature["mean"]) / feature["sd"]
        for feature in declared
    ]
    if content["family"] == "components":
        found = [math.fsum(w * x for w, x in zip(component["loadings"], values, strict=True))
                 for component in content["components"]]
        return {"score": found[0], "components": found}
    distances = [
        math.dist(values, [(c - feature["mean"]) / feature["sd"]
                           for c, feature in zip(cluster["centre"], declared, strict=True)])
        for cluster in content["clusters"]
    ]
    nearest = min(range(len(distances)), key=distances.__getitem__)
    return {"score": distances[nearest], "label": nearest}
