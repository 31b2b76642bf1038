"""Trees as the questions carry them, and their way through binned rows.

A tree of depth at most D is a heap: place 0 is the root, the children of p are 2p + 1 and 2p + 2, the splits have places
below 2^D - 1. A split is one number, 0 where there is none: ``1 + bin + 256·default + 512·feature``; rows in bins up to
``bin`` go left, and missing values go left where ``default`` is 1. A split of a category brings the set of the values
that go right, 48 to an element. What has no split passes its rows to the left, so a leaf's value stands at the leftmost
place of the last level below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shuyan.federation.apps.boosting._params import WORD_BITS, BoostingParams
from shuyan.federation.ring import Floats


@dataclass(frozen=True, slots=True)
class Split:
    """A split.

    Attributes:
        feature: its place among the features.
        bin: the last bin that goes left, of a numeric feature.
        left: whether missing values go left.
        right_set: of a category, the values that go right; None for a numeric feature.
    """

    feature: int
    bin: int
    left: bool
    right_set: tuple[int, ...] | None = None

    def code(self) -> float:
        """The split as one number."""
        return float(1 + self.bin + 256 * self.left + 512 * self.feature)

    def goes_left(self, slots: int) -> npt.NDArray[np.bool_]:
        """By slot of the feature, the last one being that of missing values, whether its rows go left."""
        table = np.ones(slots, dtype=bool)
        if self.right_set is None:
            table[self.bin + 1 :] = False
        else:
            table[list(self.right_set)] = False
        table[-1] = self.left
        return table


class TreeArray:
    """All trees of a model in one array, shape (rounds · groups · tree length,)."""

    def __init__(self, params: BoostingParams, array: Floats | None = None) -> None:
        self._inner, self._words, self._size = params.inner(), params.words(), params.tree_length()
        self._depth = params.max_depth
        self._categories = [name in params.domains for name in params.features]
        total = params.rounds * params.groups() * self._size
        self.array: Floats = np.zeros(total) if array is None else array
        self.groups = params.groups()

    def tree(self, round_: int, group: int) -> Floats:
        """One tree's part of the array, as a view."""
        start = (round_ * self.groups + group) * self._size
        return self.array[start : start + self._size]

    def before(self, round_: int) -> Floats:
        """The trees of the rounds before one, as a view."""
        return self.array[: round_ * self.groups * self._size]

    def set_split(self, tree: Floats, place: int, split: Split) -> None:
        """Write a split into a tree."""
        tree[place] = split.code()
        for value in split.right_set or ():
            at = self._inner + place * self._words + value // WORD_BITS
            tree[at] += 2.0 ** (value % WORD_BITS)

    def split(self, tree: Floats, place: int) -> Split | None:
        """The split at a place, or None.

        Raises:
            ValueError: there is something else.
        """
        code = tree[place]
        if code == 0:
            return None
        number = int(code) - 1
        feature, left, bin_ = number >> 9, bool(number >> 8 & 1), number & 255
        if code != number + 1 or not 0 <= feature < len(self._categories):
            raise ValueError("not a split")
        if not self._categories[feature]:
            return Split(feature, bin_, left)
        start = self._inner + place * self._words
        chosen = [
            WORD_BITS * word + bit
            for word, bits in enumerate(tree[start : start + self._words].tolist()) for bit in range(WORD_BITS)
            if int(bits) >> bit & 1
        ]
        return Split(feature, bin_, left, tuple(chosen))

    def set_value(self, tree: Floats, place: int, value: float) -> None:
        """Write the value of the leaf at a place."""
        tree[self._value_at(place)] = value

    def value(self, tree: Floats, place: int) -> float:
        """The value of the leaf at a place."""
        return float(tree[self._value_at(place)])

    def _value_at(self, place: int) -> int:
        while place < self._inner:
            place = 2 * place + 1
        return self._inner * self._words + place


def routed(binned: npt.NDArray[np.uint16], offsets: Sequence[int], rows: npt.NDArray[np.intp], split: Split
           ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows that go left and right.

    Args:
        binned: the place of each value among all features' slots, shape (features, n).
        offsets: the first slot of each feature, and the number of all.
    """
    start, end = offsets[split.feature], offsets[split.feature + 1]
    table = np.zeros(end, dtype=bool)
    if split.right_set is not None and max(split.right_set, default=0) >= end - start - 1:
        raise ValueError("not a split")
    table[start:end] = split.goes_left(end - start)
    goes = table[binned[split.feature].take(rows)]
    return rows.compress(goes), rows.compress(~goes)
