"""What an app may send: declared vectors, and the layout both ends of a mask agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

COHORT: Final = "cohort#"
"""Name of the element that carries the number of rows used; no app can declare it (a vector's name is an identifier)."""


class VectorSpec(BaseModel):
    """A declared output vector: its ring and its largest element.

    Attributes:
        limbs: 64-bit words per element, 1 to 4.
        fraction_bits: elements are rounded to multiples of 2^-fraction_bits.
        bound: largest absolute value of one department's element; ``bound`` times the number of departments must fit.
        terms: how many float64 numbers one element may be the exact sum of. With 2, the worker returns shape (2, n) and
            an element carries 106 bits, although only the sum is ever sent.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    limbs: int = Field(ge=1, le=4)
    fraction_bits: int = Field(ge=0, le=200)
    bound: float = Field(gt=0, allow_inf_nan=False)
    terms: int = Field(ge=1, le=3, default=1)


COHORT_SPEC: Final = VectorSpec(limbs=1, fraction_bits=0, bound=2.0**48)


@dataclass(frozen=True, slots=True)
class Segment:
    """One vector's place in the mask stream: ``length`` elements of ``limbs`` words."""

    name: str
    length: int
    limbs: int

    @property
    def words(self) -> int:
        """How many words it takes of the stream."""
        return self.limbs * self.length


def layout(specs: Mapping[str, VectorSpec], lengths: Mapping[str, int]) -> tuple[Segment, ...]:
    """The order in which vectors consume a mask stream: the cohort, then the vectors by name.

    Args:
        specs: the action's declared vectors.
        lengths: how many elements of each the request asks for.

    Raises:
        KeyError: a length is given for an undeclared vector.
    """
    named = tuple(Segment(name, lengths[name], specs[name].limbs) for name in sorted(lengths))
    return (Segment(COHORT, 1, COHORT_SPEC.limbs), *named)
