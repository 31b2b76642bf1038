"""Minimising a summed quadratic with penalties, and finding what it cannot tell apart. Coordinator side."""

from __future__ import annotations

import numpy as np

from shuyan.federation.ring import Floats

_DEPENDENT = 1e-10
_SWEEPS = 100
_LIFT = 1e-9


def symmetric(triangle: Floats, size: int) -> Floats:
    """A symmetric matrix from its upper triangle by rows."""
    matrix = np.zeros((size, size))
    upper = np.triu_indices(size)
    matrix[upper] = triangle
    matrix.T[upper] = triangle
    return matrix


def dependent(gram: Floats, order: list[int]) -> dict[int, list[int]]:
    """Columns that are linear combinations of those before them in ``order``, with the columns they are made of.

    Cholesky's factorisation with the dependent columns left out; a column is dependent if the others before it explain
    all but 1e-10 of its (weighted) sum of squares.

    Args:
        gram: inner products of the columns, positive semidefinite.
        order: the columns to look at.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
    kept: list[int] = []
    factor = np.zeros((len(order), len(order)))  # rows: kept columns
    found: dict[int, list[int]] = {}
    for column in order:
        if scale[column] == 0:
            found[column] = []
            continue
        target = gram[kept, column] / (scale[kept] * scale[column])
        size = len(kept)
        projected = np.zeros(size)
        for row in range(size):
            projected[row] = (target[row] - factor[row, :row] @ projected[:row]) / factor[row, row]
        left = 1.0 - float(projected @ projected)
        if left > _DEPENDENT:
            factor[size, :size] = projected
            factor[size, size] = left**0.5
            kept.append(column)
            continue
        share = np.linalg.solve(factor[:size, :size].T, projected)
        found[column] = [name for name, part in zip(kept, share.tolist(), strict=True) if abs(part) > 1e-6]
    return found


def newton_step(gradient: Floats, hessian: Floats) -> Floats:
    """The step to subtract: the shortest where the Hessian is singular."""
    scale = np.sqrt(np.maximum(np.diag(hessian), 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = hessian / np.outer(scale, scale)
    try:
        step = np.linalg.solve(scaled, gradient / scale)
        # A singular matrix is not always noticed; its solution is then of no use.
        if np.isfinite(step).all() and np.abs(scaled @ step - gradient / scale).max() <= 1e-6 * (1 + np.abs(gradient / scale).max()):
            return np.asarray(step / scale)
    except np.linalg.LinAlgError:
        pass
    return np.asarray(np.linalg.lstsq(scaled, gradient / scale, rcond=1e-12)[0] / scale)


def elastic_net(linear: Floats, hessian: Floats, start: Floats, l1: Floats, l2: Floats) -> Floats:
    """Minimise ``linear·v + v'Hv/2 + Σ l1|v| + Σ l2 v²/2`` over v.

    A few sweeps of coordinate descent (Friedman, Hastie & Tibshirani, J. Stat. Softw. 33, 2010) find most of what is not
    nought; feature-sign search (Lee, Battle, Raina & Ng, NIPS 2006) ends at the exact minimum. Where columns depend on each other, signs
    can be such that no weights have the slopes these ask for; then a ridge of 1e-9 of the diagonal makes the minimum a single point.
    """
    lifted = False
    matrix = hessian + np.diag(l2)
    value = _descended(linear, matrix, start.copy(), l1)
    slack = 1e-10 * (1 + float(np.abs(linear).max(initial=0.0)))
    signs = np.sign(value)
    for _ in range(50 * (len(value) + 1)):
        used = np.flatnonzero((signs != 0) | (l1 == 0))
        target = value.copy()
        inner, wanted = matrix[np.ix_(used, used)], -(linear[used] + l1[used] * signs[used])
        target[used] = _solved(inner, wanted, value[used])
        if not lifted and np.abs(inner @ target[used] - wanted).max(initial=0.0) > 1e-7 * (1 + np.abs(wanted).max(initial=0.0)):
            matrix, lifted = matrix + np.diag(_LIFT * np.diag(matrix)), True
            continue
        value, crossed = _towards(linear, matrix, value, target, signs, l1)
        signs = np.where(l1 > 0, np.sign(value) if crossed else signs, 0.0)
        if crossed:
            continue
        slope = linear + matrix @ value
        excess = np.where((signs == 0) & (l1 > 0), np.abs(slope) - l1, 0.0)
        worst = int(excess.argmax())
        if excess[worst] <= slack:
            break
        signs[worst] = -np.sign(slope[worst])
    return value


def _descended(linear: Floats, matrix: Floats, value: Floats, l1: Floats) -> Floats:
    """Coordinate descent, at most ``_SWEEPS`` sweeps."""
    product = matrix @ value
    for _ in range(_SWEEPS):
        moved = 0.0
        for place in range(len(value)):
            curvature = matrix[place, place]
            if curvature <= 0:
                continue
            pull = curvature * value[place] - linear[place] - product[place]
            change = float(np.sign(pull)) * max(abs(pull) - l1[place], 0.0) / curvature - value[place]
            if change:
                product += matrix[place] * change
                value[place] += change
                moved = max(moved, abs(change) * curvature)
        if moved <= 1e-9 * (1 + float(np.abs(linear).max(initial=0.0))):
            break
    return value


def _solved(matrix: Floats, wanted: Floats, near: Floats) -> Floats:
    """The solution of ``matrix·x = wanted`` closest to ``near``: where it is singular, nothing else moves it."""
    return near + newton_step(wanted - matrix @ near, matrix)


def _towards(
    linear: Floats, matrix: Floats, value: Floats, target: Floats, signs: Floats, l1: Floats
) -> tuple[Floats, bool]:
    """The best point on the way to ``target`` among its end and the places where a penalised weight changes its sign."""
    step = target - value
    ends = {1.0}
    for place in np.flatnonzero((l1 > 0) & (target * signs < 0)):
        if value[place] != 0:
            ends.add(min(max(float(-value[place] / step[place]), 0.0), 1.0))
        else:
            ends.add(0.0)  # it was to leave nought one way and goes the other: it stays
    if ends == {1.0}:
        return target, False
    best, found = np.inf, value
    for end in sorted(ends):
        point = value + end * step
        point[(np.abs(point) <= 1e-14 * np.abs(value)) & (l1 > 0)] = 0.0
        objective = float(linear @ point + 0.5 * point @ matrix @ point + l1 @ np.abs(point))
        if objective < best:
            best, found = objective, point
    return found, True
