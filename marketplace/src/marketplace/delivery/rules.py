"""What a call delivers, without I/O: the statistics asked for, or the score of posted features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from marketplace.delivery.errors import BAD_BODY, OUT_OF_RANGE, UNKNOWN_GROUP
from shuyan import scoring
from shuyan.problems import ProblemError


def answer(content: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The delivery for ``body`` from a version's output.

    Raises:
        ProblemError: ``bad_call_body``, ``feature_…``, ``score_out_of_range``, ``unknown_group``, naming the field.
    """
    if content["kind"] == "model":
        features = _only(body, "features")
        if features is None:
            raise ProblemError(BAD_BODY, field="features", allowed="features")
        return score(content, features)
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


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """The model's score of ``features``.

    Raises:
        ProblemError: what :func:`shuyan.scoring.score` raises, with the field's whole path; ``score_out_of_range``.
    """
    try:
        result = scoring.score(content, features)
    except ProblemError as error:
        raise ProblemError(error.code, field=f"features.{error.field}", **error.args_) from None
    except OverflowError:
        raise ProblemError(OUT_OF_RANGE, field="features") from None
    if not all(math.isfinite(value) for value in _numbers(result)):
        raise ProblemError(OUT_OF_RANGE, field="features")
    return dict(result)


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a score: some models give a label or several probabilities besides."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


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
