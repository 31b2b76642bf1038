"""Standard errors, tests and confidence intervals from the inverse of the summed Hessian. Coordinator side.

Distribution functions are computed here, so that neither coordinator nor SDK needs a statistics library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from shuyan.federation.ring import Floats


@dataclass(frozen=True, slots=True)
class Reference:
    """The distribution of estimates over their standard errors: Student's t, or normal where ``degrees`` is None."""

    degrees: float | None

    @property
    def name(self) -> str:
        return "normal" if self.degrees is None else "t"

    def p_value(self, statistic: float) -> float:
        """The two-sided probability of a value as far from nought."""
        if self.degrees is None:
            return math.erfc(abs(statistic) / math.sqrt(2))
        return student_tails(abs(statistic), self.degrees)

    def quantile(self, confidence: float) -> float:
        """The half width of an interval of that confidence, in standard errors."""
        if self.degrees is None:
            return NormalDist().inv_cdf(0.5 + confidence / 2)
        wanted, low, high = 1 - confidence, 0.0, 1.0
        while student_tails(high, self.degrees) > wanted and high < 1e150:
            high *= 2
        for _ in range(200):
            middle = (low + high) / 2
            if middle in (low, high):
                break
            if student_tails(middle, self.degrees) > wanted:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def student_tails(t: float, degrees: float) -> float:
    """P(\\|T\\| > t) for Student's t: the regularised incomplete beta function at degrees/(degrees + t²)."""
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))


def incomplete_beta(a: float, b: float, x: float, rest: float | None = None) -> float:
    """I_x(a, b) by Lentz's continued fraction (Press et al., Numerical Recipes, section 6.4).

    Args:
        rest: 1 - x, where that is known better than from ``x``: near 1 it would lose its digits.
    """
    rest = 1 - x if rest is None else rest
    if x <= 0:
        return 0.0
    if rest <= 0:
        return 1.0
    below = math.log(x) if x < 0.5 else math.log1p(-rest)
    above = math.log(rest) if rest < 0.5 else math.log1p(-x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * below + b * above)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 10_000):
        for numerator in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                          -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 + numerator * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + numerator / c
            c = c if abs(c) > tiny else tiny
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def covariance(hessian: Floats, active: np.ndarray, dispersion: float) -> Floats:
    """Of all weights, shape (size, size); noughts where a weight is not estimated.

    Raises:
        numpy.linalg.LinAlgError: the Hessian is singular.
    """
    free = np.flatnonzero(active)
    inner = hessian[np.ix_(free, free)]
    scale = np.sqrt(np.diag(inner))
    found = np.zeros_like(hessian)
    found[np.ix_(free, free)] = dispersion * np.linalg.inv(inner / np.outer(scale, scale)) / np.outer(scale, scale)
    return found


def to_original(mean: Floats, sd: Floats) -> Floats:
    """The map from weights on standardised inputs (the intercept last) to weights on inputs as they are."""
    size = len(mean) + 1
    back = np.zeros((size, size))
    back[:-1, :-1] = np.diag(1 / sd)
    back[-1, :-1] = -mean / sd
    back[-1, -1] = 1.0
    return back


def table(names: list[str], estimates: Floats, variance: Floats, reference: Reference, confidence: float) -> list[dict[str, Any]]:
    """One row a weight: estimate, standard error, statistic, p-value and confidence interval.

    Args:
        variance: shape as ``estimates``; 0 where a weight was not estimated, for which the rest is None.
    """
    reach = reference.quantile(confidence)
    rows: list[dict[str, Any]] = []
    for name, estimate, square in zip(names, estimates.tolist(), variance.tolist(), strict=True):
        row: dict[str, Any] = {"term": name, "estimate": estimate, "standard_error": None, "statistic": None,
                               "p_value": None, "lower": None, "upper": None}
        if square > 0:
            error = math.sqrt(square)
            row |= {"standard_error": error, "statistic": estimate / error, "p_value": reference.p_value(estimate / error),
                    "lower": estimate - reach * error, "upper": estimate + reach * error}
        rows.append(row)
    return rows
