"""Preprocessing fitted on summed profiles: fill values, means and standard deviations of every term. Coordinator side.

All of it is what the pooled rows would give: moments are exact, and those of filled-in columns and of dummies follow
from counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shuyan.federation import moments, problems
from shuyan.federation.grid import Sum
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.columns import LearningParams, slices
from shuyan.federation.learning.design import Scaling
from shuyan.federation.learning.profile import Layout
from shuyan.federation.moments import Moments
from shuyan.federation.ring import Floats
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Described:
    """The rows one fit is trained on.

    Attributes:
        rows: how many.
        classes: how many of each class.
        levels: by category, shape (levels + 1, classes), the last row for missing.
        numbers: the moments of each numeric feature where it has a value.
        target, offset: their moments, where they are numbers.
    """

    rows: int
    classes: list[int]
    levels: dict[str, np.ndarray] = field(repr=False)
    numbers: dict[str, Moments] = field(repr=False)
    target: Moments | None = None
    offset: Moments | None = None


@dataclass(frozen=True)
class Fitted:
    """Preprocessing of one fit.

    Attributes:
        fill: by imputed feature in order: a number, or a level's place.
        mean, sd: of every term, shape (p,); ``sd`` is 1 where a term does not vary.
        constant: whether it does not vary, shape (p,).
    """

    fill: Floats
    mean: Floats
    sd: Floats
    constant: np.ndarray


def describe(total: Sum, layout: Layout) -> list[Described]:
    """By fit, the rows it is trained on, from the sum of all profiles.

    Raises:
        ProblemError: ``column_all_null``, naming a column that no department has a value of.
    """
    params = layout.params
    names = [*params.features, params.target, *(["offset"] if layout.offset else [])]
    for name, seen in zip(names, total.integers("observed"), strict=True):
        if seen == 0:
            raise ProblemError(problems.COLUMN_ALL_NULL, column=name)
    parts = splits.parts(params.split)
    integers = {name: total.integers(name) for name in layout.lengths() if name != "observed"}
    return [_described(layout, {name: _over(values, parts, chosen) for name, values in integers.items()})
            for chosen in splits.training(params.split)]


def _over(values: Sequence[int], parts: int, chosen: Sequence[int]) -> list[int]:
    """The sum over parts of a vector laid out part after part."""
    size = len(values) // parts
    return [sum(values[part * size + at] for part in chosen) for at in range(size)]


def _described(layout: Layout, sums: dict[str, list[int]]) -> Described:
    params = layout.params
    found = moments.combine(sums["count"], sums["sum"], sums["square"]) if layout.columns() else []
    numbers = dict(zip(params.numbers(), found, strict=False))
    rest = found[len(numbers):]
    levels: dict[str, np.ndarray] = {}
    at = 0
    for name, places in zip(params.levelled(), layout.levels(), strict=True):
        levels[name] = np.array(sums["levels"][at : at + places * layout.classes]).reshape(places, layout.classes)
        at += places * layout.classes
    return Described(
        rows=sum(sums["rows"]), classes=sums["rows"], levels=levels, numbers=numbers,
        target=rest[0] if layout.numeric_target else None, offset=rest[-1] if layout.offset else None,
    )


def fit(params: LearningParams, described: Described, medians: dict[str, float]) -> Fitted:
    """Preprocessing from the rows one fit is trained on.

    Args:
        medians: of the features filled in with theirs.

    Raises:
        ProblemError: ``column_all_null`` where nothing is known to fill in.
    """
    terms = len(params.terms())
    mean, variance = np.zeros(terms), np.zeros(terms)
    fill: list[float] = []
    rows = described.rows
    for name, place in slices(params).items():
        method = params.method(name)
        if params.is_category(name):
            counts = [int(count) for count in described.levels[name].sum(axis=1)]
            missing = counts.pop()
            if method != "drop":
                filled = _level(params, name, counts)
                fill.append(float(filled))
                counts[filled] += missing
            for level, count in enumerate(counts[1:]):
                mean[place.start + level], variance[place.start + level] = _of_dummy(count, rows)
        else:
            found = described.numbers[name]
            if found.mean is None:
                raise ProblemError(problems.COLUMN_ALL_NULL, column=name)
            missing = rows - found.count if method != "drop" else 0
            average, centred = found.mean, found.centred
            if method != "drop":
                value = {"mean": average, "median": medians.get(name, average)}.get(method)
                value = float(params.impute.constants[name]) if value is None else value
                fill.append(value)
                # Two groups of rows: n values about their mean, and so many copies of the one filled in.
                centred += found.count * missing / (found.count + missing) * (value - average) ** 2
                average += missing * (value - average) / (found.count + missing)
            mean[place.start], variance[place.start] = average, centred / max(found.count + missing, 1)
        if params.has_indicator(name):
            mean[place.stop - 1], variance[place.stop - 1] = _of_dummy(missing, rows)
    sd = np.sqrt(variance)
    # What differs from its mean by rounding only does not vary.
    constant = sd <= 1e-12 * np.abs(mean)
    return Fitted(np.array(fill), mean, np.where(constant, 1.0, sd), constant)


def _level(params: LearningParams, name: str, counts: list[int]) -> int:
    """The place of the level filled in: the most frequent (the first of several), a constant, or the reference."""
    method = params.method(name)
    if method == "most_frequent":
        return max(range(len(counts)), key=lambda place: (counts[place], -place))
    return params.domains[name].index(str(params.impute.constants[name])) if method == "constant" else 0


def _of_dummy(count: int, rows: int) -> tuple[float, float]:
    if not rows:
        return 0.0, 0.0
    return count / rows, count * (rows - count) / rows**2


def scaling(params: LearningParams, fitted: Sequence[Fitted], *, pooled: bool) -> Scaling:
    """What the departments need to know of it."""
    fill = np.stack([each.fill for each in fitted])
    return Scaling(fill, fitted[0].mean if pooled else None, fitted[0].sd if pooled else None)


def features(params: LearningParams, fitted: Fitted) -> list[dict[str, Any]]:
    """What scoring needs to reproduce the preprocessing, by feature.

    A number has ``mean`` and ``sd``; a category ``levels`` and, for each level but the first, ``mean`` and ``sd``. Where
    missing values are filled in, ``missing`` has ``method``, ``fill`` and, if it has a term, ``indicator``.
    """
    described: list[dict[str, Any]] = []
    imputed = params.imputed()
    for name, place in slices(params).items():
        mean, sd = fitted.mean[place].tolist(), fitted.sd[place].tolist()
        indicator = {"mean": mean.pop(), "sd": sd.pop()} if params.has_indicator(name) else None
        category = params.is_category(name)
        entry: dict[str, Any] = {"name": name, "type": "category" if category else "number"}
        if category:
            entry |= {"levels": list(params.domains[name]), "mean": mean, "sd": sd}
            if params.unknown_levels != "drop":
                entry["unknown"] = params.unknown_levels
        else:
            entry |= {"mean": mean[0], "sd": sd[0]}
        if name in imputed:
            value = float(fitted.fill[imputed.index(name)])
            entry["missing"] = {"method": params.method(name), "fill": params.domains[name][int(value)] if category else value,
                                "indicator": indicator}
        described.append(entry)
    return described
