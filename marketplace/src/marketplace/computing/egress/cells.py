"""Groups of rows behind a candidate output: how small they are, and what their figures tell of single rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard

from marketplace.computing.egress.checks import counted_places, row_counts
from marketplace.computing.egress.texts import Finding

_STEPS: Final = (1, 2, 5, 10, 100, 1000)
_DOMINANT: Final = 0.5


def cohorts(content: dict[str, Any], minimum: int) -> dict[str, Any]:
    """The sizes of the groups shown: the smallest, and how many there are of which size.

    Returns:
        ``{"minimum", "count", "smallest", "edges", "counts"}``: ``counts[i]`` groups have at least ``edges[i]`` rows and, but
        for the last, fewer than ``edges[i + 1]``; the first are those below the minimum. ``smallest`` is null without any.
    """
    sizes = sorted(_sizes(content))
    edges = [0, *(minimum * step for step in _STEPS)]
    counts = [sum(1 for size in sizes if low <= size and (high is None or size < high))
              for low, high in zip(edges, [*edges[1:], None], strict=True)]
    return {"minimum": minimum, "count": len(sizes), "smallest": sizes[0] if sizes else None, "edges": edges, "counts": counts}


def _sizes(content: dict[str, Any]) -> list[float]:
    if content.get("kind") == "table":
        places = counted_places(content) or []
        listed = content.get("rows")
        rows = [row for row in listed if isinstance(row, list)] if isinstance(listed, list) else []
        return [row[place] for row in rows for place in places if place < len(row) and is_number(row[place])]
    if content.get("kind") == "statistics":
        return list(row_counts({"tables": content.get("tables", []), "histograms": content.get("histograms", [])}))
    return list(row_counts({key: content[key] for key in ("evaluation", "metrics", "clusters", "table") if key in content}))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def findings(content: dict[str, Any], found: dict[str, Any], *, rows: int, noisy: bool) -> list[Finding]:
    """What the groups tell.

    Args:
        found: of :func:`cohorts`.
        rows: the fewest rows that any sum of the run was about.
        noisy: counts carry noise.
    """
    minimum, count = found["minimum"], found["count"]
    if noisy:
        told = [Finding("cohorts_noisy", "pass", {"count": count})]
    elif not count:
        told = [Finding("cohorts_unseen", "pass", {"rows": rows, "minimum": minimum})]
    elif content.get("kind") != "model" and found["counts"][0]:
        told = [Finding("cohorts_small", "fail", {"small": found["counts"][0], "minimum": minimum})]
    else:
        # A model's counts are of measurements, of which a group may be empty.
        severity: Any = "notice" if found["counts"][0] else "pass"
        code = "cohorts_small" if found["counts"][0] else "cohorts"
        told = [Finding(code, severity, {"count": count, "smallest": found["smallest"], "minimum": minimum,
                                         "small": found["counts"][0]})]
    if not noisy:
        told += _moments(content)
    suppressed = _suppressed(content)
    if suppressed:
        told.append(Finding("suppressed", "pass", {"suppressed": suppressed}))
    return told


def _suppressed(content: dict[str, Any]) -> int:
    parts = [content, *(part for name in ("tables", "histograms") for part in content.get(name) or [])]
    return sum(part["suppressed"] for part in parts if isinstance(part, dict) and isinstance(part.get("suppressed"), int))


def _moments(content: dict[str, Any]) -> Iterator[Finding]:
    alike: list[str] = []
    dominated = 0
    for name, figures in _described(content.get("tables") if content.get("kind") == "statistics" else None):
        count, mean, variance = figures["count"], figures["mean"], figures["variance"]
        if not (is_number(count) and is_number(mean) and is_number(variance)) or count < 2:
            continue
        if variance == 0:
            alike.append(name)
        elif mean and _DOMINANT <= (variance * (count - 1) + count * mean**2) / (count * mean) ** 2 <= 1:
            # The sum of the squares of the rows' shares, which the largest share is not below.
            dominated += 1
    if alike:
        yield Finding("cells_alike", "notice", {"cells": len(alike), "column": alike[0]})
    if dominated:
        yield Finding("cells_dominated", "notice", {"cells": dominated})


def _described(value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every column described by its moments, wherever an app puts it."""
    if isinstance(value, dict):
        if {"count", "mean", "variance"} <= value.keys():
            yield name, value
        for key, item in value.items():
            yield from _described(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _described(item, name)
