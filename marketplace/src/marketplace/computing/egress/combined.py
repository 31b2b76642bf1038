"""Hidden cells that tables released one after the other tell together: linear algebra over the rows all of them count.

Each result is protected by itself. What this finds is exact: a cell that the shown counts of several results determine,
taken that every row has a value in every dimension. Narrow intervals are not looked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_CELLS: Final = 800
"""Cells of the joint table; wider ones are not looked at."""

Matrix = npt.NDArray[np.float64]


def newly_told(
    content: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], domains: Mapping[str, Sequence[str]],
) -> int | None:
    """How many hidden groups are determined by a result and earlier ones together, and by none of them alone.

    Args:
        content: of kind ``statistics``.
        earlier: released contents about the same resource; those about other rows, by their number, are left out.
        domains: the values of all dimensions.

    Returns:
        None if there are too many cells to tell.
    """
    same = [one for one in earlier if one.get("kind") == "statistics" and one.get("rows") == content["rows"]
            and one.get("departments") == content["departments"] and not one.get("privacy")]
    results = [content, *same]
    dims = sorted({name for one in results for table in one["tables"] for name in table["group_by"]})
    if not same or not dims or any(name not in domains for name in dims):
        return 0
    if math.prod(len(domains[name]) for name in dims) > MAX_CELLS:
        return None
    names = list(product(*(domains[name] for name in dims)))
    hidden: dict[tuple[Any, ...], Matrix] = {}
    systems = []
    for one in results:
        rows, values = [np.ones(len(names))], [float(one["rows"])]
        for table in one["tables"]:
            places = [dims.index(name) for name in table["group_by"]]
            shown = {tuple(str(cell["group"][name]) for name in table["group_by"]): cell["rows"] for cell in table["cells"]}
            for key in product(*(domains[name] for name in table["group_by"])):
                row = np.array([all(name[place] == value for place, value in zip(places, key, strict=True)) for name in names],
                               dtype=np.float64)
                where = tuple(sorted(zip(table["group_by"], key, strict=True)))
                if key in shown:
                    rows.append(row)
                    values.append(float(shown[key]))
                else:
                    hidden[where] = row
        systems.append((np.array(rows), np.array(values)))
    if not hidden:
        return 0
    cells = np.array([*hidden.values()])
    together = np.vstack([rows for rows, _ in systems]), np.concatenate([values for _, values in systems])
    alone = np.any([_told(cells, *system) for system in systems], axis=0)
    return int((_told(cells, *together) & ~alone).sum())


def _told(cells: Matrix, rows: Matrix, values: Matrix) -> npt.NDArray[np.bool_]:
    """Which cells, not empty, are determined by what is shown."""
    _, sizes, right = np.linalg.svd(rows, full_matrices=False)
    basis = right[sizes > sizes[0] * 1e-10]
    spanned = np.abs(cells - cells @ basis.T @ basis).max(axis=1) < 1e-7
    solution = np.linalg.lstsq(rows, values, rcond=None)[0]
    return np.asarray(spanned & (cells @ solution > 0.5))
