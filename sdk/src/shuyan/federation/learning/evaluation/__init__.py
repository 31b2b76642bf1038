"""Evaluating a model on rows nobody sees: sums on the nodes, metrics on the coordinator.

An *evaluator* knows the layout of two vectors, ``counts`` (whole numbers, :data:`COUNTS`) and ``sums`` (:data:`SUMS`);
``tally`` makes them of a department's predictions, ``metrics`` reads their sum over departments. Both are additive, so
several groups of rows (in sample, held out, folds) travel one after the other, and groups may be added up.

Departments' own figures need a grant that allows them: :func:`own_slot` puts a department's tallies where the others
have noughts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from shuyan.federation import moments
from shuyan.federation.learning.evaluation._binary import Binary
from shuyan.federation.learning.evaluation._classes import Classes
from shuyan.federation.learning.evaluation._numbers import Numbers
from shuyan.federation.learning.evaluation._tally import Tally
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

__all__ = ["COUNTS", "SUMS", "Binary", "Classes", "Evaluator", "Numbers", "Tally", "bins_for", "own_slot", "split_groups"]

COUNTS: Final = moments.COUNT
SUMS: Final = VectorSpec(limbs=2, fraction_bits=44, bound=2.0**70)

_VALUES: Final = 40_000
_MOST_BINS: Final = 2048


class Evaluator(Protocol):
    """One kind of target's metrics."""

    @property
    def counts(self) -> int:
        """Elements of ``counts`` for one group of rows."""

    @property
    def sums(self) -> int:
        """Elements of ``sums`` for one group of rows."""

    def metrics(self, counts: Sequence[int], sums: Sequence[float], *, minimum: int) -> dict[str, Any] | None:
        """Metrics of one group of rows, or None where it has fewer than ``minimum``."""


def bins_for(groups: int, classes: int = 1) -> int:
    """How many score bins there is room for: a power of two, from 64 to 2048.

    Args:
        groups: groups of rows evaluated in one round.
        classes: score histograms per group.
    """
    bins = _MOST_BINS
    while bins > 64 and 2 * bins * classes * groups > _VALUES:
        bins //= 2
    return bins


def split_groups(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """A vector laid out group after group, by group."""
    return [values[start : start + size] for start in range(0, len(values), size)] if size else []


def own_slot(vector: Floats, slot: int, slots: int) -> Floats:
    """A department's vector in its own place, noughts in the others': shape (slots · len(vector),)."""
    placed = np.zeros((slots, len(vector)))
    placed[slot] = vector
    return placed.ravel()
