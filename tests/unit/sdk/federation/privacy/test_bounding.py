"""What one unit contributes at most, and that leaving a unit out changes nothing of others."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.privacy.bounding import STEP_BITS, Bounding, Contribution, Scale, bounded_relation
from shuyan.federation.schema import Column, double_sql

SCHEMA = {"pid": Column("pid", "string", identifier=True), "ward": Column("ward", "string"), "cost": Column("cost", "number")}
ROWS = st.lists(st.tuples(st.sampled_from(["p", "q", "r", "s", None]), st.sampled_from("abcd"), st.floats(-50, 150)), max_size=40)


def read(rows: list[tuple[Any, ...]], max_rows: int, salt: str = "aa") -> Inputs:
    arrays = {name: [row[place] for row in rows] for place, name in enumerate(SCHEMA)}
    source = TableSource.of_arrays("visits", arrays, SCHEMA, ["cost", "ward"],
                                   bounding=Bounding(SCHEMA["pid"], max_rows, salt))
    return Inputs.from_tables([source])


def kept(rows: list[tuple[Any, ...]], max_rows: int) -> list[tuple[Any, ...]]:
    inputs = read(rows, max_rows)
    found = inputs.connection.execute("SELECT __unit, ward, cost FROM data").fetchall()
    inputs.close()
    return sorted(found)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(1, 4), st.sampled_from("pqrs"))
def test_leaving_one_unit_out_leaves_the_others_rows(rows: list[tuple[Any, ...]], max_rows: int, unit: str) -> None:
    if not rows:
        return
    everything, without = kept(rows, max_rows), kept([row for row in rows if row[0] != unit] or [(None, "a", 0.0)], max_rows)
    mine = min(max_rows, sum(row[0] == unit for row in rows))
    assert len(everything) - len(without) == mine
    gone = list(everything)
    for row in without:
        gone.remove(row)
    assert len({row[0] for row in gone}) <= 1


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(1, 3), st.integers(1, 3))
def test_no_unit_is_in_more_groups_or_rows(rows: list[tuple[Any, ...]], max_groups: int, max_rows: int) -> None:
    if not rows:
        return
    inputs = read(rows, 100)
    relation = bounded_relation("data", inputs.unit("data"), salt=inputs.salt, max_rows=max_rows, groups=["ward"],
                                max_groups=max_groups)
    found = inputs.connection.execute(
        f"SELECT __unit, count(DISTINCT ward), count(*) FROM {relation} GROUP BY __unit").fetchall()
    inputs.close()
    for unit in {row[0] for row in rows} - {None}:
        wards = len({row[1] for row in rows if row[0] == unit})
        assert wards >= 1
    assert len(found) == len({row[0] for row in rows} - {None})
    assert all(groups <= max_groups and count <= max_rows for _, groups, count in found)


def test_which_rows_stay_is_the_nodes_secret_and_stays_the_same() -> None:
    rows = [("p", "a", float(number)) for number in range(50)]
    assert kept(rows, 3) == kept(list(reversed(rows)), 3)
    chosen = {tuple(row[2] for row in read(rows, 3, salt).connection.execute(
        "SELECT 0, 0, cost FROM data ORDER BY cost").fetchall()) for salt in ("aa", "bb", "cc")}
    assert len(chosen) == 3


def test_the_units_column_is_not_among_the_data() -> None:
    inputs = read([("Zhang San", "a", 1.0)], 1)
    names = [row[0] for row in inputs.connection.execute("DESCRIBE data").fetchall()]
    assert "pid" not in names
    assert set(inputs.schema) == {"cost", "ward"}
    assert "Zhang" not in repr(inputs.connection.execute("SELECT * FROM data").fetchall())
    assert "Zhang" not in repr(inputs.connection.execute("SELECT sql FROM duckdb_views()").fetchall())
    with pytest.raises(KeyError):
        inputs.unit("stays")
    inputs.close()


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_values_are_whole_steps_within_bounds(lower: float, width: float, values: list[float]) -> None:
    scale = Scale(lower, lower + width)
    inputs = Inputs.from_arrays({"cost": values}, SCHEMA, ["cost"])
    steps = scale.steps_sql("cost")
    found = inputs.connection.execute(
        f"SELECT cost, {steps}, {scale.square_sql(f'({steps})')}, sum({steps}) OVER () FROM data").fetchall()
    inputs.close()
    for value, step, square, _ in found:
        assert -(2**20) <= step <= 2**20
        assert 0 <= square <= 2**20
        exact = (min(max(value, lower), lower + width) - scale.middle) / scale.half
        assert step == pytest.approx(exact * 2**20, abs=0.6 + 1e-8 * abs(lower) / width * 2**20)
        assert square == pytest.approx((step / 2**20) ** 2 * 2**20, abs=0.6)
    assert found[0][3] == sum(row[1] for row in found)


@pytest.mark.parametrize(("lower", "upper"), [(5.0, 5.0), (0.0, 0.0), (0.0, 5e-324), (-1.7e308, 1.7e308)])
@pytest.mark.parametrize("value", [-1e308, 0.0, 5e-324, 5.0, 1e308])
def test_bounds_of_no_width_do_not_make_values_fail(lower: float, upper: float, value: float) -> None:
    steps = duckdb.sql(f"SELECT {Scale(lower, upper).steps_sql(double_sql(value))}").fetchall()[0][0]
    assert abs(steps) <= 1 << STEP_BITS


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(1, 4), st.sampled_from("pqrs"))
def test_sensitivities_hold_on_data(rows: list[tuple[Any, ...]], max_rows: int, unit: str) -> None:
    """The distance of the vectors of two neighbouring tables, over a table by ward and one overall."""
    def vectors(table: list[tuple[Any, ...]]) -> dict[str, np.ndarray[Any, Any]]:
        inputs = read(table or [(None, "a", 0.0)], max_rows)
        steps = Scale(0.0, 100.0).steps_sql("cost")
        wards = inputs.connection.execute(
            f"SELECT ward, count(*), sum({steps}), sum({Scale.square_sql(f'({steps})')}) FROM data"
            " GROUP BY GROUPING SETS ((), (ward))").fetchall()
        inputs.close()
        order = [None, *"abcd"]
        result = {name: np.zeros(5) for name in ("counts", "sums", "squares")}
        for ward, *figures in wards:
            for name, figure in zip(result, figures, strict=True):
                result[name][order.index(ward)] = float(figure or 0) / (1 if name == "counts" else 2**20)
        return result

    one, other = vectors(rows), vectors([row for row in rows if row[0] != unit])
    contribution = Contribution(max_rows)
    for name, bound in (("counts", contribution.counts(2)), ("sums", contribution.sums(1.0, 2)),
                        ("squares", contribution.squares(1.0, 2))):
        assert np.linalg.norm(one[name] - other[name]) <= bound.l2 + 1e-9
    assert Contribution(5, 2).units(3).l2 == pytest.approx(math.sqrt(6))
