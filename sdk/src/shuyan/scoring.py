"""Scoring one case with a delivered model; pure Python, so that a delivery service needs no numerical libraries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from shuyan.problems import ProblemError, define

FEATURE_MISSING: Final = define("feature_missing", 422, zh="缺少特征“{name}”。", en="The feature “{name}” is missing.")
FEATURE_UNKNOWN: Final = define("feature_unknown", 422, zh="模型没有特征“{name}”。", en="The model has no feature “{name}”.")
FEATURE_NOT_A_NUMBER: Final = define(
    "feature_not_a_number", 422, zh="特征“{name}”必须是有限的数值。", en="The feature “{name}” must be a finite number.")
FEATURE_LEVEL_UNKNOWN: Final = define(
    "feature_level_unknown", 422, zh="特征“{name}”的取值不在模型的取值范围内，可取：{levels}。",
    en="The feature “{name}” has a value the model does not know; it may be: {levels}.")


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, float | int]:
    """Score one case.

    Args:
        content: a model's content as the regression app released it (``kind`` is ``model``).
        features: a value for every feature of the model: a number, or a level of a category.

    Returns:
        ``{"score": probability of class 1, "label": 0 or 1}`` for a logistic model, ``{"score": value}`` for a linear one.

    Raises:
        ProblemError: ``feature_missing``, ``feature_unknown``, ``feature_not_a_number``, ``feature_level_unknown``;
            its ``field`` names the feature.
    """
    known = {feature["name"] for feature in content["features"]}
    for name in features:
        if name not in known:
            raise ProblemError(FEATURE_UNKNOWN, field=str(name), name=str(name)[:64])
    inputs: list[float] = []
    for feature in content["features"]:
        if feature["name"] not in features:
            raise ProblemError(FEATURE_MISSING, field=feature["name"], name=feature["name"])
        inputs += _standardised(feature, features[feature["name"]])
    linear = math.fsum([content["intercept"], *(w * x for w, x in zip(content["coefficients"], inputs, strict=True))])
    if content["family"] == "linear":
        return {"score": linear}
    probability = 1 / (1 + math.exp(-linear)) if linear >= 0 else math.exp(max(linear, -745.0)) / (1 + math.exp(linear))
    return {"score": probability, "label": int(probability >= 0.5)}


def _standardised(feature: Mapping[str, Any], value: Any) -> list[float]:
    if feature["type"] == "number":
        number = _number(feature["name"], value)
        return [(number - feature["mean"]) / feature["sd"]]
    level, levels = _level(value), feature["levels"]
    if level not in levels:
        raise ProblemError(FEATURE_LEVEL_UNKNOWN, field=feature["name"], name=feature["name"], levels="、".join(levels[:20]))
    # The first level is the reference: it has no term.
    return [
        (float(level == other) - mean) / sd
        for other, mean, sd in zip(levels[1:], feature["mean"], feature["sd"], strict=True)
    ]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProblemError(FEATURE_NOT_A_NUMBER, field=name, name=name)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ProblemError(FEATURE_NOT_A_NUMBER, field=name, name=name)
    return number


def _level(value: Any) -> str | None:
    """A level's canonical string: ``true``, ``3`` for 3 and 3.0, or the string itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, (int, str)) else None
