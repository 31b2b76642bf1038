"""The privacy budget stage. Grants of today carry no budget: every answer is exact, and the journal says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shuyan.trust.grants import Grant


@dataclass(frozen=True)
class Spending:
    """What answering costs.

    Attributes:
        mode: "exact": the sum leaves without noise, guarded by secure aggregation, the minimum cohort and the egress
            review only.
    """

    mode: Literal["exact"]


class Budget:
    """Decides how a task is answered under its grant's privacy budget."""

    def spend(self, grant: Grant) -> Spending:
        """Exact mode: no budget in this grant, so nothing is reserved and nothing can run out.

        A grant with claims that this software does not know does not get here: its model forbids extra claims, so a
        future grant with a budget is refused by a node that could not keep it.
        """
        return Spending("exact")
