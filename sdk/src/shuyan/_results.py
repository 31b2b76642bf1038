"""Results of federated computations: tables, statistics and models, as rows, Arrow, pandas, or something that scores."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuyan._errors import ExtraMissing
from shuyan._text import t

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from shuyan._computing import Job
    from shuyan._sandbox import Trial
    from shuyan.torch import Network


class Table:
    """Rows under named columns, to be had as Python, Arrow or pandas."""

    def __init__(self, columns: list[tuple[str, str]], values: list[list[Any]]) -> None:
        self._columns, self._values = columns, values

    def __len__(self) -> int:
        return len(self._values)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self._columns]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict a row, with dates and timestamps as such."""
        return [dict(zip(self.columns, row, strict=True)) for row in self._values]

    def to_arrow(self) -> pyarrow.Table:
        """The rows as an Arrow table; a column that is all null is of type null.

        Raises:
            ExtraMissing: pyarrow is not installed.
        """
        arrow = _extra("pyarrow", "arrow")
        arrays = [arrow.array([row[place] for row in self._values]) for place in range(len(self._columns))]
        return arrow.table(arrays, names=self.columns)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas data frame.

        Raises:
            ExtraMissing: pandas is not installed.
        """
        frame: pandas.DataFrame = _extra("pandas", "pandas").DataFrame(self._values, columns=self.columns)
        return frame

    def to_csv(self, path: str | Path) -> None:
        """Write the rows as CSV (RFC 4180, UTF-8)."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(self._values)

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows as Parquet.

        Raises:
            ExtraMissing: pyarrow is not installed.
        """
        _extra("pyarrow.parquet", "arrow").write_table(self.to_arrow(), str(path))


class Result(Table):
    """The result of a job: the released one, or what it gave on mock data.

    Attributes:
        job: the job it is of, or the trial.
        content: what its app gave, as the market keeps it.
        kind: ``table``, ``statistics`` or ``model``.
    """

    def __init__(self, job: Job | Trial, answer: dict[str, Any]) -> None:
        self.job = job
        self.content: dict[str, Any] = answer["content"]
        self.digest = str(answer["digest"])
        self.participants: list[str] = list(answer["participants"])
        self.kind = str(self.content.get("kind", answer.get("form", "")))
        super().__init__(*_tabular(self.content))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.job.id or 'a trial'}: {self.kind}, {len(self._values)} rows>"


class Model(Result):
    """A released model: what it was trained on, how well it does, and scoring with it on this machine."""

    @property
    def family(self) -> str:
        return str(self.content["family"])

    @property
    def metrics(self) -> dict[str, Any]:
        """How well it does, over all departments together."""
        found: dict[str, Any] = self.content.get("metrics", {})
        return found

    @property
    def evaluation(self) -> dict[str, Any]:
        """Metrics in sample, on rows held out and by fold, as far as its family gives them."""
        found: dict[str, Any] = self.content.get("evaluation") or {"in_sample": self.metrics}
        return found

    def score(self, **features: Any) -> dict[str, Any]:
        """Score one case; no call to the market, nothing is counted.

        Raises:
            ProblemError: ``feature_missing`` and its like, naming the feature.
        """
        from shuyan import scoring

        return scoring.score(self.content, features)

    def to_torch(self) -> Network:
        """A neural network as a PyTorch module, to go on with it.

        Raises:
            ExtraMissing: PyTorch is not installed.
            ValueError: it is a model of another family.
        """
        _extra("torch", "torch")
        from shuyan.torch import Network

        return Network(self.content)


_READ: Final[dict[str, Callable[[str], Any]]] = {"DATE": dt.date.fromisoformat, "TIMESTAMP": dt.datetime.fromisoformat}
"""Types that JSON writes as text."""


def _tabular(content: dict[str, Any]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    kind = content.get("kind")
    if kind == "table":
        columns = [(str(column["name"]), str(column["type"]).upper()) for column in content["columns"]]
        read = [_READ.get(type_) for _, type_ in columns]
        return columns, [[_read(value, how) for value, how in zip(row, read, strict=True)] for row in content["rows"]]
    if kind == "statistics" and isinstance(content.get("tables"), list):  # a developer's app may mean something else by it
        return _of_statistics(content)
    if kind == "model" and isinstance(content.get("terms"), list) and isinstance(content.get("coefficients"), list):
        rows = [[term, value] for term, value in zip(content["terms"], content["coefficients"], strict=False)]
        return [("term", "VARCHAR"), ("coefficient", "DOUBLE")], rows
    return [], []


def _read(value: Any, how: Any) -> Any:
    if how is None or not isinstance(value, str):
        return value
    try:
        return how(value)
    except ValueError:
        return value


def _of_statistics(content: dict[str, Any]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """All tables below one another: the dimensions, the rows, and each figure of each column."""
    dimensions = list(dict.fromkeys(name for table in content["tables"] for name in table["group_by"]))
    described = list(dict.fromkeys(name for table in content["tables"] for cell in table["cells"] for name in cell["columns"]))
    figures = ("count", "sum", "mean", "variance", "sd")
    names = [*dimensions, "rows", *(f"{column}_{figure}" for column in described for figure in figures)]
    rows = [
        [*(cell["group"].get(name) for name in dimensions), cell["rows"],
         *(cell["columns"].get(column, {}).get(figure) for column in described for figure in figures)]
        for table in content["tables"] for cell in table["cells"]]
    return [(name, "") for name in names], rows


def _extra(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ExtraMissing(t("未安装 {module}，请运行 pip install 'shuyan[{extra}]'。",
                             "{module} is not installed: pip install 'shuyan[{extra}]'.", module=module.partition(".")[0],
                             extra=extra)) from error
