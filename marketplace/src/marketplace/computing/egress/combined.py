"""Hidden cells that results released one after the other tell together: linear algebra over the rows all of them count.

Each result is protected by itself. What this finds is exact: a cell that the shown counts of several results determine,
taken that every row has a value in every dimension. Narrow intervals are not looked for.

Tables of ``statistics`` and plain counts of ``query`` are looked at alike: every shown count is the sum of some cells of one joint
table over all columns that any of the results groups or filters by. A query is worked out on that table, one row a cell, to see which;
one that filters by something else is about rows that cannot be told apart here, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketplace.computing.egress.counting import Counting, counting

MAX_CELLS: Final = 800
"""Cells of the joint table; wider ones are not looked at."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Released:
    """A result, or a candidate for one.

    Attributes:
        content: of kind ``statistics`` or ``table``.
        params: of its job, with what the departments declare.
    """

    content: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> Any:
        """How many rows were read."""
        return self.content.get("rows" if self.content.get("kind") == "statistics" else "rows_used")

    @property
    def exact(self) -> bool:
        """Whether its counts are what they say."""
        return not self.content.get("privacy")


@dataclass
class _System:
    """Linear equations over the joint table's cells, and hidden cells by what they are called."""

    rows: list[Matrix]
    values: list[float]
    hidden: dict[Any, Matrix] = field(default_factory=dict)


def newly_told(candidate: Released, earlier: Sequence[Released]) -> int | None:
    """How many hidden groups are determined by a result and earlier ones together, and by none of them alone.

    Args:
        earlier: released results about the same resource; those about other rows, by their number, are left out.

    Returns:
        None if there are too many cells to tell.
    """
    same = [one for one in earlier if one.exact and one.rows == candidate.rows
            and one.content.get("departments") == candidate.content.get("departments")]
    if not same:
        return 0
    queries = {place: counting(one.content, one.params) for place, one in enumerate([candidate, *same])
               if one.content.get("kind") == "table"}
    known = [(place, one) for place, one in enumerate([candidate, *same]) if queries.get(place, one) is not None]
    if len(known) < 2 or known[0][0] != 0:
        return 0
    domains: dict[str, dict[str, None]] = {}
    types: dict[str, str] = {}
    for place, one in known:
        query = queries.get(place)
        given: Mapping[str, Sequence[str]] = query.values if query is not None else _dimensions(one)
        for name, values in given.items():
            domains.setdefault(name, {}).update(dict.fromkeys(values))
        types |= query.types if query is not None else {}
    dims = sorted(domains)
    if not dims or any(not domains[name] for name in dims):
        return 0
    if math.prod(len(domains[name]) for name in dims) > MAX_CELLS:
        return None
    names = list(product(*(domains[name] for name in dims)))
    systems = []
    for place, one in known:
        system = _System([np.ones(len(names))], [float(one.rows)])
        query = queries.get(place)
        if query is None:
            _of_tables(system, one.content, dims, names, domains)
        else:
            _of_query(system, query, dims, names, types)
        systems.append(system)
    hidden: dict[Any, Matrix] = {name: row for system in systems for name, row in system.hidden.items()}
    if not hidden:
        return 0
    cells = np.array([*hidden.values()])
    alone = np.any([_told(cells, np.array(one.rows), np.array(one.values)) for one in systems], axis=0)
    together = np.array([row for one in systems for row in one.rows]), np.array([value for one in systems for value in one.values])
    return int((_told(cells, *together) & ~alone).sum())


def _dimensions(one: Released) -> dict[str, Sequence[str]]:
    declared = one.params.get("domains") or {}
    return {name: declared.get(name, ()) for table in one.content["tables"] for name in table["group_by"]}


def _of_tables(
    system: _System, content: Mapping[str, Any], dims: Sequence[str], names: Sequence[tuple[str, ...]],
    domains: Mapping[str, Mapping[str, None]],
) -> None:
    for table in content["tables"]:
        places = [dims.index(name) for name in table["group_by"]]
        shown = {tuple(str(cell["group"][name]) for name in table["group_by"]): cell["rows"] for cell in table["cells"]}
        for key in product(*(domains[name] for name in table["group_by"])):
            row = np.array([all(name[place] == value for place, value in zip(places, key, strict=True)) for name in names],
                           dtype=np.float64)
            if key in shown:
                system.rows.append(row)
                system.values.append(float(shown[key]))
            else:
                system.hidden[row.tobytes()] = row


def _of_query(
    system: _System, query: Counting, dims: Sequence[str], names: Sequence[tuple[str, ...]], types: Mapping[str, str],
) -> None:
    counted = query.over(dims, names, types)
    for (group, measure), row in counted.items():
        value = query.shown(group, measure)
        if value is not None:
            system.rows.append(row)
            system.values.append(value)
        elif measure == 0 and query.hides(group) and row.any():
            system.hidden[row.tobytes()] = row


def _told(cells: Matrix, rows: Matrix, values: Matrix) -> npt.NDArray[np.bool_]:
    """Which cells, not empty, are determined by what is shown."""
    _, sizes, right = np.linalg.svd(rows, full_matrices=False)
    basis = right[sizes > sizes[0] * 1e-10]
    spanned = np.abs(cells - cells @ basis.T @ basis).max(axis=1) < 1e-7
    solution = np.linalg.lstsq(rows, values, rcond=None)[0]
    return np.asarray(spanned & (cells @ solution > 0.5))
