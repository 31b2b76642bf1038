from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from shuyan.federation import problems
from shuyan.federation.inputs import Inputs, TableSource, WarmDatabases
from shuyan.federation.schema import Column, dimension_sql
from shuyan.problems import ProblemError

SCHEMA = {"a": Column("a", "integer"), "b": Column("b", "string"), "c": Column("c", "number")}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "cases's.csv"
    path.write_text("a,b,c\n1,x,1.5\n2,,\n")
    return path


def test_only_the_asked_columns_are_there(csv: Path) -> None:
    inputs = Inputs.from_files([csv], "csv", SCHEMA, ["a"])

    assert [row[0] for row in inputs.connection.execute("DESCRIBE data").fetchall()] == ["a"]
    assert inputs.row_count() == 2
    assert list(inputs.schema) == ["a"]
    with pytest.raises(ProblemError):
        inputs.column("b")


def test_a_column_without_a_value_is_read_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a,c,d\n1,,nan\n2,,\n")
    schema = {**SCHEMA, "d": Column("d", "number")}

    rows = Inputs.from_files([path], "csv", schema, ["c", "d"]).connection.execute("SELECT c, d, typeof(c) FROM data").fetchall()

    assert [row[0] for row in rows] == [None, None]
    assert (str(rows[0][1]), rows[1][1], rows[0][2]) == ("nan", None, "DOUBLE")


def test_parquet_reads_alike(csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "cases.parquet"
    duckdb.execute(f"COPY (FROM read_csv('{str(csv).replace(chr(39), chr(39) * 2)}')) TO '{path}' (FORMAT parquet)")

    rows = Inputs.from_files([path], "parquet", SCHEMA, ["c", "a"]).connection.execute("FROM data").fetchall()

    assert rows == [(1.5, 1), (None, 2)]


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_csv('{csv}')", "FROM read_text('{csv}')", "COPY data TO '{csv}'", "COPY data TO '{csv}' (USE_TMP_FILE false)",
        "ATTACH '{csv}.db'", "SET threads = 4", "SET enable_external_access = true", "RESET lock_configuration",
        "INSTALL httpfs", "LOAD httpfs", "FROM glob('*')", "FROM 'http://127.0.0.1/x.csv'", "FROM local_variable",
        "EXPORT DATABASE '{csv}.d'", "SET temp_directory = '{csv}.t'",
    ],
)
def test_the_database_can_do_nothing_else(statement: str, csv: Path) -> None:
    local_variable = {"a": np.zeros(1)}  # DuckDB would find it by name, were that not switched off
    inputs = Inputs.from_files([csv], "csv", SCHEMA, ["a"])
    before = csv.read_text()

    with pytest.raises(duckdb.Error):
        inputs.connection.execute(statement.format(csv=str(csv).replace("'", "''"))).fetchall()

    assert csv.read_text() == before
    assert local_variable


def test_an_unknown_column_is_named(csv: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        Inputs.from_files([csv], "csv", SCHEMA, ["a", "nope"])
    assert (caught.value.code, caught.value.args_) == (problems.UNKNOWN_COLUMN, {"column": "nope"})


def test_values_that_do_not_fit_the_declared_type_are_a_wrong_type(csv: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        Inputs.from_files([csv], "csv", {"b": Column("b", "number")}, ["b"])
    assert caught.value.code == problems.WRONG_TYPE


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("number", [1.0, 2.5, -3.0, None], ["1", "2.5", "-3", None]),
        ("boolean", [True, False], ["true", "false"]),
        ("integer", [2013], ["2013"]),
        ("string", ["东区"], ["东区"]),
    ],
)
def test_dimension_values_have_one_spelling(kind: str, values: list[object], expected: list[str | None]) -> None:
    column = Column("d", kind)  # type: ignore[arg-type]
    inputs = Inputs.from_arrays({"d": values}, {"d": column}, ["d"])

    found = inputs.connection.execute(f"SELECT {dimension_sql(column)} FROM data").fetchall()

    assert [row[0] for row in found] == expected


@pytest.fixture
def parquet(tmp_path: Path) -> list[str]:
    files = [str(tmp_path / f"{name}.parquet") for name in "xy"]
    for number, file in enumerate(files):
        duckdb.sql(f"COPY (SELECT i AS a, 'b' AS b, {number} + 0.5 AS c FROM range({number + 2}) t(i)) TO '{file}' (FORMAT parquet)")
    return files


def test_a_warm_database_keeps_nothing_from_run_to_run(parquet: list[str]) -> None:
    warm = WarmDatabases(256)
    table = TableSource.of_files("t", parquet[:1], "parquet", SCHEMA, ["a"])
    first = Inputs.from_tables([table], in_place=True, warm=warm)
    first.connection.execute("CREATE TEMP TABLE kept AS SELECT 1")
    second = Inputs.from_tables([table], in_place=True, warm=warm)

    assert first.row_count() == second.row_count() == 2
    assert [row[0] for row in second.connection.execute("DESCRIBE t").fetchall()] == ["a", "__row"]
    with pytest.raises(duckdb.CatalogException):
        second.connection.execute("FROM kept")
    first.close()
    third = Inputs.from_tables([table], in_place=True, warm=warm)
    assert [row[0] for row in third.connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()] == ["t"]


def test_views_are_made_once_for_the_same_columns_of_the_same_files(parquet: list[str]) -> None:
    warm = WarmDatabases(256)

    def columns(*wanted: str) -> list[str]:
        inputs = Inputs.from_tables([TableSource.of_files("t", parquet[:1], "parquet", SCHEMA, wanted)], in_place=True, warm=warm)
        found = [row[0] for row in inputs.connection.execute("DESCRIBE t").fetchall()]
        inputs.close()
        return found

    for _ in range(2):
        assert columns("a") == ["a", "__row"]
        assert columns("a", "c") == ["a", "c", "__row"]
    (database,) = warm._databases.values()
    assert len(database.schemas) == 2
    for place in range(40):  # of many column sets not all are kept
        inputs = Inputs.from_tables([TableSource.of_files(f"t{place}", parquet[:1], "parquet", SCHEMA, ["a"])], in_place=True, warm=warm)
        assert inputs.row_count() == 2
    (database,) = warm._databases.values()
    assert len(database.schemas) <= 16
    duckdb.sql(f"COPY (SELECT 7 AS a, 'z' AS b, true AS d) TO '{parquet[0]}' (FORMAT parquet)")  # another layout, in its place
    assert columns("a") == ["a", "__row"]


def test_a_file_that_has_gone_is_no_error_of_the_app(parquet: list[str]) -> None:
    table = TableSource.of_files("t", parquet[:1], "parquet", SCHEMA, ["a"])
    Path(parquet[0]).unlink()
    with pytest.raises(ProblemError) as caught:
        Inputs.from_tables([table], in_place=True, warm=WarmDatabases(256))
    assert caught.value.code == problems.SOURCE_UNAVAILABLE


def test_a_warm_database_reads_its_files_as_they_are_now_and_no_others(parquet: list[str]) -> None:
    warm = WarmDatabases(256, kept=1)
    tables = [TableSource.of_files("t", [file], "parquet", SCHEMA, ["a"]) for file in parquet]
    assert Inputs.from_tables(tables[:1], in_place=True, warm=warm).row_count() == 2
    Path(parquet[1]).replace(parquet[0])
    inputs = Inputs.from_tables(tables[:1], in_place=True, warm=warm)
    assert inputs.row_count() == 3
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{parquet[1]}' (FORMAT parquet)")
    with pytest.raises(duckdb.PermissionException):
        inputs.connection.execute(f"FROM read_parquet('{parquet[1]}')")
    there = 5  # noqa: F841
    for statement in ("FROM there", "SET threads = 2", "SET python_enable_replacements = true", "INSTALL httpfs"):
        with pytest.raises(duckdb.Error):
            inputs.connection.execute(statement)
    assert Inputs.from_tables(tables[1:], in_place=True, warm=warm).row_count() == 1
    assert inputs.row_count() == 3  # its own connection outlives its place among the kept ones
