"""Accounting in zero-concentrated differential privacy (zCDP), in whole numbers.

A mechanism is ρ-zCDP if for any two neighbouring databases and every order α > 1 the Rényi divergence of its outputs is
at most αρ (Bun & Steinke, "Concentrated Differential Privacy", TCC 2016). ρ of several answers adds up, whatever was
asked and however later questions depend on earlier answers (their Lemma 2.3), so a ledger is a sum. Here ρ is counted in
*nano-ρ*, integers of 1e-9: sums are exact, and "left" is never a matter of rounding.

People read ε at a δ. The conversion is that of Canonne, Kamath & Steinke, "The Discrete Gaussian for Differential
Privacy" (NeurIPS 2020), Corollary 13, which is tighter than Bun and Steinke's.

Pure Python without dependencies: pages, the SDK and nodes all show the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

NANO: Final = 10**9
"""Nano-ρ in one ρ."""

MAX_NANO: Final = 10**15
"""The largest budget anything here is asked about: ρ of a million protects nothing."""


def epsilon(rho_nano: int, delta: float) -> float:
    """The smallest ε known for which ρ-zCDP implies (ε, δ)-differential privacy.

    The infimum over α > 1 of αρ + (ln(1/δ) − ln α)/(α − 1) + ln(1 − 1/α) (Corollary 13); every α gives a valid ε, so a
    search that ends beside the optimum errs on the safe side.

    Args:
        rho_nano: ρ in units of 1e-9; nought gives nought.
        delta: between 0 and 1.

    Raises:
        ValueError: out of range.
    """
    if rho_nano < 0 or not 0 < delta < 1:
        raise ValueError("ρ is not negative and δ lies between 0 and 1")
    if rho_nano == 0:
        return 0.0
    rho, log_delta = rho_nano / NANO, math.log(delta)

    def at(exponent: float) -> float:  # α = 1 + e^exponent
        over = math.exp(exponent)
        alpha = 1.0 + over
        return alpha * rho - (log_delta + math.log(alpha)) / over + math.log(over / alpha)

    grid = [step / 8 for step in range(-160, 321)]
    values = [at(exponent) for exponent in grid]
    best = min(range(len(grid)), key=values.__getitem__)
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if at(left) <= at(right):
            high = right
        else:
            low = left
    return max(min(at((low + high) / 2), values[best]), 0.0)


def rho_for(epsilon_: float, delta: float) -> int:
    """The largest ρ, in units of 1e-9, that costs at most ``epsilon_`` at ``delta``; at most :data:`MAX_NANO`.

    Raises:
        ValueError: out of range.
    """
    if not (math.isfinite(epsilon_) and epsilon_ >= 0):
        raise ValueError("ε is a finite number that is not negative")
    low, high = 0, 1
    while high < MAX_NANO and epsilon(high, delta) <= epsilon_:
        low, high = high, min(2 * high, MAX_NANO)
    if epsilon(high, delta) <= epsilon_:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if epsilon(middle, delta) <= epsilon_:
            low = middle
        else:
            high = middle
    return low


def compose(rhos: Iterable[int]) -> int:
    """ρ of several answers together, about the same data."""
    return sum(rhos)


def apart(rho_nano: int, times: int) -> int:
    """ρ that protects ``times`` units at once (group privacy: Bun & Steinke, Proposition 1.9)."""
    return rho_nano * times * times


def variance_for(rho_nano: int, l2: float) -> float:
    """σ² of Gaussian noise, continuous or discrete, that makes a vector of L2 sensitivity ``l2`` ρ-zCDP: Δ²/(2ρ).

    Raises:
        ValueError: nothing to spend.
    """
    if rho_nano <= 0:
        raise ValueError("noise needs a ρ above nought")
    return l2 * l2 * NANO / (2 * rho_nano)


def rho_of_shares(share: float, honest: int, l2: float, length: int) -> float:
    """ρ (not nano) of a vector under a sum of ``honest`` independent discrete Gaussians of parameter ``share``².

    A sum of discrete Gaussians is not one; how far it is from one is bounded by Kairouz, Liu & Steinke, "The Distributed
    Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation" (ICML 2021), Proposition 14: for
    ``share`` ≥ 1/2 the sum is ½(Δ/(√k·σ) + τ·√d)²-concentrated, with τ = 10·Σ_{j<k} exp(−2π²σ²·j/(j+1)).

    Args:
        share: σ of one department's noise.
        l2: Δ, in the same units.
        length: d, elements of the vector.

    Raises:
        ValueError: a share below 1/2, where the bound does not hold.
    """
    if share < 0.5:
        raise ValueError("the bound holds for σ of at least 1/2")
    return 0.5 * (l2 / (math.sqrt(honest) * share) + _tau(share, honest) * math.sqrt(length)) ** 2


def share_for(rho_nano: int, honest: int, l2: float, length: int) -> float:
    """The smallest σ of one department's noise for which :func:`rho_of_shares` is at most ρ; at least 1/2.

    Raises:
        ValueError: nothing to spend.
    """
    rho = rho_nano / NANO
    low = max(math.sqrt(variance_for(rho_nano, l2) / honest), 0.5)
    high = low * (1 + 1e-12)  # rounding must not cost privacy
    while rho_of_shares(high, honest, l2, length) > rho:
        high *= 1.25
    for _ in range(60):
        middle = (low + high) / 2
        if rho_of_shares(middle, honest, l2, length) > rho:
            low = middle
        else:
            high = middle
    return high


def _tau(share: float, honest: int) -> float:
    exponent = -2 * (math.pi * share) ** 2
    if honest < 2 or exponent < -1500:  # below what a float64 can hold, however many departments
        return 0.0
    return 10 * sum(math.exp(exponent * k / (k + 1)) for k in range(1, honest))


def discrete_variance(sigma: float) -> float:
    """The variance of the discrete Gaussian of parameter σ², which is slightly less than σ² where σ is small."""
    if sigma > 3:
        return sigma * sigma  # equal in float64
    weights = [(k, math.exp(-(k * k) / (2 * sigma * sigma))) for k in range(1, 40)]
    return 2 * sum(k * k * weight for k, weight in weights) / (1 + 2 * sum(weight for _, weight in weights))


def threshold(sigma: float, groups: int, delta: float) -> float:
    """What a noisy number of units must exceed for its group to be named, where groups are not declared beforehand.

    A group of a single unit must not show: the noisy count 1 + N(0, σ²) passes with probability at most δ/groups each, so
    that all groups of one unit stay hidden with probability 1 − δ (stability-based selection: Korolova et al., WWW
    2009; for Gaussian noise Wilkins et al., PETS 2024). The δ is spent on top of that of the accounting.

    Args:
        sigma: of the noise on the number of distinct units, over all groups alike.
        groups: groups one unit may appear in.

    Raises:
        ValueError: out of range.
    """
    if sigma <= 0 or groups < 1 or not 0 < delta < 1:
        raise ValueError("σ and groups are positive and δ lies between 0 and 1")
    low, high = 0.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        if math.erfc(middle / math.sqrt(2)) / 2 > delta / groups:
            low = middle
        else:
            high = middle
    # The discrete Gaussian reaches m no likelier than the continuous one m - 1 (Canonne, Kamath & Steinke, Prop. 25).
    return 2.0 + sigma * high
