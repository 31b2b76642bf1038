"""What a call delivers, without I/O: the statistics asked for, or the score of posted features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marketplace.delivery.errors import BAD_BODY, BAD_FEATURE, UNKNOWN_GROUP
from shuyan import scoring
from shuyan.problems import ProblemError


def answer(content: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The delivery for ``body`` from a version's output.

    Raises:
        ProblemError: ``bad_call_body``, ``bad_feature``, ``unknown_group``, naming the field.
    """
    if content["kind"] == "model":
        features = _only(body, "features")
        if features is None:
            raise ProblemError(BAD_BODY, field="features", allowed="features")
        return dict(scoring.score(content, check_features(content, features)))
    group = _only(body, "group")
    return select_group(content, group) if group else dict(content)


def _only(body: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    for key in body:
        if key != name:
            raise ProblemError(BAD_BODY, field=str(key), allowed=name)
    value = body.get(name)
    if name in body and not isinstance(value, dict):
        raise ProblemError(BAD_BODY, field=name, allowed=name)
    return value


def check_features(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """The features, each present, of its type, finite, of a known level, and none beyond the model's.

    Raises:
        ProblemError: ``bad_feature``.
    """
    known = {item["name"]: item for item in content["features"]}
    for name in features:
        if name not in known:
            raise _bad(name, "不属于该模型", "is not one of this model's")
    out: dict[str, Any] = {}
    for name, item in known.items():
        if name not in features or features[name] is None:
            raise _bad(name, "缺失", "is missing")
        value = features[name]
        if item["type"] == "category":
            if not isinstance(value, str):
                raise _bad(name, "必须是文本", "must be text")
            if value not in item["levels"]:
                raise _bad(name, "取值不在该模型的类别之中", "is not one of the model's categories")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad(name, "必须是数字", "must be a number")
        elif not _finite(value):
            raise _bad(name, "必须是有限数值", "must be a finite number")
        out[name] = value
    return out


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _bad(name: str, zh: str, en: str) -> ProblemError:
    return ProblemError(BAD_FEATURE, field=f"features.{name}", name=name, reason_zh=zh, reason_en=en)


def select_group(content: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics' cells whose group agrees with every dimension asked for; histograms are left out."""
    tables = []
    dimensions: set[str] = set()
    for table in content.get("tables", ()):
        dimensions.update(table["group_by"])
        if not set(group) <= set(table["group_by"]):
            continue
        cells = [cell for cell in table["cells"] if all(cell["group"].get(name) == value
                                                        for name, value in group.items())]
        tables.append({"group_by": table["group_by"], "cells": cells})
    for name in group:
        if name not in dimensions:
            raise ProblemError(UNKNOWN_GROUP, field=f"group.{name}", name=name)
    if not tables:
        raise ProblemError(UNKNOWN_GROUP, field="group", name=" × ".join(group))
    return {"kind": "statistics", "resource": content.get("resource"), "tables": tables,
            "minimum_cohort": content.get("minimum_cohort")}
