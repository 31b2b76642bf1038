from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shuyan.federation import problems
from shuyan.federation.apps.statistics import StatisticsParams
from shuyan.federation.apps.statistics._app import app
from shuyan.federation.local import LocalFederation
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.trust.grants import SoleValues

from .conftest import SCHEMA, department

Federate = Callable[..., LocalFederation]
TABLES = [department(seed, rows) for seed, rows in ((1, 200), (2, 350), (3, 90), (4, 41))]
POOLED = {name: np.concatenate([table[name] for table in TABLES]) for name in TABLES[0]}


def described(cell: dict[str, Any], name: str, values: np.ndarray) -> None:
    """Check one cell's column against numpy on the pooled values."""
    values = values.astype(float)
    found = cell["columns"][name]
    assert found["count"] == len(values)
    assert found["sum"] == pytest.approx(math.fsum(values), rel=1e-15)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-14)
    assert found["variance"] == pytest.approx(values.var(ddof=1), rel=1e-13)
    assert found["sd"] == pytest.approx(values.std(ddof=1), rel=1e-13)


def test_one_table_equals_numpy_on_the_pooled_data(federate: Federate) -> None:
    content = federate(TABLES).run("statistics", {"resource": "cases", "columns": ["amount", "age", "paid"]})

    assert (content["kind"], content["rows"], content["departments"]) == ("statistics", 681, 4)
    (table,) = content["tables"]
    (cell,) = table["cells"]
    assert (table["group_by"], table["suppressed"], cell["group"], cell["rows"]) == ([], 0, {}, 681)
    for name in ("amount", "age", "paid"):
        described(cell, name, POOLED[name])


def test_groups_equal_numpy_on_the_pooled_data(federate: Federate) -> None:
    content = federate(TABLES).run("statistics", {
        "resource": "cases", "columns": ["amount"], "group_by": [["district", "year"], [], ["year"]],
    })

    by_both, overall, by_year = content["tables"]
    assert [len(table["cells"]) for table in content["tables"]] == [8, 1, 2]
    for cell in by_both["cells"]:
        group = cell["group"]
        chosen = (POOLED["district"] == group["district"]) & (POOLED["year"] == float(group["year"]))
        described(cell, "amount", POOLED["amount"][chosen])
    for cell in by_year["cells"]:
        described(cell, "amount", POOLED["amount"][POOLED["year"] == float(cell["group"]["year"])])
    described(overall["cells"][0], "amount", POOLED["amount"])


def test_histograms_equal_numpy_on_the_pooled_data(federate: Federate) -> None:
    histograms = [{"column": "age", "lower": 18, "upper": 90, "bins": 7},
                  {"column": "amount", "lower": 999_995.0, "upper": 1_000_005.0, "bins": 13}]
    content = federate(TABLES, minimum_cohort=1).run("statistics", {
        "resource": "cases", "columns": [], "histograms": histograms,
    })

    for asked, found in zip(histograms, content["histograms"], strict=True):
        counts, _ = np.histogram(POOLED[asked["column"]].astype(float), bins=np.array(found["edges"]))
        assert found["counts"] == counts.tolist()


@pytest.mark.parametrize("bins", [3, 7, 10, 49])
def test_values_on_an_edge_fall_as_the_published_edges_say(federate: Federate, bins: int) -> None:
    edges = StatisticsParams(resource="r", columns=[], histograms=[{"column": "amount", "lower": 0.1, "upper": 0.7, "bins": bins}],
                             ).histograms[0].edges()
    table = department(1, len(edges) * 3)
    table["amount"] = np.array([np.nextafter(edge, towards) for edge in edges for towards in (-1.0, edge, 1.0)])
    content = federate([table] * 3, minimum_cohort=1).run("statistics", {
        "resource": "cases", "columns": [], "histograms": [{"column": "amount", "lower": 0.1, "upper": 0.7, "bins": bins}],
    })

    counts, _ = np.histogram(np.tile(table["amount"], 3), bins=np.array(edges))
    assert content["histograms"][0]["counts"] == counts.tolist()


def test_null_nan_and_infinite_values_are_no_observations_and_nulls_form_no_group(federate: Federate) -> None:
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    for table in tables:
        amount = table["amount"].astype(object)
        amount[:4] = [None, math.nan, math.inf, -math.inf]
        table["amount"] = amount
        table["district"][:10] = None
        table["district"][10:12] = "undeclared"
    content = federate(tables).run("statistics", {
        "resource": "cases", "columns": ["amount"], "group_by": [[], ["district"]],
        "histograms": [{"column": "amount", "lower": 0, "upper": 2e6, "bins": 1}],
    })

    overall, by_district = content["tables"]
    assert overall["cells"][0]["rows"] == 180
    kept = np.concatenate([table["amount"][4:] for table in tables]).astype(float)
    described(overall["cells"][0], "amount", kept)
    assert sum(cell["rows"] for cell in by_district["cells"]) == 3 * 48
    assert content["histograms"][0]["counts"] == [3 * 56]


def test_cells_and_bins_about_too_few_rows_are_not_released(federate: Federate) -> None:
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    for table in tables:
        table["district"] = np.array(["east"] * 40 + ["north"] * 14 + ["south"] * 5 + ["west"], dtype=object)
        table["amount"] = np.array([1.0] * 40 + [2.0] * 19 + [3.0])
    content = federate(tables, minimum_cohort=10).run("statistics", {
        "resource": "cases", "columns": ["amount"], "group_by": [["district"]],
        "histograms": [{"column": "amount", "lower": 0.5, "upper": 3.5, "bins": 3}],
    })

    (table,) = content["tables"]
    # west has 3 rows; south, the next smallest, must go too, or the total would give west away
    assert [cell["group"]["district"] for cell in table["cells"]] == ["east", "north"]
    assert table["suppressed"] == 2
    assert content["histograms"][0]["counts"] == [120, None, None]


def test_a_column_with_too_few_observations_is_left_out_of_its_cell(federate: Federate) -> None:
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    for table in tables:
        amount = table["amount"].astype(object)
        amount[2:] = None
        table["amount"] = amount
    content = federate(tables).run("statistics", {"resource": "cases", "columns": ["amount", "age"]})

    assert list(content["tables"][0]["cells"][0]["columns"]) == ["age"]


def test_departments_need_not_have_seen_every_value(federate: Federate) -> None:
    """A domain in the parameters may be wider than one department's, never narrower."""
    params = {"resource": "cases", "columns": [], "group_by": [["year"]]}
    wider = federate(TABLES).run("statistics", {**params, "domains": {"year": ["2022", "2023", "2024"]}})
    assert [cell["group"]["year"] for cell in wider["tables"][0]["cells"]] == ["2023", "2024"]

    with pytest.raises(NodeFailure) as caught:
        federate(TABLES).run("statistics", {**params, "domains": {"year": ["2024"]}})
    assert caught.value.code == problems.DOMAIN_MISMATCH


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"columns": ["a", "a"]}, "columns"),
        ({"columns": "a"}, "columns"),
        ({"columns": [], "extra": 1}, "extra"),
        ({"columns": [], "group_by": [["a", "a"]]}, "group_by"),
        ({"columns": [], "group_by": [["a", "b"], ["b", "a"]]}, "group_by"),
        ({"columns": [], "histograms": [{"column": "a", "lower": 1, "upper": 1, "bins": 3}]}, "histograms.0"),
        ({"columns": [], "histograms": [{"column": "a", "lower": 0, "upper": 1, "bins": True}]}, "histograms.0.bins"),
        ({"columns": [], "domains": {"a": ["x", "x"]}}, "domains"),
        ({}, "columns"),
        ({"columns": [], "histograms": [{"column": "a", "lower": math.nan, "upper": 1, "bins": 3}]}, "params"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        app.params({"resource": "cases", **params})
    assert (caught.value.code, caught.value.field) == (problems.BAD_PARAMS, field)
    assert field in caught.value.text("zh")


def test_a_grouping_by_something_without_declared_values_is_refused(federate: Federate) -> None:
    with pytest.raises(ProblemError) as caught:
        federate(TABLES).run("statistics", {"resource": "cases", "columns": [], "group_by": [["note"]]})
    assert caught.value.code == problems.NOT_A_DIMENSION
    assert SCHEMA["note"].domain == ()


def test_one_departments_group_is_released_only_where_the_grant_lets_it(federate: Federate) -> None:
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    for table, district in zip(tables, ("east", "north", "north"), strict=True):
        table["district"][:] = district
        table["district"][:12] = "south"
    params = {"resource": "cases", "columns": ["age"], "group_by": [["district"], []]}
    held = federate(tables).run("statistics", params)["tables"][0]
    assert [cell["group"]["district"] for cell in held["cells"]] == ["north"]
    assert held["suppressed"] == 3  # east, south so that east cannot be worked out, and west where nobody is
    shown = federate(tables, own_figures=True).run("statistics", params)["tables"][0]
    assert [cell["group"]["district"] for cell in shown["cells"]] == ["east", "north", "south"]


def test_a_cell_cannot_be_worked_out_from_its_margins(federate: Federate) -> None:
    tables = [department(seed, 300) for seed in (1, 2, 3)]
    for table in tables:
        small = (table["district"] == "west") & (table["year"] == 2024.0)
        small[np.flatnonzero(small)[:2]] = False
        table["year"][small] = 2023.0  # six in all are left
    content = federate(tables).run("statistics", {
        "resource": "cases", "columns": ["age"], "group_by": [["district", "year"], ["district"], ["year"], []]})
    cells = {tuple(cell["group"].values()): cell for cell in content["tables"][0]["cells"]}
    assert ("west", "2024") not in cells
    # With all margins told, nothing short of a rectangle is enough.
    assert content["tables"][0]["suppressed"] == 4
    assert [table["suppressed"] for table in content["tables"][1:]] == [0, 0, 0]
    for cell in cells.values():
        assert list(cell["columns"]) == ["age"]


def test_one_departments_group_is_not_even_summed(federate: Federate) -> None:
    """The coordinator asks who is where first, and the second sum has nothing where one department is alone."""
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    for table, district in zip(tables, ("east", "north", "north"), strict=True):
        table["district"][:] = district
    params = {"resource": "cases", "columns": ["age"], "group_by": [["district"], []],
              "histograms": [{"column": "amount", "lower": 0, "upper": 2e6, "bins": 3}]}
    tables[0]["amount"][:3] = 1.5e6  # a bin of its own
    federation = federate(tables, minimum_cohort=1)
    grid = federation.grid("statistics", params)
    asked, ask = [], grid.secure_sum
    grid.secure_sum = lambda *args, **options: asked.append(ask(*args, **options)) or asked[-1]  # type: ignore[method-assign]
    content = app.run(grid)

    presence, total = asked
    assert presence.integers("present")[:4] == [1, 2, 0, 0]
    assert set(presence.words) == {"present"}
    assert total.integers("rows") == [0, 120, 0, 0, 180]
    assert [total.integers(name)[0] for name in ("count", "sum", "square")] == [0, 0, 0]
    assert total.integers("bins")[2] == 0
    assert [cell["group"] for cell in content["tables"][0]["cells"]] == []  # with north shown, east would be the rest
    assert content["histograms"][0]["counts"][2] is None


def test_a_node_answers_nothing_about_values_that_are_its_own(federate: Federate) -> None:
    """Whatever the coordinator asks for: the grant says which values one department alone declares."""
    tables = [department(seed, 60) for seed in (1, 2, 3)]
    params = {"resource": "cases", "columns": ["age"], "group_by": [["district"]], "domains": {
        "district": ["east", "north", "south", "west"]}}
    federation = federate(tables, sole_values=(SoleValues(resource="cases", column="district", values=("east",)),))
    grid = federation.grid("statistics", params)
    total = grid.secure_sum("query.tally", expect={"rows": 4}, arrays={"cells": np.ones(8)})
    assert total.integers("rows")[0] == 0
    assert all(total.integers("rows")[1:])
    content = federation.run("statistics", params)
    assert "east" not in [cell["group"]["district"] for cell in content["tables"][0]["cells"]]


def test_one_table_of_everybody_is_one_question(federate: Federate) -> None:
    rounds: list[str] = []
    federate(TABLES).run("statistics", {"resource": "cases", "columns": ["age"]},
                         progress=lambda round_, of, code, /, **_: rounds.append(code))
    assert rounds.count("round_started") == 1
