"""Noise as shares: what each department adds to its own answer, so that the sum is private whoever else can be trusted.

Every department adds a discrete Gaussian of its own to each ring element, in the agent's process, after the egress check and
before masking. Of the N departments that the grant lets be asked at least ⌈h·N⌉ are taken to be honest (h is its ``honest_fraction``), so of n that
take part at least k = n − (N − ⌈h·N⌉), and at least the one whose data is to be protected; each share has the variance that k
of them need to reach the full noise. The sum is then private even against the others, who know what they added, together
with a coordinator that chose who takes part. :func:`shuyan.federation.privacy.accounting.rho_of_shares` accounts
for a sum of discrete Gaussians not being one.

The samples are OpenDP's, exact for the stated parameter (Canonne, Kamath & Steinke 2020, algorithms 1 to 3), and everything
here is whole numbers of a ring: the attack on floating-point noise (Mironov, CCS 2012) has nothing to hold on to, because
there are no gaps between the possible outputs. Where a vector's grain is much finer than its noise, answer and noise are put
on a coarser grain together: bits below the noise would be the exact answer's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from shuyan.federation import problems, ring
from shuyan.federation.privacy import Sensitivity, divide
from shuyan.federation.privacy.accounting import discrete_variance, share_for, variance_for
from shuyan.federation.ring import Words
from shuyan.federation.vectors import COHORT, COHORT_SPEC, VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

COHORT_PART: Final = 50
"""One part in so many of a question's ρ goes to the number of rows that comes with every answer."""

_SCALE_BITS: Final = 44  # of a share's σ where the grain is coarsened: samples fit 64 bits with room to spare
_FAR: Final = 50  # no sample is so many σ away (probability below 1e-500)
_NORMAL_95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class VectorNoise:
    """The noise of one vector.

    Attributes:
        rho_nano: what the vector costs.
        share: σ of one department's noise, in units of 2^(shift - fraction_bits).
        shift: bits of the ring element below the noise's grain.
        fraction_bits: the vector's.
        participants: departments that add such noise.
    """

    rho_nano: int
    share: float
    shift: int
    fraction_bits: int
    participants: int

    @property
    def deviation(self) -> float:
        """The standard deviation of the noise on one element of the sum, in the vector's units, if all are honest."""
        return math.ldexp(math.sqrt(self.participants * discrete_variance(self.share)), self.shift - self.fraction_bits)


def half_width(deviation: float) -> float:
    """Half of a 95 % interval around a figure with noise of that standard deviation."""
    return _NORMAL_95 * deviation


def honest(terms: PrivacyTerms, participants: int, departments: int | None = None) -> int:
    """How many of so many taking part are honest at least.

    Args:
        departments: that may be asked; whoever chooses among them may leave honest ones out. None: all take part.
    """
    of = participants if departments is None else max(departments, participants)
    dishonest = of - math.ceil(terms.honest_fraction * of - 1e-9)
    return max(participants - dishonest, 1)


def plan(
    sensitivities: Mapping[str, Sensitivity], specs: Mapping[str, VectorSpec], expect: Mapping[str, int],
    terms: PrivacyTerms, *, participants: int, rho_nano: int, resources: int = 1, departments: int | None = None,
) -> dict[str, VectorNoise]:
    """The noise of every vector of one question, the cohort included; coordinator and nodes derive the same.

    Args:
        sensitivities: of one department's vectors, as the app declares them; of the cohort too, where it is not just the
            rows of the resources.
        rho_nano: what the whole run may spend.
        resources: tables the answer rests on.
        departments: of the grant, see :func:`honest`.

    Raises:
        ProblemError: ``budget_too_small``, ``output_out_of_bound`` if the ring has no room for the noise.
        ValueError: a vector has no sensitivity.
    """
    if set(sensitivities) - {COHORT} != set(expect):
        raise ValueError("exactly the vectors of the question need a sensitivity")
    rows = sensitivities.get(COHORT) or Sensitivity(float(terms.max_rows_per_unit * resources), integral=True)
    parts = divide({name: sensitivities[name] for name in sorted(expect)}, rho_nano)
    cohort_nano = max(sum(parts.values()) // COHORT_PART, 1)
    # The cohort's part is taken from the others', so that the question costs what was to be spent.
    parts = {name: part - math.ceil(part / COHORT_PART) for name, part in parts.items()}
    if any(part < 1 for part in parts.values()):
        raise ProblemError(problems.BUDGET_TOO_SMALL)
    k = honest(terms, participants, departments)
    planned = {COHORT: _vector(rows, COHORT_SPEC, 1, cohort_nano, k, participants)}
    for name, part in parts.items():
        planned[name] = _vector(sensitivities[name], specs[name], expect[name], part, k, participants)
    return planned


def cost(noise: Mapping[str, VectorNoise]) -> int:
    """What a question costs, in nano-ρ."""
    return sum(entry.rho_nano for entry in noise.values())


def _vector(sensitivity: Sensitivity, spec: VectorSpec, length: int, rho_nano: int, k: int,
            participants: int) -> VectorNoise:
    if not (math.isfinite(sensitivity.l2) and sensitivity.l2 > 0):
        raise ValueError("a sensitivity is positive and finite")
    exact = math.ldexp(sensitivity.l2, spec.fraction_bits)
    fine = math.sqrt(variance_for(rho_nano, exact) / k)
    shift = max(math.frexp(fine)[1] - _SCALE_BITS, 0)
    cells = math.sqrt(min(sensitivity.cells or length, length))
    # Rounding moves an element that a unit moves by up to one more unit: once in encoding it, once in coarsening it.
    rounding = cells if not sensitivity.integral else 0.0
    l2 = math.ldexp(exact + rounding, -shift) + (cells if shift else 0.0)
    share = share_for(rho_nano, k, l2 * (1 + 1e-12), max(length, 1))
    try:
        ring.check_capacity(spec.bound * spec.terms + math.ldexp(_FAR * share, shift - spec.fraction_bits),
                            max(participants, 1), spec.limbs, spec.fraction_bits)
    except ring.RingOverflow:
        raise ProblemError(problems.OUTPUT_OUT_OF_BOUND) from None
    return VectorNoise(rho_nano, share, shift, spec.fraction_bits, participants)


def add_noise(words: Mapping[str, Words], noise: Mapping[str, VectorNoise]) -> None:
    """Add this department's shares to its encoded vectors, in place.

    Raises:
        ValueError: a vector has no planned noise; nothing was changed then.
    """
    if set(words) != set(noise):
        raise ValueError("every vector needs its noise")
    for name in words:
        entry, target = noise[name], words[name]
        _coarsen(target, entry.shift)
        ring.add(target, _shifted(sample(entry.share, target.shape[1]), target.shape[0], entry.shift))


def sample(sigma: float, length: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Independent discrete Gaussians of parameter σ², shape (length,)."""
    if not length:
        return np.zeros(0, dtype=np.int64)
    drawn: list[int] = _sampler(sigma)([0] * length)
    return np.asarray(drawn, dtype=np.int64)


@lru_cache(maxsize=256)
def _sampler(sigma: float) -> Any:
    # One by one: opendp.prelude takes along whatever of sklearn and pandas is installed, two seconds of every process.
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    return make_gaussian(vector_domain(atom_domain(T="i64")), l2_distance(T="f64"), sigma)


def _coarsen(words: Words, shift: int) -> None:
    """Round ring elements to whole multiples of 2^shift, halves upwards, in place."""
    if shift == 0:
        return
    limb, bit = divmod(shift - 1, 64)
    half = np.zeros_like(words)
    half[limb] = np.uint64(1 << bit)
    ring.add(words, half)
    limb, bit = divmod(shift, 64)
    words[:limb] = 0
    if bit:
        words[limb] &= np.uint64((0xFFFF_FFFF_FFFF_FFFF << bit) & 0xFFFF_FFFF_FFFF_FFFF)


def _shifted(values: np.ndarray[Any, np.dtype[np.int64]], limbs: int, shift: int) -> Words:
    """``values * 2^shift`` as ring elements of shape (limbs, n)."""
    result = np.zeros((limbs, values.size), dtype=np.uint64)
    limb, bit = divmod(shift, 64)
    low = values.view(np.uint64)
    sign = (values >> np.int64(63)).view(np.uint64)
    result[limb] = low << np.uint64(bit)
    if limb + 1 < limbs:
        # What the shift pushes out of the low limb, sign included, is the next one.
        result[limb + 1] = (values >> np.int64(64 - bit)).view(np.uint64) if bit else sign
        result[limb + 2 :] = sign
    return result
