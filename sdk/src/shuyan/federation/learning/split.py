"""Rows held out for evaluation: by a column, by a keyed hash of the row number, or in k folds.

Every row belongs to a *part*. Without a split there is part 0 only. With a hold-out, part 0 trains and part 1 tests. With
k folds there are k parts; fit 0 trains on all and fit f on all but part f - 1.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Parts = npt.NDArray[np.int64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


class Split(BaseModel):
    """How rows are held out; exactly one of ``column``, ``fraction`` and ``folds``.

    What is held out tells training rows from all rows, so with a column or a fraction every department has to hold out as
    many rows as the minimum cohort, or none: its guard against differencing sees to it. Folds never stand alone.

    Attributes:
        column: a column that says it; ``test`` names the values that are held out.
        test: canonical strings, ``["test"]`` or ``["1"]``.
        train: the values to train on; by default all others. Rows with neither are left out.
        fraction: share of the rows to hold out, chosen by a keyed hash of the row's number at its department.
        folds: cross-validation: as many models besides, each evaluated on the rows it has not seen.
        seed: key of the hash.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    column: str | None = Field(default=None, min_length=1)
    test: list[str] = Field(default=["1"], min_length=1, max_length=100)
    train: list[str] = Field(default=[], max_length=100)
    fraction: float | None = Field(default=None, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2, le=20)
    seed: int = Field(default=0, ge=0, le=2**53 - 1)

    @model_validator(mode="after")
    def _one(self) -> Split:
        if sum(value is not None for value in (self.column, self.fraction, self.folds)) != 1:
            raise ValueError("rows are split by a column, by a fraction, or in folds")
        if set(self.test) & set(self.train):
            raise ValueError("a value cannot both train and test")
        return self


def parts(split: Split | None) -> int:
    """The number of parts."""
    if split is None:
        return 1
    return split.folds or 2


def fits(split: Split | None) -> int:
    """The number of models fitted."""
    return 1 + (split.folds or 0) if split is not None else 1


def training(split: Split | None) -> list[list[int]]:
    """By fit, the parts it is trained on."""
    if split is None or not split.folds:
        return [[0]]
    everything = list(range(split.folds))
    return [everything, *([part for part in everything if part != out] for out in everything)]


def groups(split: Split | None) -> list[tuple[int, list[int]]]:
    """What is evaluated: pairs of a fit and the parts it is evaluated on. The first is the released model in sample.

    The others together hold every held-out row once.
    """
    if split is None:
        return [(0, [0])]
    if not split.folds:
        return [(0, [0]), (0, [1])]
    return [(0, list(range(split.folds))), *((part + 1, [part]) for part in range(split.folds))]


def hashed_parts(split: Split, resource: str, rows: npt.NDArray[np.int64]) -> Parts:
    """The part of each row by a keyed hash (SplitMix64; Steele, Lea & Flood, OOPSLA 2014) of its number.

    Args:
        rows: the rows' stable numbers at the department.
    """
    key = np.frombuffer(sha256(f"{split.seed}\0{resource}".encode()).digest()[:8], dtype="<u8")[0]
    with np.errstate(over="ignore"):
        z = key + (rows.astype(np.uint64) + np.uint64(1)) * _STEP
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        z ^= z >> np.uint64(31)
    uniform = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    if split.folds:
        return np.asarray(uniform * split.folds, dtype=np.int64)
    return np.asarray(uniform < (split.fraction or 0.0), dtype=np.int64)
