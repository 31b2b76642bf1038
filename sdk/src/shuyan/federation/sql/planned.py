"""A query, ready to be asked: how many figures of which kind each round takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from shuyan.federation.sql.cores import Core
from shuyan.problems import ProblemError

THRESHOLDS: Final = 255
"""Thresholds for each order statistic and round, at most."""
MAX_REFINED: Final = 20_000


@dataclass
class Plan:
    """A query, ready to be asked.

    Attributes:
        sql: the query in its one spelling.
        cores: in the order in which their cells stand in every vector.
        final, tree: what runs on the released results, relations ``core_0``, ….
        columns: the columns each resource is read for.
        names: of the result's columns.
        inexact: why it cannot be answered exactly, although it may be with noise.
    """

    sql: str
    cores: list[Core]
    final: str
    tree: exp.Select
    columns: dict[str, list[str]]
    names: list[str]
    inexact: ProblemError | None = None

    @property
    def main(self) -> str:
        """The resource that comes first."""
        return next(iter(self.columns))

    @property
    def cells(self) -> int:
        """Groups of all cores."""
        return sum(core.cells for core in self.cores)

    def supports(self) -> int:
        """Elements of the presence and count vectors: for each core, cells by supports."""
        return sum(core.cells * len(core.supports) for core in self.cores)

    def tally(self) -> dict[str, int]:
        """The lengths of the tally's vectors."""
        lengths = {
            "count": self.supports(),
            "sum": sum(core.cells * len(core.sums) for core in self.cores),
            "product": sum(core.cells * len(core.products) for core in self.cores),
            "bins": sum(core.cells * core.bin_width() for core in self.cores),
        }
        return {name: length for name, length in lengths.items() if length}

    def rank_count(self) -> int:
        """Order statistics looked for, over all cells."""
        return sum(core.cells * core.rank_width() for core in self.cores)

    def thresholds(self) -> int:
        """Thresholds for each order statistic in one round."""
        ranks = self.rank_count()
        return max(1, min(THRESHOLDS, MAX_REFINED // ranks)) if ranks else 0

    def refinements(self) -> int:
        """Rounds that order statistics take at most."""
        widest = max((state.grid.count for core in self.cores for state in core.ranks), default=0)
        rounds, covered = 0, 1
        while widest and covered < widest:
            covered *= self.thresholds() + 1
            rounds += 1
        return rounds
