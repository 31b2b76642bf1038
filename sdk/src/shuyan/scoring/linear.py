"""Generalised linear models.

- linear: ``{"score": value}``
- poisson: ``{"score": mean}``; an offset or exposure may be posted among the features, else it is 0 or 1
- logistic: ``{"score": probability of class 1, "label": 0 or 1}``
- multinomial: ``{"score": the largest probability, "label": its class, "probabilities": {class: probability}}``
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shuyan.scoring import _features

_LARGEST_EXPONENT = 709.0


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case; arguments and errors as for :func:`shuyan.scoring.score`.

    A feature whose missing values the model fills in may be left out or null.
    """
    shift_names = {name for name in (content.get("offset"), content.get("exposure")) if name is not None}
    _features.refuse_unknown({feature["name"] for feature in content["features"]} | shift_names, features)
    inputs: list[float] = []
    for feature in content["features"]:
        name = feature["name"]
        inputs += standardised(feature, features.get(name) if feature.get("missing") else _features.value_of(name, features))
    if content["family"] == "multinomial":
        return _multinomial(content, inputs)
    linear = math.fsum([content["intercept"], *(w * x for w, x in zip(content["coefficients"], inputs, strict=True))])
    if content["family"] == "linear":
        return {"score": linear}
    if content["family"] == "poisson":
        return {"score": math.exp(min(linear + _shift(content, features), _LARGEST_EXPONENT))}
    probability = 1 / (1 + math.exp(-linear)) if linear >= 0 else math.exp(max(linear, -745.0)) / (1 + math.exp(linear))
    # At one half the sign of the linear predictor says it without rounding.
    threshold = content.get("threshold") or 0.5
    return {"score": probability, "label": int(linear >= 0 if threshold == 0.5 else probability >= threshold)}


def _multinomial(content: Mapping[str, Any], inputs: list[float]) -> dict[str, Any]:
    size = len(inputs)
    linear = [
        math.fsum([intercept, *(w * x for w, x in zip(content["coefficients"][at * size : (at + 1) * size], inputs, strict=True))])
        for at, intercept in enumerate(content["intercepts"])
    ]
    largest = max(linear)
    chances = [math.exp(max(value - largest, -745.0)) for value in linear]
    total = math.fsum(chances)
    probabilities = {name: chance / total for name, chance in zip(content["classes"], chances, strict=True)}
    label = content["classes"][linear.index(largest)]
    return {"score": probabilities[label], "label": label, "probabilities": probabilities}


def _shift(content: Mapping[str, Any], features: Mapping[str, Any]) -> float:
    """What an offset or exposure adds to the linear predictor."""
    offset, exposure = content.get("offset"), content.get("exposure")
    if offset is not None and offset in features:
        return _features.number(offset, features[offset])
    if exposure is not None and exposure in features:
        value = _features.number(exposure, features[exposure])
        if value <= 0:
            raise _features.not_a_number(exposure)
        return math.log(value)
    return 0.0


def standardised(feature: Mapping[str, Any], value: Any) -> list[float]:
    """A feature's terms: standardised number, or dummies of all levels but the first; then, where there is one, the term
    that says whether the value is missing.

    Args:
        feature: as the model describes it.
        value: as posted; None is missing.
    """
    missing = feature.get("missing")
    if value is not None and feature["type"] == "category" and feature.get("unknown") and (
        _features.level(value) not in feature["levels"]
    ):
        value = feature["levels"][0] if feature["unknown"] == "reference" else None
    absent = value is None and missing is not None
    if missing is not None and absent:
        value = missing["fill"]
    if feature["type"] == "number":
        terms = [(_features.number(feature["name"], value) - feature["mean"]) / feature["sd"]]
    else:
        level, levels = _features.level(value), feature["levels"]
        if level not in levels:
            raise _features.level_unknown(feature["name"], levels)
        # The first level is the reference: it has no term.
        terms = [
            (float(level == other) - mean) / sd
            for other, mean, sd in zip(levels[1:], feature["mean"], feature["sd"], strict=True)
        ]
    if missing is not None and missing["indicator"] is not None:
        terms.append((float(absent) - missing["indicator"]["mean"]) / missing["indicator"]["sd"])
    return terms
