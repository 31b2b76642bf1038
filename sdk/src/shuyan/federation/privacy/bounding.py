"""Contribution bounding: how much one unit can be in an answer at most, and the sensitivities that follow.

A unit (a person, an enterprise) is told apart by a column that the grant names; the column is read on the node for this and
is not otherwise part of the data. Of each unit at most m rows are kept when the data are read, whatever is asked later, so no
app can forget it. Where an answer depends on how many *groups* a unit is in, :func:`bounded_relation` keeps at most g of
them.

Which rows and groups stay is decided by a hash of their own content under a salt that the node keeps. It must not depend on
anything of other units, or leaving out one unit would change which rows of others are kept, and the sensitivity would be
wrong; a row's place in the table, for one, is such a thing. Rows with the same content are the same to every answer.

Numbers are clamped to declared bounds and counted in whole steps of 2^-20 of half their width around the middle, so that
sums are exact whatever their order: sums of floating-point numbers can move by more than one row's worth (Casacuberta et
al., "Widespread Underestimation of Sensitivity in Differentially Private Libraries", CCS 2022).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shuyan.federation.privacy import Sensitivity
from shuyan.federation.schema import Column, double_sql, quote
from shuyan.federation.vectors import VectorSpec

UNIT: Final = "__unit"
"""The hidden column of a bounded relation that tells units apart: a keyed hash, good for nothing else."""

STEP_BITS: Final = 20
UNIT_SUM: Final = VectorSpec(limbs=2, fraction_bits=STEP_BITS, bound=2.0**33)
"""Sums of values scaled to [-1, 1]; exact in float64 for up to 8 billion rows a department."""

NOISY_COUNT: Final = VectorSpec(limbs=1, fraction_bits=10, bound=2.0**40)
"""Counts that get noise. On whole numbers little noise is needed only where much may be spent, and a sum of small discrete
Gaussians is far from being one; a grain of 2^-10 makes that negligible at the cost of figures that have to be rounded."""

_STEPS: Final = 1 << STEP_BITS


@dataclass(frozen=True, slots=True)
class Bounding:
    """How one resource is bounded when it is read.

    Attributes:
        column: the unit's; rows where it is null belong to nobody and are left out.
        max_rows: of one unit.
        salt: the node's own, hexadecimal.
        max_groups: of one answer that a unit counts in, where that is about distinct units.
    """

    column: Column
    max_rows: int
    salt: str
    max_groups: int = 1


def bounded_statements(target: str, relation: str, projection: str, bounding: Bounding) -> tuple[str, str]:
    """SQL that reads a relation into a table, and then leaves at most ``max_rows`` rows of each unit in it.

    Args:
        target: the table, quoted.
        relation: what may stand after FROM; has the unit's column.
        projection: the columns to read, as a select list with names.
    """
    salt, unit = _text(bounding.salt), quote(UNIT)
    # Two hashes make 126 bits, which no two units share; 64 would do for a few million units only.
    pseudonym = f"(CAST(hash({salt}, {unit}) AS HUGEINT) << 62) + CAST(hash({unit}, {salt}) AS HUGEINT)"
    read = (f"CREATE TABLE {target} AS SELECT * REPLACE ({pseudonym} AS {unit}) FROM ("  # noqa: S608
            f"SELECT {projection}, CAST({quote(bounding.column.name)} AS VARCHAR) AS {unit} FROM {relation}) "
            f"WHERE {unit} IS NOT NULL")
    # Usually few units have more rows than that, so only theirs are put in order.
    many = f"SELECT {unit} FROM {target} GROUP BY {unit} HAVING count(*) > {int(bounding.max_rows)}"  # noqa: S608
    cut = (f"DELETE FROM {target} WHERE rowid IN (SELECT spare FROM (SELECT r.rowid AS spare, row_number() OVER "  # noqa: S608
           f"(PARTITION BY r.{unit} ORDER BY hash({salt}, r)) AS number FROM {target} AS r WHERE r.{unit} IN ({many})) "
           f"WHERE number > {int(bounding.max_rows)})")
    return read, cut


def bounded_relation(
    relation: str, unit: str, *, salt: str, max_rows: int | None = None, groups: Sequence[str] = (),
    max_groups: int | None = None,
) -> str:
    """A subselect with at most so many rows of each unit, in at most so many groups, for use after FROM.

    Args:
        relation: what may stand after FROM, a subselect with filters and joins for instance.
        unit: SQL over it that tells units apart (:meth:`~shuyan.federation.inputs.Inputs.unit`).
        salt: the node's (:attr:`~shuyan.federation.inputs.Inputs.salt`).
        max_rows: None: as many as there are; enough where the relation keeps to one row for each of the resource's.
        groups: SQL over it giving the group of a row; one group if there are none.
        max_groups: None: any number.
    """
    kept = []
    if groups and max_groups is not None:
        listed = ", ".join(groups)
        kept.append(f"dense_rank() OVER (PARTITION BY {unit} ORDER BY hash({_text(salt)}, {listed}), {listed}) <= {int(max_groups)}")
    if max_rows is not None:
        kept.append(f"row_number() OVER (PARTITION BY {unit} ORDER BY hash({_text(salt)}, r)) <= {int(max_rows)}")
    if not kept:
        return f"(SELECT * FROM {relation} AS r)"  # noqa: S608
    inner = f"(SELECT * FROM {relation} AS r QUALIFY {kept[0]})"  # noqa: S608
    # Rows are chosen among those whose groups stayed, or a unit would lose rows to groups it is not counted in.
    return inner if len(kept) == 1 else f"(SELECT * FROM {inner} AS r QUALIFY {kept[1]})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Scale:
    """A bounded column as it is summed: (clamped value - middle) / half the width, in whole steps of 2^-20."""

    lower: float
    upper: float

    @property
    def middle(self) -> float:
        return self.lower / 2 + self.upper / 2

    @property
    def half(self) -> float:
        # Never nought: whether a quotient is a number would tell of the rows.
        return max(self.upper / 2 - self.lower / 2, sys.float_info.min)

    def steps_sql(self, value: str) -> str:
        """An integer from -2^20 to 2^20 for a finite DOUBLE; null for null."""
        clamped = f"least(greatest({value}, {double_sql(self.lower)}), {double_sql(self.upper)})"
        return f"CAST(round(({clamped} - {double_sql(self.middle)}) / {double_sql(self.half)} * {_STEPS}) AS BIGINT)"

    @staticmethod
    def square_sql(steps: str) -> str:
        """The square of what :meth:`steps_sql` gave, in steps: from 0 to 2^20."""
        return f"CAST(({steps} * {steps} + {_STEPS // 2}) // {_STEPS} AS BIGINT)"

    @staticmethod
    def product_sql(first: str, second: str) -> str:
        """The product of two that :meth:`steps_sql` gave, in steps: from -2^20 to 2^20."""
        return f"CAST(round(CAST({first} AS DOUBLE) * {second} / {_STEPS}) AS BIGINT)"  # exact in between: at most 2^40


@dataclass(frozen=True, slots=True)
class Contribution:
    """What of one unit is in the data at most: rows m, and groups g of one table that they are in.

    The sensitivities are for adding or leaving out one unit with all its rows. They are joint: one vector that holds several
    tables or columns is protected as one. All m rows may lie in one group, so the number of groups does not lower the
    sensitivity of counts and sums, only that of numbers of distinct units.
    """

    rows: int
    groups: int = 1

    def counts(self, tables: int = 1, columns: int = 1) -> Sensitivity:
        """Rows by group: each row is in at most one group of each table, counted once for each column."""
        return Sensitivity(self.rows * math.sqrt(tables * columns), cells=self.rows * tables * columns, integral=True)

    def sums(self, bound: float = 1.0, tables: int = 1, columns: int = 1, *, integral: bool = False) -> Sensitivity:
        """Sums of values of at most ``bound`` by group; with ``bound`` 1 and ``integral`` the sums of :class:`Scale`."""
        return Sensitivity(self.rows * bound * math.sqrt(tables * columns), cells=self.rows * tables * columns,
                           integral=integral)

    def squares(self, bound: float = 1.0, tables: int = 1, columns: int = 1, *, integral: bool = False) -> Sensitivity:
        """Sums of squares of such values, and of products of two."""
        return self.sums(bound * bound, tables, columns, integral=integral)

    def units(self, tables: int = 1) -> Sensitivity:
        """Distinct units by group, of a relation bounded to ``groups`` groups."""
        cells = min(self.rows, self.groups)
        return Sensitivity(math.sqrt(cells * tables), cells=cells * tables, integral=True)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
