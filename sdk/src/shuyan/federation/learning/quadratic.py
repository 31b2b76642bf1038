"""Minimising a summed quadratic with penalties, and finding what it cannot tell apart. Coordinator side."""

from __future__ import annotations

import numpy as np

from shuyan.federation.ring import Floats

_DEPENDENT = 1e-10
_SWEEPS = 20_000


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

    Cyclic coordinate descent (Friedman, Hastie & Tibshirani, J. Stat. Softw. 33, 2010) finds which coefficients are not
    nought; their values are then solved for, and kept if they satisfy the optimality conditions.
    """
    value = start.copy()
    curvature = np.diag(hessian) + l2
    product = hessian @ value
    scale = np.sqrt(np.maximum(curvature, 1e-300))
    for sweep in range(1, _SWEEPS + 1):
        moved = 0.0
        for place in range(len(value)):
            if curvature[place] <= 0:
                continue
            old = value[place]
            pull = -(linear[place] + product[place] - hessian[place, place] * old)
            new = float(np.sign(pull)) * max(abs(pull) - l1[place], 0.0) / curvature[place]
            if new != old:
                product += hessian[place] * (new - old)
                value[place] = new
                moved = max(moved, abs(new - old) * scale[place])
        size = max(1e-300, float(np.abs(value * scale).max(initial=0.0)))
        if moved <= 1e-13 * size:
            break
        if sweep % 25 == 0 or moved <= 1e-5 * size:
            polished = _on_support(linear, hessian, value, l1, l2)
            if polished is not None:
                return polished
            product = hessian @ value
    polished = _on_support(linear, hessian, value, l1, l2)
    return value if polished is None else polished


def _on_support(linear: Floats, hessian: Floats, value: Floats, l1: Floats, l2: Floats) -> Floats | None:
    """The minimum for given signs, or None where it is not that of the whole."""
    support = np.flatnonzero((value != 0) | (l1 == 0))
    signs = np.sign(value[support])
    matrix = hessian[np.ix_(support, support)] + np.diag(l2[support])
    solved = newton_step(-(linear[support] + l1[support] * signs), matrix)
    if np.any((np.sign(solved) != signs) & (l1[support] > 0)):
        return None
    candidate = np.zeros_like(value)
    candidate[support] = solved
    slope = linear + hessian @ candidate + l2 * candidate
    slack = 1e-9 * (1 + np.abs(linear).max(initial=0.0))
    if np.any(np.abs(slope) > l1 + slack) or np.any(np.abs(slope[support] + l1[support] * signs) > slack):
        return None
    return candidate
