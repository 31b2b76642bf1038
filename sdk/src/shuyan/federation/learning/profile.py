"""One department's description of its usable rows, by part: what preprocessing is fitted on. Node side, and the layout.

Vectors, each laid out part after part, and so that they add up:

- ``rows``: usable rows by class of the target (one class where the target is a number).
- ``levels``: for every category, rows by level (a last place for missing) and class.
- ``count``, ``sum``, ``square``: exact moments of every numeric column: numeric features, a numeric target, an offset.
- ``observed`` (not by part): of all rows, how many have a value: by feature, then the target, then the offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shuyan.federation import moments
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.columns import LearningParams
from shuyan.federation.learning.frame import MISSING, Frame
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

SPECS: dict[str, VectorSpec] = {
    "rows": moments.COUNT, "levels": moments.COUNT, "count": moments.COUNT, "sum": moments.SUM, "square": moments.SQUARE,
    "observed": moments.COUNT,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a profile.

    Attributes:
        classes: of the target that rows are counted by; 1 where they are not.
        numeric_target: whether the target is among the numeric columns.
        offset: whether there is an offset.
    """

    params: LearningParams
    classes: int
    numeric_target: bool
    offset: bool

    def lengths(self) -> dict[str, int]:
        """The vectors' lengths; vectors without elements are left out."""
        parts, numeric = splits.parts(self.params.split), self.columns()
        lengths = {
            "rows": parts * self.classes, "levels": parts * self.classes * sum(self.levels()),
            "observed": len(self.params.features) + 1 + self.offset,
        }
        lengths |= dict.fromkeys(("count", "sum", "square"), parts * numeric)
        return {name: length for name, length in lengths.items() if length}

    def columns(self) -> int:
        """How many numeric columns there are."""
        return len(self.params.numbers()) + self.numeric_target + self.offset

    def levels(self) -> list[int]:
        """By category, how many places it takes: its levels and one for missing."""
        return [len(self.params.domains[name]) + 1 for name in self.params.levelled()]


def tally(frame: Frame, layout: Layout, offset: Floats | None = None) -> dict[str, Floats]:
    """A department's profile.

    Args:
        offset: described as the offset instead of the column as it is.
    """
    params = layout.params
    classes = frame.target.astype(np.int64) if layout.classes > 1 else np.zeros(len(frame), dtype=np.int64)
    numeric = [frame.numbers[name] for name in params.numbers()]
    if layout.numeric_target:
        numeric.append(frame.target)
    offset = frame.offset if offset is None else offset
    if layout.offset and offset is not None:
        numeric.append(offset)
    rows, levels, described = [], [], []
    for part in range(splits.parts(params.split)):
        here = frame.part == part
        rows.append(np.bincount(classes[here], minlength=layout.classes))
        for name, places in zip(params.levelled(), layout.levels(), strict=True):
            codes = frame.codes[name][here]
            code = np.where(codes == MISSING, places - 1, codes)
            levels.append(np.bincount(code * layout.classes + classes[here], minlength=places * layout.classes))
        described += [_moments(values[here]) for values in numeric]
    count, shift, rest, centred = (np.array(column) for column in zip(*described, strict=True)) if described else [np.zeros(0)] * 4
    vectors = {
        "rows": np.concatenate(rows).astype(np.float64),
        "levels": np.concatenate(levels).astype(np.float64) if levels else np.zeros(0),
        "count": count, "sum": moments.sum_terms(count, shift, rest),
        "square": moments.square_terms(count, shift, rest, centred), "observed": frame.observed,
    }
    return {name: vectors[name] for name in layout.lengths()}


def _moments(values: Floats) -> tuple[float, float, float, float]:
    """Count, a shift near the mean, the sum of what exceeds it, and the sum of squared deviations from the mean."""
    seen = values[~np.isnan(values)]
    if not len(seen):
        return 0.0, 0.0, 0.0, 0.0
    shift = moments.shift_of(float(seen.mean()))
    deviation = seen - shift
    rest = float(deviation.sum())
    deviation -= rest / len(seen)
    return float(len(seen)), shift, rest, float(deviation @ deviation)
