"""Differential privacy: accounting in zCDP, contribution bounding, and noise added as shares by the nodes.

How it fits together is told in ``docs/privacy.md``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shuyan.federation import problems
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.trust.grants import PrivacyTerms

_NARROWEST: Final = sys.float_info.min
DEFAULT_FRACTION: Final = 100
"""A job that does not say how much it wants to spend spends this part of its grant's budget."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How far one unit's presence can move a vector of one department's answer.

    Attributes:
        l2: in the Euclidean norm, over all elements of the vector, in the vector's own units.
        share: the part of the run's ρ that this vector of this one question gets. Vectors of a question that name none
            divide among them equally what the others leave; an app of several rounds names all of them, so that they add up
            to one over the run.
        cells: elements that one unit can change at most; None: all. Only rounding depends on it.
        integral: every element is a whole multiple of 2^-fraction_bits, so that encoding it rounds nothing.
    """

    l2: float
    share: Fraction | None = None
    cells: int | None = None
    integral: bool = False


EXACT_ONLY: Final[dict[str, Any]] = {"x-release": "exact"}
"""Marks a parameter, in the schema of an app's parameters, that differential privacy refuses or that has no effect under it."""
NOISY_ONLY: Final[dict[str, Any]] = {"x-release": "dp"}
"""Marks a parameter that has an effect under differential privacy only."""


def under(*, exact: Mapping[str, Any] | None = None, dp: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Say in the schema of an app's parameters what a way of releasing asks of one, so that a form can ask for nothing that is refused.

    Args:
        exact, dp: ``const``, the only value there is; ``enum``, the values there are; or ``examples``, values to begin with of a
            parameter that cannot be left out there. Each means what it means in JSON Schema (2020-12).
    """
    return {"x-under": {name: dict(told) for name, told in (("exact", exact), ("dp", dp)) if told is not None}}


class NoisyParams(BaseModel):
    """Parameters that every app with differential privacy has; inherit from it.

    Attributes:
        rho_nano: what the run may spend at each department, in units of 1e-9 of ρ; None: a hundredth of the grant's budget.
        edition: any text; the same question under another edition is answered, and charged, anew.
        bounds: by column, what its values are clamped to; the marketplace fills in what the departments declare.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rho_nano: int | None = Field(default=None, ge=1, le=accounting.MAX_NANO)
    edition: str = Field(default="", max_length=64)
    bounds: dict[str, tuple[float, float]] = {}

    @field_validator("bounds")
    @classmethod
    def _ordered(cls, bounds: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        # Half of the width is divided by: were that nought, whether a sum is a number would tell of the rows.
        if any(not (math.isfinite(lower) and math.isfinite(upper) and upper / 2 - lower / 2 >= _NARROWEST) for lower, upper in bounds.values()):
            raise ValueError("a lower bound must be below its upper bound")
        return bounds


def need_bounds(columns: Iterable[str], bounds: Mapping[str, tuple[float, float]]) -> None:
    """Whether all columns have bounds.

    Raises:
        ProblemError: ``bounds_missing``, naming the first that has none.
    """
    for name in columns:
        if name not in bounds:
            raise ProblemError(problems.BOUNDS_MISSING, field=f"bounds.{name}", column=name)


def rho_of(params: Any, terms: PrivacyTerms) -> int:
    """What a run may spend, in nano-ρ: the parameter ``rho_nano`` where the app has it and the job sets it."""
    asked = getattr(params, "rho_nano", None)
    return max(terms.rho_nano // DEFAULT_FRACTION, 1) if asked is None else int(asked)


def divide(sensitivities: Mapping[str, Sensitivity], rho_nano: int) -> dict[str, int]:
    """The ρ of each vector of one question.

    Raises:
        ProblemError: ``budget_too_small`` where a vector's part is less than one nano-ρ.
        ValueError: the named shares exceed the whole.
    """
    named = sum((entry.share for entry in sensitivities.values() if entry.share is not None), Fraction(0))
    rest = [name for name, entry in sensitivities.items() if entry.share is None]
    if named > 1 or (rest and named == 1):
        raise ValueError("shares add up to more than the whole")
    each = (1 - named) / len(rest) if rest else Fraction(0)
    parts = {name: int(rho_nano * (each if entry.share is None else entry.share)) for name, entry in sensitivities.items()}
    if any(part < 1 for part in parts.values()):
        raise ProblemError(problems.BUDGET_TOO_SMALL)
    return parts


__all__ = ["DEFAULT_FRACTION", "NoisyParams", "Sensitivity", "accounting", "divide", "rho_of"]
