"""Counts that were never asked for, as likely as the other cells of the same tables make them.

A cell that one department alone fills is not asked for. The tables are protected as a reader sees them, and a reader
knows that all of them count the same rows: the estimate is a joint table that agrees with every known cell, by iterative
proportional fitting (Deming & Stephan, Ann. Math. Statist. 11, 1940), with next to nothing in rows without values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.release._tables import Axis, Mask, joint_size
from shuyan.federation.ring import Floats

_MAX_JOINT: Final = 200_000
_SWEEPS: Final = 300
_CLOSE: Final = 1e-9
_UNDECLARED: Final = 1e-9


def estimated(
    counts: Sequence[float] | npt.NDArray[Any], unknown: Mask, axes: Sequence[Sequence[Axis]], *, likely: float,
    total: float | None = None,
) -> Floats:
    """The cells of all tables of one result with an estimate of the unknown ones.

    Args:
        counts: the cells of all tables one after the other, each in row-major order of its axes.
        unknown: which of them are not known.
        likely: what an unknown cell is taken to hold where nothing tells.
        total: the rows all tables are about, if it is known.
    """
    found = np.array(counts, dtype=np.float64)
    if not unknown.any():
        return found
    size_of = {axis.name: axis.size for table in axes for axis in table}
    names = list(size_of)
    if joint_size([*size_of.values()]) > _MAX_JOINT:
        found[unknown] = likely
        return found
    joint = np.full([size + 1 for size in size_of.values()], _UNDECLARED)
    joint[tuple(slice(0, size) for size in size_of.values())] = likely
    tables, start = [], 0
    for table in axes:
        shape = tuple(axis.size for axis in table)
        part = slice(start, start := start + math.prod(shape))
        dims = [names.index(axis.name) for axis in table]
        order = [int(place) for place in np.argsort(dims)]
        cells, open_ = found[part].reshape(shape).transpose(order), unknown[part].reshape(shape).transpose(order)
        if total is not None and not dims:
            open_ = np.zeros_like(open_)
        tables.append((part, sorted(dims), cells, open_, [int(place) for place in np.argsort(order)]))
    constraints: list[tuple[Sequence[int], Floats, Mask]] = [(dims, cells, open_) for _, dims, cells, open_, _ in tables]
    if total is not None:
        constraints.append(([], np.array(float(total)), np.array(False)))
    _fit(joint, constraints)
    for part, dims, cells, open_, back in tables:
        found[part] = np.where(open_, _project(joint, dims), cells).transpose(back).ravel()
    return found


def _project(joint: Floats, dims: Sequence[int]) -> Floats:
    """A table's declared cells."""
    summed = joint.sum(axis=tuple(dim for dim in range(joint.ndim) if dim not in dims))
    return np.asarray(summed[tuple(slice(0, -1) for _ in dims)] if dims else summed)


def _fit(joint: Floats, constraints: Sequence[tuple[Sequence[int], Floats, Mask]]) -> None:
    for _ in range(_SWEEPS):
        furthest = 0.0
        for dims, cells, open_ in constraints:
            seen = _project(joint, dims)
            factor = np.where(open_, 1.0, np.divide(cells, seen, out=np.zeros_like(seen), where=seen > 0))
            furthest = max(furthest, float(np.where(open_, 0.0, np.abs(seen - cells) / (1 + cells)).max(initial=0.0)))
            inside = tuple(slice(0, -1) if dim in dims else slice(None) for dim in range(joint.ndim))
            joint[inside] *= np.expand_dims(factor, tuple(dim for dim in range(joint.ndim) if dim not in dims))
        if furthest < _CLOSE:
            return
