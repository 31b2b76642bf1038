"""Groups whose values nobody declared: found with noise, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuyan.federation.apps.query import app, prepare
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.privacy.bounding import Bounding
from shuyan.federation.schema import Column
from shuyan.federation.sql import discovery
from shuyan.federation.sql.explain import explain
from shuyan.federation.sql.noisy import named_keys
from shuyan.federation.sql.terms import GrantTerms
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

SCHEMA = {"pid": Column("pid", "string", identifier=True), "town": Column("town", "string"), "code": Column("code", "integer"),
          "ward": Column("ward", "string", domain=("a", "b")), "cost": Column("cost", "number", lower=0.0, upper=100.0)}
TERMS: dict[str, Any] = {"unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1,
                         "delta": 1e-6, "rho_nano": 10**10, "honest_fraction": 0.5}
TOWNS = ("数堰镇", "石桥乡", "Oakham", "a town with quite a long name")


def _visits(seed: int, size: int = 3000) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    town = random.choice(np.array(TOWNS, dtype=object), size, p=[0.5, 0.3, 0.17, 0.03])
    town[:20] = [f"hamlet {seed}-{number}" for number in range(20)]
    return {"pid": np.array([f"p{seed}-{number}" for number in range(size)]), "town": town,
            "code": random.choice([7, 12345, -3], size), "ward": random.choice(["a", "b"], size), "cost": random.uniform(0, 100, size)}


TABLES = [_visits(seed) for seed in range(3)]


def _federation(tables: Sequence[dict[str, Any]] = TABLES, **terms: Any) -> LocalFederation:
    return LocalFederation({f"d{place}": {"visits": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(tables)},
                           grant={"release": "dp", "privacy": PrivacyTerms.model_validate(TERMS | terms)})


def _ask(sql: str, tables: Sequence[dict[str, Any]] = TABLES, *, terms: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    with _federation(tables, **(terms or {})) as federation:
        return federation.run("query", {"sql": sql, "rho_nano": 10**9, "max_keys": 8, **params})


def test_large_groups_are_found_and_small_ones_are_not() -> None:
    content = _ask("SELECT town, ward, count(*) n, avg(cost) m FROM visits GROUP BY town, ward ORDER BY town, ward")
    assert [row[:2] for row in content["rows"]] == [[town, ward] for town in sorted(TOWNS[:3]) for ward in ("a", "b")]
    towns, wards = (np.concatenate([table[name] for table in TABLES]) for name in ("town", "ward"))
    noise = {entry["column"]: entry["sd"] for entry in content["noise"]}
    for place, (town, ward, count, _) in enumerate(content["rows"]):
        assert abs(count - ((towns == town) & (wards == ward)).sum()) <= 6 * noise["n"][place] + 1
    keys = content["keys"]
    assert keys["found"] == 3
    assert keys["threshold"] > 50
    assert "found_keys" in content["notes"]
    assert content["privacy"]["rho_nano"] <= 10**9


def test_keys_are_of_their_own_type_and_may_be_worked_out() -> None:
    content = _ask("SELECT code, count(*) n FROM visits GROUP BY code ORDER BY code")
    assert [row[0] for row in content["rows"]] == [-3, 7, 12345]
    content = _ask("SELECT upper(town) || '/' || ward AS place, count(*) n FROM (SELECT town, ward FROM visits WHERE cost >= 0) "
                   "GROUP BY place HAVING count(*) > 1000 ORDER BY n DESC LIMIT 1")
    assert content["rows"][0][0].startswith("数堰镇/")


def test_nothing_is_found_where_no_group_is_large() -> None:
    tables = [{**table, "town": np.array([f"t{seed}-{number}" for number in range(3000)], dtype=object)}
              for seed, table in enumerate(TABLES)]
    content = _ask("SELECT town, count(*) n FROM visits GROUP BY town", tables)
    assert content["rows"] == []
    assert content["keys"]["found"] == 0
    assert content["privacy"]["rho_nano"] <= 10**9 // 2  # the second question was not asked


def test_a_unit_counts_once_in_a_group_and_in_few_groups() -> None:
    # One person with many rows, each in another town, and one with many rows in one: neither makes a town known.
    pid = np.array(["x"] * 500 + ["y"] * 500)
    town = np.array([f"t{number}" for number in range(500)] + ["one"] * 500, dtype=object)
    table = {"pid": pid, "town": town, "code": np.zeros(1000, dtype=int), "ward": np.array(["a"] * 1000), "cost": np.zeros(1000)}
    inputs = Inputs.from_tables([TableSource.of_arrays("visits", table, SCHEMA, ["town"], bounding=Bounding(
        SCHEMA["pid"], 1000, "00", max_groups=3))])
    asked = app.params(prepare({"sql": "SELECT town, count(*) FROM visits GROUP BY town"}, {"visits": [SCHEMA]})).asked()
    shape = asked.sketch()
    sketch = discovery.sketched(inputs, asked.plan, shape).reshape(2, shape.buckets, shape.row)
    for each in sketch:
        assert each[:, 0].sum() <= 4  # three towns of x, less those that share a bucket, and one of y
        assert each[:, 0].sum() >= 2
    terms = PrivacyTerms.model_validate(TERMS | {"max_rows_per_unit": 1000, "max_groups_per_unit": 3})
    without = {name: values[500:] for name, values in table.items()}
    other = discovery.sketched(Inputs.from_tables([TableSource.of_arrays("visits", without, SCHEMA, ["town"], bounding=Bounding(
        SCHEMA["pid"], 1000, "00", max_groups=3))]), asked.plan, shape)
    assert np.linalg.norm(sketch.ravel() - other) <= shape.sensitivity(terms).l2


@given(texts=st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=8),
                      min_size=1, max_size=5, unique=True), seed=st.integers(0, 2**32))
def test_what_prevails_in_a_bucket_is_read_back(texts: list[str], seed: int) -> None:
    shape = discovery.Sketch(16, 32)
    sums = np.zeros((2, shape.buckets, shape.row))
    for text in texts:
        for table in range(2):
            sums[table, discovery._bucket(text, table, shape)] += 1000 * np.concatenate([[1], discovery._bits([text], shape)[0]])
    noisy = sums + np.random.default_rng(seed).normal(0, 30, sums.shape)
    found = discovery.read(noisy.ravel(), shape, shape.threshold(30.0, PrivacyTerms.model_validate(TERMS)))
    assert set(found.keys) <= set(texts)
    alone = {text for text in texts if any(
        sum(discovery._bucket(other, table, shape) == discovery._bucket(text, table, shape) for other in texts) == 1
        for table in range(2))}
    assert alone <= set(found.keys)


@pytest.mark.parametrize("sql", ["SELECT town, code, count(*) FROM visits GROUP BY town, code"])
def test_only_one_key_may_be_open(sql: str) -> None:
    with pytest.raises(ProblemError) as refused:
        _ask(sql)
    assert refused.value.code == "sql_noise_one_open_key"


def test_exact_answers_have_no_open_keys() -> None:
    (refusal,) = explain("SELECT town, count(*) FROM visits GROUP BY town", {"visits": [SCHEMA] * 3}, GrantTerms()).refusals
    assert (refusal.code, refusal.clause) == ("sql_no_domain", "town")
    with LocalFederation({f"d{place}": {"visits": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)}) as exact:
        with pytest.raises(ProblemError) as refused:
            exact.run("query", {"sql": "SELECT town, count(*) FROM visits GROUP BY town"})
        assert refused.value.code == "sql_no_domain"


def test_the_announced_threshold_is_that_of_the_answer() -> None:
    sql = "SELECT town, count(*) n FROM visits GROUP BY town"
    told = explain(sql, {"visits": [SCHEMA] * 3}, GrantTerms(release="dp", privacy=PrivacyTerms.model_validate(TERMS)), rho_nano=10**9, max_keys=8)
    content = _ask(sql)
    assert told.open_key is not None
    assert told.open_key.threshold == content["keys"]["threshold"]
    assert told.rounds == 2
    assert content["privacy"]["rho_nano"] == pytest.approx(told.cost["rho_nano"], rel=0.05)


def test_a_coordinator_cannot_ask_about_keys_in_two_spellings() -> None:
    asked = app.params(prepare({"sql": "SELECT town, count(*) FROM visits GROUP BY town"}, {"visits": [SCHEMA]})).asked()
    assert named_keys(asked, '["a", "b"]').cells == 2
    for text in ('["b", "a"]', '["a","b"]', '["a", "a"]', "[]", "{}", "[1]", "x", json.dumps(["x" * 25]), json.dumps(["é"]),
                 json.dumps([f"k{number:03}" for number in range(33)])):
        with pytest.raises(ProblemError):
            named_keys(asked, text)
