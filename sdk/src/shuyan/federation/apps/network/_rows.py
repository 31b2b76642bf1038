"""A department's complete rows as a network reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation import problems, rowsets
from shuyan.federation.apps.network._params import NetworkParams
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import dimension_sql, quote
from shuyan.problems import ProblemError

_ROWS: Final = "rows"
_SCALED: Final = "scaled"


@dataclass(frozen=True)
class Rows:
    """Complete rows, those to train on first.

    Attributes:
        inputs: shape (n, inputs).
        target: shape (n,).
        trained: how many of the rows are to train on.
        sets: which rows of the resource these are, for the differencing guard.
    """

    inputs: Floats = field(repr=False)
    target: Floats = field(repr=False)
    trained: int
    sets: bytes = field(repr=False)


def rows_of(inputs: Inputs, params: NetworkParams) -> Rows:
    """The department's rows, read once a run.

    Raises:
        ProblemError: ``target_not_a_class``.
    """
    cached = inputs.cache.get(_ROWS)
    if isinstance(cached, Rows):
        return cached
    selected, complete, arguments = [f"{inputs.row_number('data')} AS r"], [], list[list[str]]()
    for place, name in enumerate([params.target, *params.features]):
        if name in params.domains and place:
            selected.append(f"list_position(?, {dimension_sql(inputs.column(name))}) AS c{place}")
            arguments.append(params.domains[name])
            complete.append(f"c{place} > 0")  # 0 for a value that is not declared
        else:
            selected.append(f"CAST({quote(name)} AS DOUBLE) AS c{place}")
            complete.append(f"isfinite(c{place})")
    sql = f"SELECT * FROM (SELECT {', '.join(selected)} FROM data) WHERE {' AND '.join(complete)}"  # noqa: S608
    found = inputs.connection.execute(sql, arguments).fetchnumpy()
    target = _plain(found["c0"])
    if params.task != "number" and not np.isin(target, np.arange(max(params.outputs(), 2))).all():
        raise ProblemError(problems.TARGET_NOT_A_CLASS)
    terms = params.terms()
    matrix = np.empty((len(target), len(terms)))
    for at, (name, level) in enumerate(terms):
        values = _plain(found[f"c{1 + params.features.index(name)}"])
        matrix[:, at] = values if level is None else values == 1 + params.domains[name].index(level)
    numbers = np.asarray(found["r"]).astype(np.uint64)
    apart = hashed(numbers, params.seed) < params.validation
    order = np.argsort(apart, kind="stable")
    universe = max(inputs.row_count(), int(numbers.max(initial=0)) + 1)
    sets = {rowsets.BASE: RowSet.of(numbers, universe)}
    if apart.any():
        sets["train"] = RowSet.of(numbers[~apart], universe)
    rows = Rows(matrix[order], target[order], int((~apart).sum()), rowsets.encode({params.resource: sets}))
    inputs.cache[_ROWS] = rows
    return rows


def scaled(inputs: Inputs, params: NetworkParams, arrays: Mapping[str, Floats]) -> Rows:
    """The rows with numbers standardised: by the ``mean`` and ``sd`` that came with the question, or by bounds."""
    rows = rows_of(inputs, params)
    mean, sd = scaling(params, arrays)
    key = mean.tobytes() + sd.tobytes()
    cached = inputs.cache.get(_SCALED)
    if isinstance(cached, tuple) and cached[0] == key:
        found: Rows = cached[1]
        return found
    columns, target = rows.inputs.copy(), rows.target
    for at, (name, level) in enumerate(params.terms()):
        if level is None:
            place = params.scaled().index(name)
            columns[:, at] = (columns[:, at] - mean[place]) / sd[place]
    if params.task == "number":
        target = (target - mean[-1]) / sd[-1]
    if params.standardise == "bounds":
        np.clip(columns, -1, 1, out=columns)
        target = np.clip(target, -1, 1)
    made = Rows(columns, target, rows.trained, rows.sets)
    inputs.cache[_SCALED] = (key, made)
    return made


def scaling(params: NetworkParams, arrays: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """What is subtracted from each scaled column and what it is divided by."""
    if params.standardise == "pooled":
        return arrays["mean"], arrays["sd"]
    bounds = [params.bounds[name] for name in params.scaled()]
    return (np.array([lower / 2 + upper / 2 for lower, upper in bounds]),
            np.array([upper / 2 - lower / 2 for lower, upper in bounds]))


def raw(rows: Rows, params: NetworkParams) -> Floats:
    """The columns to be standardised as they are, of the rows to train on, shape (n, columns)."""
    columns = [rows.inputs[: rows.trained, at] for at, (_, level) in enumerate(params.terms()) if level is None]
    if params.task == "number":
        columns.append(rows.target[: rows.trained])
    return np.column_stack(columns) if columns else np.zeros((rows.trained, 0))


def hashed(numbers: npt.NDArray[np.uint64], seed: int) -> Floats:
    """Hashes of row numbers, evenly in [0, 1) (SplitMix64; Steele, Lea & Flood 2014)."""
    mixed = numbers + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _plain(values: np.ndarray) -> Floats:
    return np.asarray(values.data if isinstance(values, np.ma.MaskedArray) else values, dtype=np.float64)
