"""The egress check: what a worker returned is declared, of the asked length, finite, bounded and about enough rows.

It runs in the agent's process, on the plain vectors, and hands on ring elements only. The worker is not trusted with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from shuyan.federation import problems, ring
from shuyan.federation.apps.base import AppManifest
from shuyan.federation.ring import Floats, Words
from shuyan.federation.vectors import COHORT, COHORT_SPEC, VectorSpec
from shuyan.problems import ProblemError


def check_question(
    manifest: AppManifest, message_type: str, expect: Mapping[str, int], *, max_values: int, participants: int
) -> Mapping[str, VectorSpec]:
    """Check what a request asks for before any data is read; returns the action's declared vectors.

    Raises:
        ProblemError: ``unknown_action``, ``output_undeclared``, ``output_too_large``, or ``output_out_of_bound`` where
            that many departments' largest values would not fit the ring.
    """
    specs = manifest.actions.get(message_type)
    if specs is None:
        raise ProblemError(problems.UNKNOWN_ACTION, action=message_type[:64])
    if not expect or any(name not in specs or length < 0 for name, length in expect.items()):
        raise ProblemError(problems.OUTPUT_UNDECLARED)
    if sum(expect.values()) > max_values:
        raise ProblemError(problems.OUTPUT_TOO_LARGE, maximum=max_values)
    for name in expect:
        spec = specs[name]
        try:
            ring.check_capacity(spec.bound * spec.terms, participants, spec.limbs, spec.fraction_bits)
        except ring.RingOverflow:
            raise ProblemError(problems.OUTPUT_OUT_OF_BOUND) from None
    return specs


def check_output(
    specs: Mapping[str, VectorSpec], expect: Mapping[str, int], vectors: Mapping[str, Floats], cohort: int, *,
    minimum_cohort: int,
) -> dict[str, Words]:
    """Check a worker's plain vectors and encode them, the cohort included.

    Args:
        specs: from :func:`check_question`.
        expect: the length the request asks of each vector; exactly these must be there.
        vectors: float64 of shape (length,), or (terms, length) where the app declared several terms.
        cohort: rows the answer is about.

    Raises:
        ProblemError: ``cohort_too_small``, ``output_undeclared``, ``output_not_finite``, ``output_out_of_bound``.
    """
    if isinstance(cohort, bool) or not isinstance(cohort, int) or not 0 <= cohort <= COHORT_SPEC.bound:
        raise ProblemError(problems.OUTPUT_UNDECLARED)
    if cohort < minimum_cohort:
        raise ProblemError(problems.COHORT_TOO_SMALL, minimum=minimum_cohort)
    if set(vectors) != set(expect):
        raise ProblemError(problems.OUTPUT_UNDECLARED)
    encoded = {COHORT: np.array([[cohort]], dtype=np.uint64)}
    for name in sorted(vectors):
        encoded[name] = _encode(specs[name], expect[name], vectors[name])
    return encoded


def _encode(spec: VectorSpec, length: int, vector: Floats) -> Words:
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float64:
        raise ProblemError(problems.OUTPUT_UNDECLARED)
    rows = vector.reshape(1, -1) if vector.ndim == 1 else vector
    if rows.ndim != 2 or not 1 <= rows.shape[0] <= spec.terms or rows.shape[1] != length:
        raise ProblemError(problems.OUTPUT_UNDECLARED)
    if length:
        # Two reductions without a temporary array; NaN and infinities surface in one of them.
        low, high = float(rows.min()), float(rows.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ProblemError(problems.OUTPUT_NOT_FINITE)
        if max(-low, high) > spec.bound:
            raise ProblemError(problems.OUTPUT_OUT_OF_BOUND)
    try:
        return ring.encode(rows, spec.limbs, spec.fraction_bits)
    except ring.RingOverflow:
        raise ProblemError(problems.OUTPUT_OUT_OF_BOUND) from None
