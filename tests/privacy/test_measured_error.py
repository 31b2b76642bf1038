"""The announced error is the error: figures of many repetitions against the exact ones, through the whole pipeline."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from federation import WARDS, federation, repetitions, visits

PARAMS = {"resource": "visits", "columns": ["cost"], "group_by": [[], ["ward"]], "bounds": {"cost": [0.0, 100.0]},
          "histograms": [{"column": "cost", "lower": 0.0, "upper": 60.0, "bins": 12}]}


@pytest.mark.slow
@pytest.mark.parametrize(("honest_fraction", "full"), [(0.5, 2000), (1.0, 500)])
def test_errors_are_as_announced(honest_fraction: float, full: int) -> None:
    tables = [visits(seed, 5_000) for seed in range(3)]
    ward, cost = (np.concatenate([table[name] for table in tables]) for name in ("ward", "cost"))
    exact = {name: cost[ward == name] for name in WARDS} | {"": cost}
    bins = np.histogram(cost[cost <= 60], bins=12, range=(0.0, 60.0))[0]
    errors: dict[str, list[float]] = defaultdict(list)
    with federation(tables, honest_fraction=honest_fraction) as departments:
        for edition in range(repetitions(12, full)):
            content = departments.run("statistics", {**PARAMS, "rho_nano": 10**8, "edition": str(edition)})
            errors["cohort"].append((content["rows"] - len(cost)) / content["privacy"]["rows_noise"]["sd"])
            for cell in (cell for table in content["tables"] for cell in table["cells"]):
                rows, found = exact[cell["group"].get("ward", "")], cell["columns"]["cost"]
                errors["rows"].append((cell["rows"] - len(rows)) / cell["noise"]["sd"])
                true = {"count": len(rows), "sum": rows.sum(), "mean": rows.mean(), "variance": rows.var(ddof=1)}
                for name, value in true.items():
                    errors[name].append((found[name] - value) / found["noise"][name]["sd"])
            (histogram,) = content["histograms"]
            errors["bins"] += [(count - true) / histogram["noise"]["sd"]
                               for count, true in zip(histogram["counts"], bins, strict=True)]
    for name, of in errors.items():
        # As many standard errors as leave one false alarm in a million runs, or 5 %, whichever is more.
        tolerance = max(0.05, 5 / math.sqrt(2 * len(of)))
        spread = math.sqrt(np.mean(np.square(of)))
        print(f"{name}: {len(of)} figures, error {spread:.4f} times the announced one")
        assert spread == pytest.approx(1.0, abs=tolerance), name
        within = np.mean(np.abs(of) <= 1.959963984540054)
        assert within == pytest.approx(0.95, abs=max(0.01, 5 * math.sqrt(0.05 * 0.95 / len(of)))), name
