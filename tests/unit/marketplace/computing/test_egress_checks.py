"""The automatic egress checks, over results of any kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from marketplace.computing import egress
from shuyan.federation.apps.query._content import TableContent
from shuyan.trust.grants import Grant, GrantedApp, GrantedResource, ParticipantKeys
from shuyan.trust.keys import b64url


def key(number: int) -> str:
    return b64url(bytes([number]) * 32)


GRANT = Grant(
    iss="a", jti="grant_1", iat=0, nbf=0, exp=1, scenario="s", scenario_title="s", purpose="p", grantee="o", grantee_name="o",
    resources=(GrantedResource(resource_id="r", node_id="n0", name="air", columns=("pm25",)),),
    apps=(GrantedApp(name="statistics", digest="sha256:" + "0" * 64),),
    nodes=tuple(ParticipantKeys(node_id=f"n{n}", name=f"n{n}", signing_key=key(n), agreement_key=key(n + 9)) for n in range(3)),
    minimum_cohort=10, minimum_participants=3, output_forms=("statistics", "model"), max_output_values=100)
MOMENTS = {"count": 20, "sum": 40.0, "mean": 2.0, "variance": 1.0, "sd": 1.0}
STATISTICS: dict[str, Any] = {
    "kind": "statistics", "resource": "air", "rows": 30, "departments": 3, "minimum_cohort": 10,
    "tables": [{"group_by": ["year"], "suppressed": 1, "cells": [
        {"group": {"year": "2013"}, "rows": 20, "columns": {"pm25": MOMENTS}}]}],
    "histograms": [{"column": "pm25", "edges": [0.0, 1.0, 2.0], "counts": [20, None], "suppressed": 1}]}
MODEL: dict[str, Any] = {
    "kind": "model", "family": "logistic", "target": "y", "terms": ["x"], "coefficients": [0.5], "intercept": 0.1, "l2": 1.0,
    "features": [{"name": "x", "type": "number", "mean": 0.0, "sd": 1.0}], "standardise": "pooled", "rows": 30,
    "departments": 3, "rounds": 4, "converged": True, "metrics": {"accuracy": 0.9}}


def failed(content: Any, form: str = "statistics", *, participants: int = 3, rows: int = 30, grant: Grant = GRANT) -> list[str]:
    return egress.failed(egress.check_output(form, content, grant, participants=participants, rows=rows))


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    out: Any = copy.deepcopy(content)
    at = out
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    at[int(last) if last.isdigit() else last] = value
    return out


def test_what_is_in_order_passes() -> None:
    assert failed(STATISTICS) == []
    assert failed(MODEL, "model") == []


@pytest.mark.parametrize(("path", "value", "check"), [
    ("tables.0.cells.0.rows", 9, "cells"),
    ("tables.0.cells.0.columns.pm25.count", 9, "cells"),
    ("histograms.0.counts.1", 3, "cells"),
    ("histograms.0.counts.1", 0, "cells"),
    ("tables.0.cells.0.columns.pm25.count", None, "cells"),
    ("tables.0.cells.0.columns.pm25.mean", float("nan"), "finite"),
    ("tables.0.cells.0.columns.pm25.sum", float("inf"), "finite"),
    ("departments", 4, "stated_facts"),
    ("rows", 31, "stated_facts"),
    ("note", "the third row is Zhang", "shape"),
    ("rows", True, "shape"),
    ("tables.0.cells.0.group", {"name": "Zhang"}, "shape"),
    ("histograms.0.edges", [0.0, 1.0], "shape"),
    ("kind", "model", "shape"),
])
def test_each_defect_of_statistics_is_found(path: str, value: Any, check: str) -> None:
    assert check in failed(changed(STATISTICS, path, value))


@pytest.mark.parametrize(("path", "value", "check"), [
    ("coefficients", [0.5, 0.5], "shape"), ("coefficients", [float("nan")], "finite"), ("weights", [1], "shape"),
    ("family", "forest", "shape"), ("rows", 31, "stated_facts"),
])
def test_each_defect_of_a_model_is_found(path: str, value: Any, check: str) -> None:
    assert check in failed(changed(MODEL, path, value), "model")


def test_form_size_participants_and_rows_are_the_grants_to_allow() -> None:
    assert "form_allowed" in failed(MODEL, "model", grant=GRANT.model_copy(update={"output_forms": ("statistics",)}))
    assert "form_allowed" in failed(STATISTICS, "rows")
    assert "participants" in failed(STATISTICS, participants=2)
    assert "rows" in failed(STATISTICS, rows=9)
    assert "size" in failed(STATISTICS, grant=GRANT.model_copy(update={"max_output_values": 5}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20)


@given(content=JSON, form=st.sampled_from(["statistics", "model", "other"]))
def test_nothing_but_the_declared_shapes_passes_and_nothing_raises(content: Any, form: str) -> None:
    assert "shape" in failed(content, form)


@given(rows=st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_table_passes_exactly_if_every_cell_reaches_the_cohort(rows: list[int]) -> None:
    cells = [{"group": {"year": str(at)}, "rows": count, "columns": {}} for at, count in enumerate(rows)]
    content = changed(STATISTICS, "tables.0.cells", cells)
    assert ("cells" in failed(content)) == any(count < GRANT.minimum_cohort for count in rows)


TABLE: dict[str, Any] = {
    "kind": "table", "sql": "SELECT year, COUNT(*) AS n, AVG(pm25) AS m FROM air GROUP BY year", "suppressed": 0, "cells": 2,
    "columns": [{"name": "year", "type": "BIGINT"}, {"name": "n", "type": "BIGINT"}, {"name": "m", "type": "DOUBLE"}],
    "rows": [[2013, 20, 1.5], [2014, 10, None]], "rows_used": 30, "departments": 3, "minimum_cohort": 10, "release": "exact",
    "notes": []}


def failed_table(content: Any, grant: Grant = GRANT) -> list[str]:
    return egress.failed(egress.check_output("statistics", content, grant, participants=3, rows=30, content_model=TableContent))


def test_a_table_in_order_passes() -> None:
    assert failed_table(TABLE) == []
    over = "SELECT COUNT(*) AS n FROM (SELECT year, AVG(pm25) AS m FROM air GROUP BY year) AS x"
    released = {**TABLE, "sql": over, "columns": TABLE["columns"][1:2], "rows": [[2]]}
    assert failed_table(released) == []  # two groups, not two rows


@pytest.mark.parametrize(("path", "value", "check"), [
    ("rows.0.1", 9, "cells"), ("rows.0.1", 0, "cells"), ("rows.0.2", float("nan"), "finite"), ("rows.0", [1, 20], "shape"),
    ("rows_used", 31, "stated_facts"), ("departments", 4, "stated_facts"), ("release", "dp", "stated_facts"),
    ("kind", "statistics", "shape"), ("kind", "model", "shape"), ("names", ["Zhang"], "shape"), ("sql", "drop table air", "cells"),
])
def test_each_defect_of_a_table_is_found(path: str, value: Any, check: str) -> None:
    assert check in failed_table(changed(TABLE, path, value))


def test_with_noise_a_small_count_tells_nothing() -> None:
    noisy = GRANT.model_copy(update={"release": "dp"})
    assert failed(changed(STATISTICS, "tables.0.cells.0.rows", 3), grant=noisy) == []
    assert failed(changed(STATISTICS, "rows", 9999), grant=noisy) == []
    assert "stated_facts" in failed(changed(STATISTICS, "departments", 9), grant=noisy)


def test_the_apps_own_model_decides_what_fits() -> None:
    class Own(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid")
        kind: str
        rows: int
        departments: int
        pairs: tuple[int, int]

    content = {"kind": "statistics", "rows": 30, "departments": 3, "pairs": [1, 2]}

    def wrong(content: dict[str, Any]) -> list[str]:
        return egress.failed(egress.check_output("statistics", content, GRANT, participants=3, rows=30, content_model=Own))

    assert wrong(content) == []
    assert "shape" in wrong({**content, "pairs": [1]})
    assert "cells" in wrong({**content, "rows": 9})
