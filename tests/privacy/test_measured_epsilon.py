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
from federation import WARDS, federation, paired, pairs, repetitions, visits
from scipy import stats

from shuyan.federation import ring
from shuyan.federation.local import LocalFederation
from shuyan.federation.privacy import accounting
from shuyan.federation.privacy.bounding import NOISY_COUNT

DELTA = 5e-3  # so large that a few thousand trials can tell ε from something a little smaller
PARAMS = {"resource": "visits", "columns": [], "group_by": [["ward"]]}
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


def people(rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """One department: ten people with a row each in every ward, and one with so many rows."""
    wards = np.repeat(WARDS, 10 + rows)
    pids = np.array([f"{ward}-{min(number, 10)}" for ward in WARDS for number in range(10 + rows)])
    return {"pid": pids, "ward": wards, "cost": np.full(len(pids), 99.0)}


def scores(departments: LocalFederation, rho_nano: int, times: int, colluding: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """What a coordinator that knows all but one person of each ward sees of that person: one trial a ward and run.

    Args:
        colluding: departments that tell it what they sent, noise and all.
    """
    found: list[float] = []
    for edition in range(times):
        content = departments.run("statistics", {**PARAMS, "rho_nano": rho_nano, "edition": str(edition)})
        rows = [cell["rows"] for cell in content["tables"][0]["cells"]]
        for name in colluding:
            words = list(departments.nodes[name].ledger._answers.values())[-1]
            rows = [seen - told for seen, told in zip(rows, ring.decode(words["rows"], NOISY_COUNT.fraction_bits), strict=True)]
        found += rows
    return np.array(found, dtype=float)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one person", "a person of many rows", "two of three departments collude"])
def test_no_membership_test_does_better_than_announced(case: str) -> None:
    rho_nano, times = 10**9, repetitions(20, 1000)
    terms: dict[str, Any] = {"delta": DELTA}
    rows, colluding = 1, ()
    if case == "a person of many rows":
        terms["max_rows_per_unit"], rows = 4, 9
    if case.endswith("collude"):
        terms["honest_fraction"], colluding = 1 / 3, ("d1", "d2")
    others = [people(0), people(0)]
    with federation([people(rows), *others], **terms) as present, federation([people(0), *others], **terms) as absent:
        told = scores(present, rho_nano, times, colluding), scores(absent, rho_nano, times, colluding)
    found, shift = epsilon_at_least(*told), shift_at_least(*told)
    announced, allowed = accounting.epsilon(rho_nano, DELTA), math.sqrt(2 * rho_nano / accounting.NANO)
    print(f"{case}: ε at least {found:.3f}, announced {announced:.3f}; shift at least {shift:.3f}, allowed {allowed:.3f};"
          f" {len(told[0])} trials each")
    assert found <= announced
    assert shift <= allowed
    # An attack that finds nothing would prove nothing.
    assert shift > 0.5 * allowed


QUESTIONS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "components": ("components", "query.noisy_products", {"products": 6}, {}),
    "clusters": ("clustering", "train.noisy_last", {"totals": 6}, {"centres": np.array([-0.5, 0.0, 0.5, 0.0]), "weights": np.ones(2)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", QUESTIONS)
def test_no_sum_of_a_training_gives_a_person_away(case: str) -> None:
    """A coordinator that knows all but one person, who lies at the corner of the bounds, looks where that person's row points."""
    app, action, expect, arrays = QUESTIONS[case]
    more = {"clusters": 2} if app == "clustering" else {}
    (name,), share = expect, 3 / 8 if app == "clustering" else 1.0
    rho_nano = int(4 * 10**9 / share)
    row = np.array([1.0, 1, 1, 1, 1, 1]) if app == "components" else np.array([0.0, 0, 0, 1, 1, 1])  # by pair; by centre its sums and rows

    def told(present: bool) -> np.ndarray[Any, Any]:
        tables = [pairs(seed, 40, corner=present and seed == 0) for seed in range(3)]
        found = []
        with paired(tables) as departments:
            for edition in range(repetitions(100, 4000)):
                grid = departments.grid(app, {"resource": "visits", "features": ["cost", "days"], "rho_nano": rho_nano,
                                              "edition": str(edition), **more})
                total = grid.secure_sum(action, expect=expect, arrays=arrays)
                found.append(float(total[name] @ row) / float(np.linalg.norm(row)) / total.deviation(name))
        return np.array(found)

    present, absent = told(True), told(False)
    shift, allowed = shift_at_least(present, absent), math.sqrt(2 * share * rho_nano / accounting.NANO)
    found, announced = epsilon_at_least(present, absent), accounting.epsilon(int(share * rho_nano), DELTA)
    print(f"{case}: ε at least {found:.3f}, announced {announced:.3f}; shift at least {shift:.3f}, allowed {allowed:.3f}; "
          f"{len(present)} trials each")
    assert found <= announced
    assert 0.3 * allowed < shift <= allowed


@pytest.mark.slow
def test_repeating_a_question_tells_no_more() -> None:
    """Averaging: the same question a hundred times is one answer, and one charge."""
    with federation([visits(seed, 300) for seed in range(3)]) as departments:
        node = departments.nodes["d0"]
        seen = {departments.run("statistics", {**PARAMS, "rho_nano": 10**7})["rows"] for _ in range(100)}
        assert len(seen) == 1
        assert node.ledger.spent() <= 10**7
