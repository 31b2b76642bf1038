"""A department's rows as a boosting job reads them: float32 numbers, places of categories, and later bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation import problems, rowsets, sketch
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import dimension_sql, quote
from shuyan.problems import ProblemError

Float32s = npt.NDArray[np.float32]
VALIDATION: Final = 2**62
"""Takes the place of a round's number where rows are drawn for validation."""


@dataclass
class Rows:
    """Rows with a target, those to train on first.

    Attributes:
        columns: by feature; NaN is missing, and a category is the place of its value.
        target: shape (n,), of classes their places.
        numbers: the rows' numbers in their source, for draws.
        trained: how many of the rows are to train on.
        sets: which rows of the resource these are, for the differencing guard.
    """

    columns: list[Float32s] = field(repr=False)
    target: Float32s = field(repr=False)
    numbers: npt.NDArray[np.uint64] = field(repr=False)
    trained: int
    sets: bytes = field(default=b"", repr=False)
    _ordered: dict[int, sketch.Keys] = field(default_factory=dict, repr=False)

    def ordered(self, place: int) -> sketch.Keys:
        """The sorted keys of a feature's values, of the rows to train on."""
        if place not in self._ordered:
            values = self.columns[place][: self.trained]
            self._ordered[place] = np.sort(sketch.keys_of(values[~np.isnan(values)]))
        return self._ordered[place]

    def forget_order(self) -> None:
        """Give the sorted keys' memory back."""
        self._ordered.clear()


def read(inputs: Inputs, params: BoostingParams) -> Rows:
    """Read the rows.

    Raises:
        ProblemError: ``target_not_a_class`` or ``target_not_a_count``.
    """
    selected, arguments = [f"{inputs.row_number('data')} AS r"], list[list[str]]()
    for place, name in enumerate([params.target, *params.features]):
        if name in params.domains and (place > 0 or params.objective == "multi:softprob"):
            selected.append(f"CAST(list_position(?, {dimension_sql(inputs.column(name))}) AS DOUBLE) - 1 AS c{place}")
            arguments.append(params.domains[name])
        else:
            selected.append(f"CAST({quote(name)} AS DOUBLE) AS c{place}")
    sql = f"SELECT * FROM (SELECT {', '.join(selected)} FROM data) WHERE isfinite(c0)"  # noqa: S608
    found = inputs.connection.execute(sql, arguments).fetchnumpy()
    target = _column(found["c0"])
    numbers = np.asarray(found["r"]).astype(np.uint64)
    columns = [_column(found[f"c{place}"]) for place in range(1, len(params.features) + 1)]
    if inputs.bounded:  # a refusal would be an exact answer about a row
        target, kept = _admitted(target, params)
        target, numbers, columns = target[kept], numbers[kept], [column[kept] for column in columns]
    else:
        _check_target(target, params)
    for name, column in zip(params.features, columns, strict=True):
        if name in params.domains:
            column[column < 0] = np.nan
    apart = drawn(numbers, params.seed, VALIDATION, params.validation)
    sets = _sets(inputs, params, numbers, apart)
    if apart.any():
        order = np.argsort(apart, kind="stable")
        columns = [column[order] for column in columns]
        target, numbers = target[order], numbers[order]
    return Rows(columns, target, numbers, int((~apart).sum()), sets)


def _sets(inputs: Inputs, params: BoostingParams, numbers: npt.NDArray[np.uint64], apart: npt.NDArray[np.bool_]) -> bytes:
    """The rows with a target, and those of them to train on.

    The rows of a node of a tree, or of a sample, are no sets of their own: they are never a released result's, and what is
    released of them is about as many rows as the cohort.
    """
    universe = max(inputs.row_count(), int(numbers.max(initial=0)) + 1)
    sets = {rowsets.BASE: RowSet.of(numbers, universe)}
    if apart.any():
        sets["train"] = RowSet.of(numbers[~apart], universe)
    return rowsets.encode({params.resource: sets})


def _column(values: np.ndarray) -> Float32s:
    """As float32, with NaN for what is null or not finite."""
    plain = np.array(values.data if isinstance(values, np.ma.MaskedArray) else values, dtype=np.float64)
    if isinstance(values, np.ma.MaskedArray):
        plain[np.ma.getmaskarray(values)] = np.nan
    with np.errstate(over="ignore"):
        column = plain.astype(np.float32)
    column[~np.isfinite(column)] = np.nan
    return column


def _admitted(target: Float32s, params: BoostingParams) -> tuple[Float32s, npt.NDArray[np.bool_]]:
    """Targets clamped to their bounds, and which rows have one that can be used."""
    if params.objective == "reg:squarederror":
        lower, upper = params.bounds[params.target]
        return np.clip(target, np.float32(lower), np.float32(upper)), np.isfinite(target)
    return target, np.isin(target, np.arange(max(params.groups(), 2), dtype=np.float32))


def _check_target(target: Float32s, params: BoostingParams) -> None:
    if params.objective in ("binary:logistic", "multi:softprob"):
        classes = max(params.groups(), 2)
        if not np.isin(target, np.arange(classes, dtype=np.float32)).all():
            raise ProblemError(problems.TARGET_NOT_A_CLASS)
    elif params.objective == "count:poisson" and (target < 0).any():
        raise ProblemError(problems.TARGET_NOT_A_COUNT)
    if not np.isfinite(target).all():
        raise ProblemError(problems.BAD_PARAMS, field="target", where="target")


def hashed(numbers: npt.NDArray[np.uint64], seed: int, draw: int) -> Floats:
    """Hashes of numbers under a seed and a draw, evenly in [0, 1) (SplitMix64; Steele, Lea & Flood 2014)."""
    mixed = numbers + np.uint64((seed * 0x9E3779B97F4A7C15 + draw * 0xD1B54A32D192ED03) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def drawn(numbers: npt.NDArray[np.uint64], seed: int, draw: int, share: float) -> npt.NDArray[np.bool_]:
    """Which rows a draw takes: those whose number's hash is below the share."""
    return hashed(numbers, seed, draw) < share


def binned(rows: Rows, params: BoostingParams, cuts: Floats, sizes: Floats
           ) -> tuple[npt.NDArray[np.uint16], list[int]]:
    """Every value's place among the slots of all features, shape (features, n), and each feature's first slot.

    Args:
        cuts: ``bins - 1`` places for each numeric feature, the ascending cut points first.
        sizes: how many cut points each numeric feature has.

    Raises:
        ValueError: these are no cut points.
    """
    offsets = slots(params, sizes)
    result = np.empty((len(params.features), len(rows.target)), dtype=np.uint16)
    table = cuts.reshape(len(sizes), params.bins - 1).astype(np.float32)
    numeric = 0
    for place, (name, column) in enumerate(zip(params.features, rows.columns, strict=True)):
        if name in params.domains:
            found = np.nan_to_num(column, nan=float(len(params.domains[name])))
        else:
            points = table[numeric, : int(sizes[numeric])]
            if (np.diff(points) <= 0).any():
                raise ValueError("not cut points")
            # NaN sorts after every number; its slot is the last one.
            found = np.where(np.isnan(column), len(points) + 1, np.searchsorted(points, column, side="right"))
            numeric += 1
        result[place] = found.astype(np.uint16) + np.uint16(offsets[place])
    return result, offsets


def slots(params: BoostingParams, sizes: Floats | Sequence[int]) -> list[int]:
    """The first slot of each feature, and the number of all; each has one for every bin and one for missing values.

    Raises:
        ValueError: sizes that no cut points have.
    """
    offsets, numeric = [0], 0
    for name in params.features:
        if name in params.domains:
            width = len(params.domains[name])
        else:
            width = int(sizes[numeric]) + 1
            if not 1 <= width <= params.bins:
                raise ValueError("not cut points")
            numeric += 1
        offsets.append(offsets[-1] + width + 1)
    return offsets

