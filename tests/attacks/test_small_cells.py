"""What is held back from a table, attacked with everything that is shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linprog

from .conftest import COHORT, SCHEMA, City, Tables

Figure = Callable[[str, object], None]
DIMS = ("district", "ward", "sex")


def asked(federation: Any, groupings: list[list[str]]) -> dict[str, Any]:
    content: dict[str, Any] = federation.run("statistics", {"resource": "patients", "columns": ["cost"], "group_by": groupings})
    return content


def narrowest(content: dict[str, Any], truth: dict[tuple[str, ...], int]) -> tuple[int, float, int]:
    """Linear programming against every hidden cell that is not empty: how many, the narrowest interval, how many exact."""
    names = list(truth)
    column = {name: place for place, name in enumerate(names)}
    rows, values, hidden = [np.ones(len(names))], [float(content["rows"])], []
    for table in content["tables"]:
        dims = table["group_by"]
        shown = {tuple(cell["group"][dim] for dim in dims): cell["rows"] for cell in table["cells"]}
        for key in itertools.product(*(SCHEMA[dim].domain for dim in dims)):
            row = np.zeros(len(names))
            row[[column[name] for name in names if all(name[DIMS.index(dim)] == value for dim, value in zip(dims, key, strict=True))]] = 1
            real = sum(count for name, count in truth.items() if row[column[name]])
            if key in shown or real == 0:  # the attacker even knows which cells are empty
                rows.append(row)
                values.append(float(shown.get(key, 0)))
            else:
                hidden.append(row)
    widths = []
    for row in hidden:
        low, high = (linprog(sign * row, A_eq=np.array(rows), b_eq=np.array(values), method="highs").fun for sign in (1, -1))
        widths.append(-high - low)
    return len(hidden), min(widths), sum(width < 0.5 for width in widths)


def test_hidden_cells_against_linear_programming(city: City, tables: Tables, figure: Figure) -> None:
    truth = dict.fromkeys(itertools.product(*(SCHEMA[dim].domain for dim in DIMS)), 0)
    for table in tables.values():
        for key in zip(*(table[dim] for dim in DIMS), strict=True):
            truth[key] += 1
    every = [list(dims) for size in range(4) for dims in itertools.combinations(DIMS, size)]
    content = asked(city(), every)
    hidden, width, exact = narrowest(content, truth)
    cells = sum(len(table["cells"]) for table in content["tables"])
    figure("small cells: shown, hidden, narrowest interval, recovered exactly", (cells, hidden, round(width, 1), exact))
    assert hidden > 4
    assert exact == 0
    assert width >= COHORT - 1e-6


def test_tables_asked_one_after_the_other(city: City, tables: Tables, figure: Figure) -> None:
    """Each result is decided by itself: what one shows, another may hide. The same tables in two jobs tell more than one.

    The figure says how much; see the residual risks in docs/threat-model.md.
    """
    truth = dict.fromkeys(itertools.product(*(SCHEMA[dim].domain for dim in DIMS)), 0)
    for table in tables.values():
        for key in zip(*(table[dim] for dim in DIMS), strict=True):
            truth[key] += 1
    federation = city()
    parts = [asked(federation, [list(dims)]) for dims in (DIMS[:2], DIMS[:1], DIMS[1:2])]
    merged = {**parts[0], "tables": [part["tables"][0] for part in parts]}
    hidden, width, exact = narrowest(merged, truth)
    figure("small cells over three jobs: hidden, narrowest interval, recovered exactly", (hidden, round(width, 1), exact))
    assert hidden >= 1


def test_no_group_of_one_department(city: City, tables: Tables, figure: Figure) -> None:
    for name, table in tables.items():
        if name != "hospital-0":
            table["district"][table["district"] == "south"] = "east"
    content = asked(city(), [["district"], []])
    shown = {cell["group"]["district"]: cell for cell in content["tables"][0]["cells"]}
    assert "south" not in shown
    told = content["tables"][1]["cells"][0]["rows"] - sum(cell["rows"] for cell in shown.values())
    own = int((tables["hospital-0"]["district"] == "south").sum())
    figure("one department's group: its rows, and what the rest adds up to", (own, told))
    assert told > own * 1.1
