"""The best split of each node from its histogram, as XGBoost's ``hist`` finds it.

Gains are computed in float64 and compared in float32 in XGBoost's order (features ascending; bins ascending with missing
values right, then descending with missing values left), so that ties fall the same way. What XGBoost does not know is the
rule about rows: no side of a split is about fewer than ``least`` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._trees import Split
from shuyan.federation.ring import Floats

_EPSILON: Final = 1e-6  # kRtEps
_MAX_CAT_THRESHOLD: Final = 64
_NOTHING: Final = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the rows of a node, and the bounds its value must keep for the sake of monotone features."""

    gradient: float
    hessian: float
    rows: int
    lower: float = -np.inf
    upper: float = np.inf


@dataclass(frozen=True, slots=True)
class Found:
    """A split worth making."""

    split: Split
    gain: float
    left: Totals
    right: Totals


class Splitter:
    """Finds splits under one job's parameters.

    Args:
        offsets: the first slot of each feature, and the number of all.
        least: rows on each side, at least.
    """

    def __init__(self, params: BoostingParams, offsets: Sequence[int], least: int) -> None:
        self._params, self._least = params, least
        self._offsets = np.array(offsets)
        self._lambda, self._alpha = float(np.float32(params.reg_lambda)), float(np.float32(params.reg_alpha))
        self._child = float(np.float32(params.min_child_weight))
        self._step = float(np.float32(params.delta_step()))
        self._closed = self._step == 0 and not params.monotone
        widths = np.diff(self._offsets) - 1
        numeric = [place for place, name in enumerate(params.features) if name not in params.domains and widths[place] > 0]
        self._numeric = np.array(numeric, dtype=np.intp)
        self._category = [place for place, name in enumerate(params.features) if name in params.domains]
        self._sign = np.array([params.monotone.get(params.features[place], 0) for place in numeric])
        self._bins = int(widths[self._numeric].max()) if numeric else 0
        reach = np.arange(self._bins)
        # Beyond a feature's bins stands the slot after the last, which is made empty.
        self._index = np.where(reach < widths[self._numeric, None], self._offsets[self._numeric, None] + reach,
                               self._offsets[-1])
        self._missing = self._offsets[self._numeric + 1] - 1
        self._valid = reach < widths[self._numeric, None]

    def weight(self, node: Totals) -> float:
        """A leaf's value before shrinkage, as float32."""
        weight = self._weights(np.array(node.gradient), np.array(node.hessian))
        return float(np.clip(weight, np.float32(node.lower), np.float32(node.upper)))

    def root_gain(self, node: Totals) -> np.float32:
        """What the node is worth unsplit."""
        return np.float32(self._gain(np.array(node.gradient), np.array(node.hessian), node))

    def find(self, nodes: Sequence[Totals], histograms: Floats, usable: npt.NDArray[np.bool_]) -> list[Found | None]:
        """The best split of each node, None where none is worth making.

        Args:
            histograms: gradients, Hessians and rows by slot, shape (nodes, 3, slots).
            usable: by feature, whether this tree may split by it.
        """
        count = len(nodes)
        best = np.full((count, len(self._params.features)), _NOTHING, dtype=np.float32)
        picks = np.zeros((count, len(self._params.features)), dtype=np.intp)
        if len(self._numeric):
            gains = self._numeric_gains(nodes, histograms)
            flat = gains.reshape(count, len(self._numeric), -1)
            picks[:, self._numeric] = flat.argmax(axis=2)
            best[:, self._numeric] = np.take_along_axis(flat, picks[:, self._numeric, None], axis=2)[..., 0]
        sets: dict[tuple[int, int], tuple[Split, Any]] = {}
        for place in self._category:
            if usable[place]:
                for row, node in enumerate(nodes):
                    gain, split, left = self._category_split(node, histograms[row], place)
                    best[row, place] = gain
                    sets[row, place] = (split, left)
        best[:, ~usable] = _NOTHING
        return [self._found(row, node, histograms[row], best[row], picks[row], sets) for row, node in enumerate(nodes)]

    def _found(self, row: int, node: Totals, histogram: Floats, best: npt.NDArray[np.float32], picks: npt.NDArray[np.intp],
               sets: dict[tuple[int, int], tuple[Split, Any]]) -> Found | None:
        place = int(best.argmax())
        gain = float(best[place])
        if not gain > _EPSILON or gain < float(np.float32(self._params.gamma)):
            return None
        if (row, place) in sets:
            split, left = sets[row, place]
        else:
            pick = int(picks[place])
            bin_ = pick if pick < self._bins else 2 * self._bins - 1 - pick
            split = Split(place, bin_, pick >= self._bins)
            start = self._offsets[place]
            left = histogram[:, start : start + bin_ + 1].sum(axis=1)
            if split.left:
                left = left + histogram[:, self._offsets[place + 1] - 1]
        lower, upper = Totals(left[0], left[1], int(left[2]), node.lower, node.upper), None
        upper = Totals(node.gradient - left[0], node.hessian - left[1], node.rows - int(left[2]), node.lower, node.upper)
        return Found(split, gain, *self._bounded(lower, upper, self._params.monotone.get(self._params.features[place], 0)))

    def _bounded(self, left: Totals, right: Totals, sign: int) -> tuple[Totals, Totals]:
        """Both sides with the bounds that a split by a monotone feature puts between them."""
        if sign == 0:
            return left, right
        middle = float(np.float32((np.float32(self.weight(left)) + np.float32(self.weight(right))) / np.float32(2)))
        low, high = (left, right) if sign > 0 else (right, left)
        low = Totals(low.gradient, low.hessian, low.rows, low.lower, middle)
        high = Totals(high.gradient, high.hessian, high.rows, middle, high.upper)
        return (low, high) if sign > 0 else (high, low)

    # --- numeric features ----------------------------------------------------------------------------------------

    def _numeric_gains(self, nodes: Sequence[Totals], histograms: Floats) -> npt.NDArray[np.float32]:
        """Gains of all candidates, shape (nodes, features, 2 · bins): missing right by bin, then left, last bin first."""
        padded = np.concatenate([histograms, np.zeros((*histograms.shape[:2], 1))], axis=2)
        sums = padded[:, :, self._index].cumsum(axis=3)
        missing = padded[:, :, self._missing][..., None]
        total = np.array([[node.gradient, node.hessian, node.rows] for node in nodes])[:, :, None, None]
        forward = self._split_gains(nodes, sums, total - sums)
        with_missing = sums + missing
        backward = self._split_gains(nodes, with_missing, total - with_missing)
        # Without missing values there is nothing to learn about them; past the last bin everything is left.
        last = np.zeros_like(self._valid)
        last[np.arange(len(last)), self._valid.sum(axis=1) - 1] = True
        forward[:, ~self._valid] = _NOTHING
        backward[:, ~self._valid | last] = _NOTHING
        backward[missing[:, 2, :, 0] == 0] = _NOTHING
        return np.concatenate([forward, backward[:, :, ::-1]], axis=2)

    def _split_gains(self, nodes: Sequence[Totals], left: Floats, right: Floats) -> npt.NDArray[np.float32]:
        gains = self._worth(nodes, left, right, self._sign[:, None])
        allowed = (left[:, 1] >= self._child) & (right[:, 1] >= self._child)
        allowed &= (left[:, 2] >= self._least) & (right[:, 2] >= self._least)
        gains[~allowed] = _NOTHING
        return gains

    def _worth(self, nodes: Sequence[Totals], left: Floats, right: Floats, sign: Any) -> npt.NDArray[np.float32]:
        """Float32 gains of splitting into sums of shape (nodes, 3, …)."""
        shape = (-1,) + (1,) * (left.ndim - 2)
        root = np.array([self.root_gain(node) for node in nodes], dtype=np.float32).reshape(shape)
        if self._closed:
            return self._gain(left[:, 0], left[:, 1]) + self._gain(right[:, 0], right[:, 1]) - root
        lower = np.array([node.lower for node in nodes], dtype=np.float32).reshape(shape)
        upper = np.array([node.upper for node in nodes], dtype=np.float32).reshape(shape)
        at = [np.clip(self._weights(side[:, 0], side[:, 1]), lower, upper) for side in (left, right)]
        gains = self._given(left[:, 0], left[:, 1], at[0]) + self._given(right[:, 0], right[:, 1], at[1]) - root
        against = ((sign > 0) & (at[0] > at[1])) | ((sign < 0) & (at[0] < at[1]))
        return np.where(against, _NOTHING, gains)

    # --- categories ----------------------------------------------------------------------------------------------

    def _category_split(self, node: Totals, histogram: Floats, place: int) -> tuple[np.float32, Split, Floats]:
        """The best split of one node by one category: its gain, itself, and the sums of its left side."""
        start, end = int(self._offsets[place]), int(self._offsets[place + 1]) - 1
        values = histogram[:, start:end]
        present = np.flatnonzero(values[2])
        missing = histogram[:, end]
        total = np.array([node.gradient, node.hessian, node.rows])
        width = end - start
        ordered = self._params.categories == "partition" and width >= self._params.max_cat_to_onehot
        if ordered:
            # The best of all partitions into two lies in this order (Fisher 1958), up to the penalties.
            weights = self._weights(values[0, present], values[1, present])
            present = present[np.argsort(weights, kind="stable")]
            sides = values[:, present].cumsum(axis=1)
            reach = np.arange(sides.shape[1])
            near = (reach < _MAX_CAT_THRESHOLD) | (reach >= sides.shape[1] - _MAX_CAT_THRESHOLD)
        else:
            sides, near = values[:, present], np.ones(len(present), dtype=bool)
        both = np.concatenate([sides, sides + missing[:, None]], axis=1) if missing[2] else sides
        if not both.size:
            return _NOTHING, Split(place, 0, False, ()), np.zeros(3)
        right, left = both[None], (total[:, None] - both)[None]
        gains = self._worth([node], left, right, 0)[0]
        allowed = (left[0, 1] >= self._child) & (right[0, 1] >= self._child) & np.tile(near, both.shape[1] // len(near))
        allowed &= (left[0, 2] >= self._least) & (right[0, 2] >= self._least)
        gains[~allowed] = _NOTHING
        pick = int(gains.argmax())
        at, missing_right = pick % len(near), pick >= len(near)
        chosen = present[: at + 1] if ordered else present[at : at + 1]
        split = Split(place, 0, not missing_right, tuple(sorted(chosen.tolist())))
        return np.float32(gains[pick]), split, left[0, :, pick]

    # --- formulas ------------------------------------------------------------------------------------------------

    def _shrunk(self, gradient: Floats) -> Floats:
        if self._alpha == 0:
            return gradient
        return np.sign(gradient) * np.maximum(np.abs(gradient) - self._alpha, 0)

    def _weights(self, gradient: Floats, hessian: Floats) -> npt.NDArray[np.float32]:
        """Leaf values before shrinkage."""
        divisor = hessian + self._lambda
        weights = -self._shrunk(gradient) / np.where(divisor > 0, divisor, 1)
        if self._step:
            weights = np.clip(weights, -self._step, self._step)
        return np.where((hessian < self._child) | (hessian <= 0), 0, weights).astype(np.float32)

    def _gain(self, gradient: Floats, hessian: Floats, node: Totals | None = None) -> npt.NDArray[np.float32]:
        if self._closed:
            divisor = hessian + self._lambda
            worth = self._shrunk(gradient) ** 2 / np.where(divisor > 0, divisor, 1)
            return np.where(hessian > 0, worth, 0).astype(np.float32)
        weights = self._weights(gradient, hessian)
        if node is not None:
            weights = np.clip(weights, np.float32(node.lower), np.float32(node.upper))
        return self._given(gradient, hessian, weights)

    def _given(self, gradient: Floats, hessian: Floats, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What a node with these values is worth."""
        if self._step == 0 and not self._params.monotone:
            return self._gain(gradient, hessian)
        weight = weights.astype(np.float64)
        worth = -(2 * gradient * weight + (hessian + self._lambda) * weight**2)
        return np.where(hessian > 0, worth, 0).astype(np.float32)
