from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation import rowsets
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.rowsets import RowSet
from shuyan.federation.schema import Column

ROWS = 1045


@st.composite
def row_sets(draw: st.DrawFn) -> RowSet:
    if draw(st.booleans()):
        return RowSet.everything(draw(st.sampled_from([0, ROWS])))
    return RowSet.of(np.array(draw(st.lists(st.integers(0, ROWS - 1), max_size=60)), dtype=np.int64), ROWS)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), st.dictionaries(st.text(max_size=5), row_sets(), max_size=4)))
def test_row_sets_survive_the_way_and_the_database(sets: dict[str, dict[str, RowSet]]) -> None:
    read = rowsets.decode(rowsets.encode(sets))
    assert {name: set(labelled) for name, labelled in read.items()} == {
        name: set(labelled) for name, labelled in sets.items() if labelled}
    for name, labelled in sets.items():
        for label, rows in labelled.items():
            for copy in (read[name][label], RowSet.restored(rows.stored())):
                assert (copy.universe, copy.count, copy.digest()) == (rows.universe, rows.count, rows.digest())
                assert (copy.filled() == rows.filled()).all()


@settings(deadline=None)
@given(st.binary(max_size=200) | st.tuples(st.integers(0, 400), st.integers(0, 255)))
def test_nothing_else_is_read(change: bytes | tuple[int, int]) -> None:
    """Other bytes, and one byte changed anywhere: an error, or a set within the resource."""
    good = rowsets.encode({"air": {"rows": RowSet.of(np.arange(500), ROWS), "few": RowSet.of(np.array([3, 999]), ROWS)}})
    if isinstance(change, tuple):
        at, value = change
        data = good[:at] + bytes([value]) + good[at + 1 :]
    else:
        data = b"RWS1" + change
    try:
        read = rowsets.decode(data)
    except ValueError:
        return
    for labelled in read.values():
        for rows in labelled.values():
            assert rows.count == rowsets.count(rows.filled()) <= max(rows.universe, 0)


@pytest.mark.parametrize("universe", [-1, 1 << 33, True, 3.0, "3", None])
def test_sizes_that_cannot_be_are_refused(universe: object) -> None:
    head = json.dumps({"sets": [{"resource": "a", "label": "", "universe": universe, "kind": "all", "bytes": 0}]}).encode()
    with pytest.raises(ValueError, match="malformed"):
        rowsets.decode(b"RWS1" + len(head).to_bytes(4, "little") + head)


def test_rows_are_collected_in_memory_and_in_place(tmp_path: Path) -> None:
    schema = {"x": Column("x", "integer"), "y": Column("y", "number")}
    files = []
    for part, size in enumerate((1000, 37, 5)):
        files.append(str(tmp_path / f"{part}.parquet"))
        duckdb.sql(f"COPY (SELECT i AS x, i % 10 + {part}.0 AS y FROM range({size}) t(i)) TO '{files[-1]}' (FORMAT parquet)")
    table = TableSource.of_files("t", files, "parquet", schema, ["x", "y"])
    for in_place in (True, False):
        inputs = Inputs.from_tables([table], in_place=in_place)
        found = rowsets.collect(inputs, "t", {"rows": "x < 20", "none": "x < 0", "all": "", "true": "x >= 0"})
        assert {label: rows.count for label, rows in found.items()} == {"rows": 45, "none": 0, "all": 0, "true": 1042}
        assert found["all"].digest() == found["true"].digest() == "all"
        expected = [*range(20), *range(1000, 1020), *range(1037, 1042)]
        assert found["rows"].digest() == RowSet.of(np.array(expected), 1042).digest()
        inputs.close()


def test_many_rows_keep_their_order_and_nulls_are_outside(tmp_path: Path) -> None:
    file, size = str(tmp_path / "t.parquet"), 400_000
    duckdb.sql(f"COPY (SELECT CASE WHEN i % 7 = 0 THEN NULL ELSE hash(i) % 100 END::INTEGER AS x FROM range({size}) t(i)) TO '{file}' "
               "(FORMAT parquet, ROW_GROUP_SIZE 20000)")
    values = duckdb.sql(f"SELECT coalesce(x, 99) AS x FROM '{file}'").fetchnumpy()["x"]
    table = TableSource.of_files("t", [file], "parquet", {"x": Column("x", "integer")}, ["x"])
    for in_place in (True, False):
        inputs = Inputs.from_tables([table], in_place=in_place, threads=3)
        for conditions in ({"few": "o.x < 50"}, {"few": "o.x < 50", "none": "o.x > 100", "true": "o.x IS NULL OR o.x >= 0"}):
            found = rowsets.collect(inputs, "t", conditions, alias="o")
            assert found["few"].digest() == RowSet.where(values < 50).digest()
            if len(found) > 1:
                assert found["none"].count == 0
                assert found["true"].digest() == "all"
        inputs.close()


def test_a_row_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        RowSet.of(np.array([1045]), ROWS)
