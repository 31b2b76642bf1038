"""What a department adds to an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shuyan.federation.ring import Floats


@dataclass(frozen=True)
class Tally:
    """Two vectors; see the package."""

    counts: Floats = field(repr=False)
    sums: Floats = field(repr=False)

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """Group after group."""
        return cls(np.concatenate([tally.counts for tally in tallies]), np.concatenate([tally.sums for tally in tallies]))
