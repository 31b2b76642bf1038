"""Queries with differential privacy: right up to the announced error, and only what can be bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
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


def _ask(sql: str, **params: Any) -> dict[str, Any]:
    with LocalFederation({f"d{place}": {"visits": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)},
                         grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS)}) as federation:
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
    "SELECT max(cost) FROM visits", "SELECT median(cost) FROM visits", "SELECT sum(free) FROM visits", "SELECT sum(cost * 2) FROM visits",
    "SELECT corr(cost, days) FROM visits", "SELECT count(DISTINCT ward) FROM visits",
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
    (refusal,) = explain("SELECT max(cost) FROM visits", {"visits": [SCHEMA] * 3}, GrantTerms(
        release="dp", privacy=PrivacyTerms.model_validate(TERMS))).refusals
    assert refusal.code == "sql_noise_aggregate"
