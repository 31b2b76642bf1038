"""How well a test for one person's membership can do, on the real pipeline: never better than the announced ε allows.

For any test that says "in" with probability p if the person is in the data and q if not, (ε, δ)-differential privacy means
p ≤ e^ε·q + δ. Measured p and q with Clopper-Pearson bounds therefore bound ε from below (Jagielski, Ullman & Oprea, "Auditing
Differentially Private Machine Learning", NeurIPS 2020, section 4).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from federation import federation, repetitions, visits
from scipy import stats

from shuyan.federation import ring
from shuyan.federation.local import LocalFederation
from shuyan.federation.privacy import accounting
from shuyan.federation.vectors import COHORT

DELTA = 5e-3  # so large that a few thousand trials can tell ε from something a little smaller
PARAMS = {"resource": "visits", "columns": [], "group_by": [[]]}
OFFSETS = (-1.0, 0.0, 1.0, 2.0)  # thresholds, in standard deviations beyond the mean without the person
DOUBT = 1e-4  # probability that a bound is wrong


def epsilon_at_least(present: np.ndarray[Any, Any], absent: np.ndarray[Any, Any]) -> float:
    """The largest ε that the observed scores rule out from below, over both directions and all thresholds."""
    best = 0.0
    doubt = DOUBT / (4 * len(OFFSETS))
    spread, middle = absent.std(), absent.mean()
    for offset in OFFSETS:
        for sign in (1, -1):
            threshold = middle + sign * offset * spread
            p, q = ((sign * scores > sign * threshold).sum() for scores in (present, absent))
            low = stats.beta.ppf(doubt, p, len(present) - p + 1) if p else 0.0
            high = stats.beta.ppf(1 - doubt, q + 1, len(absent) - q) if q < len(absent) else 1.0
            if low > DELTA:
                best = max(best, math.log((low - DELTA) / high))
    return best


def shift_at_least(present: np.ndarray[Any, Any], absent: np.ndarray[Any, Any]) -> float:
    """How many standard deviations apart Gaussian scores must be to be told apart so well, from below.

    Sharper than ε for Gaussian noise (Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX
    Security 2023); ρ-zCDP by Gaussian noise allows √(2ρ).
    """
    middle = (present.mean() + absent.mean()) / 2
    missed, false = ((present <= middle).sum(), (absent > middle).sum())
    most = [stats.beta.ppf(1 - DOUBT / 2, found + 1, len(present) - found) for found in (missed, false)]
    return float(-stats.norm.ppf(most[0]) - stats.norm.ppf(most[1]))


def scores(departments: LocalFederation, rho_nano: int, times: int, colluding: tuple[str, ...] = ()) -> np.ndarray[Any, Any]:
    """What a coordinator computes from the released sums, knowing everything but one person's membership.

    Args:
        colluding: departments that tell it what they sent, noise and all.
    """
    found = []
    for edition in range(times):
        content = departments.run("statistics", {**PARAMS, "rho_nano": rho_nano, "edition": str(edition)})
        rows = {"rows": content["tables"][0]["cells"][0]["rows"], COHORT: content["rows"]}
        for name in colluding:
            words = list(departments.nodes[name].ledger._answers.values())[-1]
            for vector in rows:
                rows[vector] -= ring.integers(words[vector])[0]
        # Weighted by how exact each is: the cohort is fifty times noisier in variance.
        found.append(rows["rows"] * 49 / 50 + rows[COHORT] / 50)
    return np.array(found, dtype=float)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one person", "a person of many rows", "two of three departments collude"])
def test_no_membership_test_does_better_than_announced(case: str) -> None:
    rho_nano, times = 10**9, repetitions(60, 3000)
    terms: dict[str, Any] = {"delta": DELTA}
    tables = [visits(seed, 300) for seed in range(3)]
    without = [dict(table) for table in tables]
    without[0] = {name: column[:-1] for name, column in tables[0].items()}
    colluding: tuple[str, ...] = ()
    if case == "a person of many rows":
        terms["max_rows_per_unit"] = 4
        more = {"pid": np.array(["p-many"] * 40), "ward": np.array(["w00"] * 40), "cost": np.full(40, 99.0)}
        tables[0] = {name: np.concatenate([without[0][name], more[name]]) for name in more}
    if case.endswith("collude"):
        terms["honest_fraction"], colluding = 1 / 3, ("d1", "d2")
    with federation(tables, **terms) as present, federation(without, **terms) as absent:
        told = scores(present, rho_nano, times, colluding), scores(absent, rho_nano, times, colluding)
    found, shift = epsilon_at_least(*told), shift_at_least(*told)
    announced, allowed = accounting.epsilon(rho_nano, DELTA), math.sqrt(2 * rho_nano / accounting.NANO)
    print(f"{case}: ε at least {found:.3f}, announced {announced:.3f}; shift at least {shift:.3f}, allowed {allowed:.3f};"
          f" {times} trials each")
    assert found <= announced
    assert shift <= allowed
    # An attack that finds nothing would prove nothing.
    assert found > 0


@pytest.mark.slow
def test_repeating_a_question_tells_no_more() -> None:
    """Averaging: the same question a hundred times is one answer, and one charge."""
    with federation([visits(seed, 300) for seed in range(3)]) as departments:
        node = departments.nodes["d0"]
        seen = {departments.run("statistics", {**PARAMS, "rho_nano": 10**7})["rows"] for _ in range(100)}
        assert len(seen) == 1
        assert node.ledger.spent() <= 10**7
