"""Generated departments' data: the same every time, written by DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

FEATURES = [f"x{number}" for number in range(10)]
KINDS = 8


def readings(path: Path, rows: int, department: int) -> None:
    """Meter readings: two measures, a kind out of eight, a month."""
    path.parent.mkdir(parents=True, exist_ok=True)
    salt = department * 1_000_003
    with duckdb.connect() as connection:
        connection.execute(f"""COPY (
            SELECT round(20 + 80 * (hash(i + {salt}) % 1000003) / 1000003.0, 3) AS used,
                   round(exp(((hash(i * 7 + {salt}) % 100003) / 100003.0 - 0.5) * 6), 4) AS paid,
                   'kind-' || (hash(i * 13 + {salt}) % {KINDS}) AS kind, (hash(i * 31 + {salt}) % 12)::INTEGER + 1 AS month
            FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")


def cases(path: Path, rows: int, department: int) -> None:
    """Ten numbers and an outcome that depends on them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(20260101 + department)
    x = chance.normal(0.1 * department, 1.0, (rows, len(FEATURES)))
    weights = np.linspace(-1, 1, len(FEATURES))
    y = (chance.random(rows) < 1 / (1 + np.exp(-(x @ weights)))).astype(np.int64)
    columns = dict(zip(FEATURES, np.round(x, 6).T, strict=True)) | {"y": y}
    with duckdb.connect() as connection:
        connection.register("cases", columns)
        connection.execute(f"COPY cases TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def pooled_logistic(paths: list[Path], l2: float, tolerance: float) -> tuple[np.ndarray, int]:
    """Plain numpy on all rows: standardise, then Newton. Returns coefficients with the intercept last, and rounds."""
    with duckdb.connect() as connection:
        names = ", ".join([*FEATURES, "y"])
        found = connection.execute(f"SELECT {names} FROM read_parquet({[str(path) for path in paths]})").fetchnumpy()
    x = np.column_stack([found[name] for name in FEATURES])
    y = np.asarray(found["y"], dtype=float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    x = np.column_stack([x, np.ones(len(x))])
    penalty = np.array([l2] * len(FEATURES) + [0.0])
    weights = np.zeros(x.shape[1])
    step = 0
    while step < 25:
        step += 1
        p = 1 / (1 + np.exp(-(x @ weights)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        change = np.linalg.solve(hessian, x.T @ (p - y) + penalty * weights)
        weights -= change
        if np.abs(change).max() <= tolerance:
            break
    return weights, step
