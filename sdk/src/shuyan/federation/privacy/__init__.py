"""Differential privacy: accounting in zCDP, contribution bounding, and noise added as shares by the nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How far one unit's presence can move a vector of one department's answer.

    Attributes:
        l2: in the Euclidean norm, over all elements of the vector, in the vector's own units.
    """

    l2: float
