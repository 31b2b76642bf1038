"""Queries with differential privacy: right up to the announced error, and only what can be bounded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy.bounding import Contribution, Scale
from shuyan.federation.schema import Column
from shuyan.federation.sql import noisy_moments, noisy_ranks, noisy_table
from shuyan.federation.sql.chi2 import chi_square
from shuyan.federation.sql.cores import Aggregate, Grid
from shuyan.federation.sql.explain import explain
from shuyan.federation.sql.terms import GrantTerms
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

SCHEMA = {"pid": Column("pid", "string", identifier=True), "ward": Column("ward", "string", domain=("a", "b", "c")),
          "cost": Column("cost", "number", lower=0.0, upper=100.0), "days": Column("days", "integer", lower=0, upper=30),
          "free": Column("free", "number")}
TERMS = {"unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1, "delta": 1e-6,
         "rho_nano": 10**9, "honest_fraction": 0.5}


def _visits(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {"pid": np.array([f"p{seed}-{number}" for number in range(4000)]), "ward": random.choice(["a", "b"], 4000),
            "cost": random.uniform(0, 100, 4000), "days": random.integers(0, 31, 4000), "free": random.uniform(0, 1, 4000)}


TABLES = [_visits(seed) for seed in range(3)]


# Where one dear day leads to another.
LEANING = [table | {"cost": np.clip(table["cost"] / 2 + 1.5 * table["days"], 0, 100)} for table in TABLES]


def _federation(tables: list[dict[str, Any]]) -> LocalFederation:
    return LocalFederation({f"d{place}": {"visits": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(tables)},
                           grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)})


def _ask(sql: str, tables: list[dict[str, Any]] = TABLES, **params: Any) -> dict[str, Any]:
    with _federation(tables) as federation:
        return federation.run("query", {"sql": sql, "rho_nano": 10**8, **params})


def test_figures_are_right_within_their_announced_error() -> None:
    sql = ("SELECT ward, count(*) n, round(avg(cost), 6) m, sum(days) s, stddev_samp(cost) d, avg(CAST(cost > 50 AS INT)) AS half, "
           "histogram(days, 0, 30, 3) h, 100 * avg(cost) AS percent FROM visits GROUP BY ward HAVING count(*) > 1000 ORDER BY ward")
    content = _ask(sql)
    assert content["release"] == "dp"
    assert content["privacy"]["rho_nano"] <= 10**8
    assert [row[0] for row in content["rows"]] == ["a", "b"]
    noise = {entry["column"]: entry for entry in content["noise"]}
    assert set(noise) == {"n", "m", "s", "d", "half", "h"}
    ward, cost, days = (np.concatenate([table[name] for table in TABLES]) for name in ("ward", "cost", "days"))
    for place, row in enumerate(content["rows"]):
        mine = ward == row[0]
        exact = [mine.sum(), cost[mine].mean(), days[mine].sum(), cost[mine].std(ddof=1), (cost[mine] > 50).mean()]
        for name, found, wanted in zip(("n", "m", "s", "d", "half"), row[1:6], exact, strict=True):
            assert abs(found - wanted) <= 6 * noise[name]["sd"][place] + 1e-3, name
        assert np.abs(np.array(row[6]) - np.histogram(days[mine], bins=[0, 10, 20, 30])[0]).max() <= 6 * noise["h"]["sd"][place] + 1
        assert row[7] == pytest.approx(100 * row[2], rel=1e-4)


def test_an_empty_group_is_answered_like_any_other() -> None:
    content = _ask("SELECT ward, count(*) n FROM visits GROUP BY ward ORDER BY ward")
    assert [row[0] for row in content["rows"]] == ["a", "b", "c"]
    assert content["rows"][2][1] < 6 * content["noise"][0]["sd"][2] + 1


@pytest.mark.parametrize("sql", [
    "SELECT sum(free) FROM visits", "SELECT sum(cost * 2) FROM visits",
    "SELECT corr(cost, free) FROM visits", "SELECT covariance_matrix(cost, days, cost + days) FROM visits",
    "SELECT count(*) FROM visits a JOIN visits b ON a.ward = b.ward",
    "WITH w AS MATERIALIZED (SELECT ward, count(*) n FROM visits GROUP BY ward) SELECT count(*) FROM w",
])
def test_what_cannot_be_bounded_is_refused(sql: str) -> None:
    with pytest.raises(ProblemError) as refused:
        _ask(sql)
    assert refused.value.code.startswith("sql_noise_")


def test_the_announced_error_is_that_of_the_answer() -> None:
    sql = "SELECT ward, count(*) n FROM visits GROUP BY ward ORDER BY ward"
    told = explain(sql, {"visits": [SCHEMA] * 3}, GrantTerms(release="dp", privacy=PrivacyTerms.model_validate(TERMS)), rho_nano=10**8)
    content = _ask(sql)
    assert told.refusals == []
    assert told.rounds == 1
    assert told.errors["count"][0] == content["noise"][0]["sd"][0]
    assert 0 < content["privacy"]["rho_nano"] - told.cost["rho_nano"] <= 10**8 / 5  # the number of rows used costs a little
    (refusal,) = explain("SELECT sum(free) FROM visits", {"visits": [SCHEMA] * 3}, GrantTerms(
        release="dp", privacy=PrivacyTerms.model_validate(TERMS))).refusals
    assert refusal.code == "sql_noise_bounds"


def test_dependence_and_the_number_of_values() -> None:
    sql = "SELECT count(DISTINCT ward) k, count(DISTINCT days) FILTER (WHERE days < 5) few, chi_square(ward, days) t, count(*) n FROM visits"
    content = _ask(sql)
    kinds, few, test, _ = content["rows"][0]
    assert (kinds, few) == (2, 5)  # nobody is in ward c
    assert test["dof"] == 30
    assert test["p"] > 1e-4
    assert test["cramers_v"] < 0.1
    assert content["noise"][0]["sd"] == [None]
    assert "frequent_values" in content["notes"]
    bound = [table | {"ward": np.where(table["days"] + 9 * np.random.default_rng(place).normal(size=4000) > 15, "a", "b")}
             for place, table in enumerate(TABLES)]
    test = _ask(sql, bound)["rows"][0][2]
    assert test["p"] < 1e-9
    seen = [sum(int(np.sum((table["ward"] == ward) & (table["days"] == day))) for table in bound) for ward in "ab" for day in range(31)]
    exact = chi_square(seen, 2, 31)
    assert exact is not None
    assert test["cramers_v"] == pytest.approx(exact["cramers_v"], abs=0.05)


@given(st.data())
def test_without_noise_the_test_of_independence_is_pearsons(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    counts = data.draw(st.lists(st.integers(0, 1000), min_size=rows * columns, max_size=rows * columns))
    plain, found = chi_square(counts, rows, columns), noisy_table.independence(counts, rows, columns, 0.0, least=4.0)
    assert (found is None) == (plain is None)
    if found is not None and plain is not None:
        assert found == pytest.approx(plain, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("number", "rows", "columns", "deviation"), [(300, 2, 2, 3.0), (1000, 3, 4, 20.0), (20_000, 5, 6, 40.0)])
def test_under_independence_p_values_are_uniform_in_spite_of_noise(number: int, rows: int, columns: int, deviation: float) -> None:
    random = np.random.default_rng(7)
    chances = np.outer(random.dirichlet(np.full(rows, 3.0)), random.dirichlet(np.full(columns, 3.0))).ravel()
    found = [noisy_table.independence(random.multinomial(number, chances) + random.normal(0, deviation, len(chances)), rows, columns,
                                      deviation, least=4.0) for _ in range(1000)]
    values = np.array([one["p"] for one in found if one is not None])
    assert len(values) > 900
    for level in (0.05, 0.5):  # within four standard deviations
        assert abs((values < level).mean() - level) < 4 * (level * (1 - level) / len(values)) ** 0.5


def test_covariances_and_correlations_are_right_within_their_announced_error() -> None:
    sql = ("SELECT ward, covar_samp(cost, days) c, covar_pop(days, cost) p, corr(cost, days) r, corr(cost, cost) one, covariance_matrix(cost, days, cost) m, "
           "correlation_matrix(cost, days) k, covar_samp(cost, days) FILTER (WHERE days > 20) late, var_samp(cost) v FROM visits GROUP BY ward ORDER BY ward")
    content = _ask(sql, LEANING)
    noise = {entry["column"]: entry["sd"] for entry in content["noise"]}
    ward, cost, days = (np.concatenate([table[name] for table in LEANING]) for name in ("ward", "cost", "days"))
    for place, row in enumerate(content["rows"][:2]):
        mine = ward == row[0]
        late = mine & (days > 20)
        matrix = np.cov([cost[mine], days[mine], cost[mine]])
        wanted = {"c": matrix[0, 1], "p": matrix[0, 1], "r": np.corrcoef(cost[mine], days[mine])[0, 1], "one": 1.0, "m": matrix,
                  "k": np.corrcoef(cost[mine], days[mine]), "late": np.cov(cost[late], days[late])[0, 1], "v": matrix[0, 0]}
        for (name, true), found in zip(wanted.items(), row[1:], strict=True):
            assert np.abs(np.array(found) - true).max() <= 6 * noise[name][place] + 2e-3 * np.abs(true).max(), name
        assert np.array(row[5]).shape == (3, 3)
        assert 0 < noise["r"][place] < 0.1
    assert content["rows"][2][1:] == [None] * 8  # nobody is in an empty group


@pytest.mark.parametrize(("kind", "places"), [("covar_samp", (0, 1)), ("covar_pop", (0, 0)), ("corr", (0, 1)), ("corr", (1, 2))])
def test_covariances_and_correlations_scatter_as_announced(kind: str, places: tuple[int, int]) -> None:
    random = np.random.default_rng(11)
    first, third = random.uniform(-1, 1, 5000), random.uniform(-1, 1, 5000)
    held = np.array([first, 0.8 * first + 0.2 * third, third])
    asked = Aggregate(kind, "DOUBLE", 0, places, (2,))
    wanted, columns = noisy_moments.pairs(asked), list(dict.fromkeys(places))
    deviations = {"count": 12.0, "sum": 9.0, "square": 7.0}
    scales = [Scale(0.0, 100.0), Scale(-3.0, 5.0), Scale(1.0, 2.0)]

    def once() -> tuple[float, float]:
        value, deviation = noisy_moments.moments(
            columns, wanted, [5000 + random.normal(0, 12) for _ in columns], [held[one].sum() + random.normal(0, 9) for one in columns],
            [held[one] @ held[other] + random.normal(0, 7) for one, other in wanted], [scales[one] for one in columns], deviations).value(asked, 4.0)
        assert deviation is not None
        return float(value), deviation

    size = scales[places[0]].half * scales[places[1]].half
    true = {"corr": np.corrcoef(held)[places], "covar_pop": size * np.cov(held, ddof=0)[places], "covar_samp": size * np.cov(held)[places]}[kind]
    value, deviation = np.array([once() for _ in range(3000)]).T
    spread = np.sqrt(np.mean(np.square(value - true)) / np.mean(np.square(deviation)))
    print(f"[figure] {kind}{places}: errors of {spread:.3f} times the announced ones")
    assert spread == pytest.approx(1.0, abs=0.06)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=3, max_size=40))
def test_without_noise_a_covariance_is_the_exact_one(rows: list[tuple[float, float]]) -> None:
    held = np.array(rows).T
    asked = Aggregate("covariance_matrix", "DOUBLE[][]", 0, (0, 1), (2,))
    found, deviation = noisy_moments.moments(
        [0, 1], noisy_moments.pairs(asked), [len(rows)] * 2, [float(one.sum()) for one in held],
        [float(held[one] @ held[other]) for one, other in noisy_moments.pairs(asked)], [Scale(-1.0, 1.0)] * 2,
        {"count": 0.0, "sum": 0.0, "square": 0.0}).value(asked, 4.0)
    assert deviation == 0
    assert np.array(found) == pytest.approx(np.cov(held), abs=1e-12)


def test_order_statistics_are_right_within_their_announced_error() -> None:
    sql = ("SELECT ward, median(cost) m, quantile_cont(cost, [0.1, 0.9]) q, quantile_disc(days, 0.25) d, min(cost) lo, max(cost) hi, "
           "median(cost) FILTER (WHERE days > 20) late FROM visits GROUP BY ward ORDER BY ward")
    content = _ask(sql)
    noise = {entry["column"]: entry["sd"] for entry in content["noise"]}
    ward, cost, days = (np.concatenate([table[name] for table in TABLES]) for name in ("ward", "cost", "days"))
    grain = 100 / 1024
    for place, (name, m, q, d, lo, hi, late) in enumerate(content["rows"][:2]):
        mine = ward == name
        assert abs(m - np.median(cost[mine])) <= 6 * noise["m"][place] + grain
        assert np.abs(np.array(q) - np.quantile(cost[mine], [0.1, 0.9])).max() <= 6 * noise["q"][place] + grain
        assert abs(d - np.quantile(days[mine], 0.25, method="inverted_cdf")) <= 1
        assert abs(late - np.median(cost[mine & (days > 20)])) <= 6 * noise["late"][place] + grain
        # An extreme has values beyond it, or next to none.
        assert 0 <= lo < 5
        assert 95 < hi <= 100
    assert content["rows"][2][1:] == [None] * 6  # an empty group's have no order
    assert noise["lo"] == [None] * 3
    assert {"coarsened_tails", "clamped_to_bounds"} <= set(content["notes"])


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantiles_scatter_as_announced(q: float) -> None:
    random = np.random.default_rng(7)
    grid = Grid(2**41, "number", step=Fraction(100, 2**41))
    places = random.integers(0, 2**41, 12_000)
    counts = noisy_ranks.nested(np.bincount(places >> 31, minlength=1024).astype(float))
    asked = Aggregate("quantile_cont", "DOUBLE", 0, (0,), ((q,), False))
    found = [noisy_ranks.Ranks.of(grid, counts + random.normal(0, 20, len(counts)), 20.0).value(asked, 4.0) for _ in range(300)]
    value, deviation = np.array(found).T
    spread = np.sqrt(np.mean(np.square(value - 100 * np.quantile(places, q) / 2**41)) / np.mean(np.square(deviation)))
    print(f"[figure] quantile {q}: errors of {spread:.2f} times the announced ones")
    assert 0.7 < spread < 1.25  # noise also makes the rows look denser or sparser around a quantile than they are


@given(st.lists(st.integers(-3, 40), min_size=2, max_size=60), st.floats(0, 1), st.integers(1, 3000))
def test_without_noise_an_order_statistic_is_the_exact_one(values: list[int], q: float, span: int) -> None:
    grid = Grid(span, "integer")
    held = np.clip(np.array(values), 0, span - 1)
    leaves = np.zeros(1 << noisy_ranks.depth(grid))
    np.add.at(leaves, held if span <= 1024 else held * 1024 // span, 1.0)
    counts = noisy_ranks.nested(leaves)
    assert len(counts) == noisy_ranks.width(grid)
    ranks = noisy_ranks.Ranks.of(grid, counts, 0.1)
    (found, _) = ranks.value(Aggregate("quantile_disc", "BIGINT", 0, (0,), ((q,), False)), 4.0)
    wanted = np.sort(held)[max(1, int(np.ceil(q * len(held) * (1 - 1e-9)))) - 1]
    assert abs(found - wanted) <= (0 if span <= 1024 else span / 1024)
    lowest, highest = (ranks.value(Aggregate(kind, "BIGINT", 0, (0,), ((), False)), 4.0)[0] for kind in ("min", "max"))
    assert lowest <= held.min() <= held.max() <= highest
    assert highest - lowest - (held.max() - held.min()) <= 2 * span / 1024


@given(st.integers(2, 2**40), st.integers(1, 5), st.randoms(use_true_random=False))
def test_one_unit_moves_counts_in_intervals_no_further_than_declared(span: int, rows: int, random: Any) -> None:
    grid = Grid(span, "integer")
    leaves = np.zeros(1 << noisy_ranks.depth(grid))
    for _ in range(rows):
        leaves[random.randrange(len(leaves))] += 1
    moved = float(np.linalg.norm(noisy_ranks.nested(leaves)))
    assert moved <= Contribution(rows, 1).counts(1, noisy_ranks.depth(grid)).l2 * (1 + 1e-12)
