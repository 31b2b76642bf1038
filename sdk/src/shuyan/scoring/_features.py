"""A case's features as posted: named, typed and checked against the model's."""

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


def refuse_unknown(known: set[str], features: Mapping[str, Any]) -> None:
    """Raises ``feature_unknown`` where a feature is posted that the model does not have."""
    for name in features:
        if name not in known:
            raise ProblemError(FEATURE_UNKNOWN, field=str(name), name=str(name)[:64])


def value_of(name: str, features: Mapping[str, Any]) -> Any:
    """The posted value; ``feature_missing`` where there is none. A posted null is a value."""
    if name not in features:
        raise ProblemError(FEATURE_MISSING, field=name, name=name)
    return features[name]


def number(name: str, value: Any) -> float:
    """The value as a finite number, or ``feature_not_a_number``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise not_a_number(name)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise not_a_number(name)
    return found


def not_a_number(name: str) -> ProblemError:
    """The error for a value that is no number, or none that is allowed."""
    return ProblemError(FEATURE_NOT_A_NUMBER, field=name, name=name)


def level(value: Any) -> str | None:
    """A level's canonical string: ``true``, ``3`` for 3 and 3.0, or the string itself; None for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, (int, str)) else None


def level_unknown(name: str, levels: list[str]) -> ProblemError:
    """The error for a value that is none of the model's levels."""
    return ProblemError(FEATURE_LEVEL_UNKNOWN, field=name, name=name, levels="、".join(levels[:20]))
