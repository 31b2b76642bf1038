"""The statistics app. Null, NaN and infinite values are not observations; a null in a dimension forms no group."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress, Question
from shuyan.federation.apps.statistics import _exact, _noisy
from shuyan.federation.apps.statistics._content import StatisticsContent
from shuyan.federation.apps.statistics._params import Histogram, StatisticsParams, needs
from shuyan.federation.grid import SecureGrid
from shuyan.federation.inputs import Inputs
from shuyan.federation.own import OwnFigures
from shuyan.federation.ring import Floats
from shuyan.federation.schema import dimension_sql, double_sql, quote
from shuyan.federation.sql.errors import DEPARTMENT_LEFT
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

PRESENCE = "query.presence"
TALLY = "query.tally"
PRESENT = VectorSpec(limbs=1, fraction_bits=0, bound=1.0)

manifest = AppManifest(
    name="statistics", version="1.0.0", title_zh="联邦统计", title_en="Federated statistics", output_form="statistics",
    actions={
        PRESENCE: {"present": PRESENT},
        TALLY: {"rows": moments.COUNT, "count": moments.COUNT, "sum": moments.SUM, "square": moments.SQUARE,
                "bins": moments.COUNT, "present": PRESENT},
        _noisy.NOISY_TALLY: {"rows": _noisy.NOISY_COUNT, "count": _noisy.NOISY_COUNT, "sum": _noisy.UNIT_SUM,
                             "square": _noisy.UNIT_SUM, "bins": _noisy.NOISY_COUNT},
    },
    questions={TALLY: Question(arrays=("cells",))},
)

client_app = ClientApp()


def expect(params: StatisticsParams) -> dict[str, int]:
    """The vectors' lengths: ``rows`` per cell; ``count``, ``sum``, ``square`` per cell and column; ``bins``."""
    cells = params.cell_count()
    lengths = {"rows": cells, "bins": sum(histogram.bins for histogram in params.histograms)}
    lengths |= dict.fromkeys(("count", "sum", "square"), cells * len(params.columns))
    return {name: length for name, length in lengths.items() if length}


def arrays(params: StatisticsParams, action: str) -> dict[str, int]:
    """``cells``: 1 for each figure that may leave, in the order of :func:`_exact.presence`."""
    return {"cells": _exact.presence_length(params)} if action == TALLY and params.split else {}


# --- on a node ---------------------------------------------------------------------------------------------------


@client_app.query("presence")  # type: ignore[untyped-decorator,unused-ignore]
def presence(message: Message, context: Context) -> Message:
    """In which cells and bins this department has anything at all."""
    inputs, params = context.inputs, context.params
    present = _exact.presence(_tallied(inputs, params)) * _permitted(params, context.own)
    return _flower.reply(message, {"present": present}, inputs.row_count())


@client_app.query("tally")  # type: ignore[untyped-decorator,unused-ignore]
def tally(message: Message, context: Context) -> Message:
    """One department's counts, sums and squares for all tables and histograms, with nothing in cells not asked for."""
    inputs, params = context.inputs, context.params
    permitted = _permitted(params, context.own)
    if params.split:
        permitted *= _flower.arrays_of(message)["cells"] == 1
    vectors = _exact.only(_tallied(inputs, params), permitted, params)
    wanted = _flower.expected(message.content)
    return _flower.reply(message, {name: vector for name, vector in vectors.items() if name in wanted}, inputs.row_count())


def _tallied(inputs: Inputs, params: StatisticsParams) -> dict[str, Floats]:
    """Everything, worked out once a run."""
    if "tallied" not in inputs.cache:
        vectors = _tables(inputs, params)
        if params.histograms:
            vectors["bins"] = np.concatenate([_bins(inputs, histogram) for histogram in params.histograms])
        inputs.cache["tallied"] = {name: vectors[name] for name in expect(params)}
    result: dict[str, Floats] = inputs.cache["tallied"]
    return result


def _permitted(params: StatisticsParams, own: OwnFigures) -> Floats:
    """1 for each figure that is not one department's own by the declared values it stands for."""
    sole = {} if own.allowed else {name: own.sole.get((params.resource, name), frozenset()) for name in params.dimensions()}
    return (~_exact.sole(params, sole)).astype(np.float64)


@client_app.query("noisy_tally")  # type: ignore[untyped-decorator,unused-ignore]
def noisy_tally(message: Message, context: Context) -> Message:
    """The same of bounded rows and clamped values, for the node to add its noise to."""
    inputs, params = context.inputs, context.params
    if not inputs.bounded:  # an exact answer is another question's
        raise ProblemError(problems.UNKNOWN_ACTION, action=_noisy.NOISY_TALLY)
    vectors = _noisy.tables(inputs, params, _index(params), context.own)
    if params.histograms:
        vectors["bins"] = np.concatenate([_bins(inputs, histogram) for histogram in params.histograms])
    wanted = expect(params)
    return _flower.reply(message, {name: vectors[name] for name in wanted}, inputs.row_count())


def _index(params: StatisticsParams) -> dict[tuple[Any, ...], int]:
    """(mask, values of the dimensions in order) → cell."""
    dims = params.dimensions()
    index: dict[tuple[Any, ...], int] = {}
    for grouping in params.groupings():
        # GROUPING() sets a bit for each dimension that is not grouped by, the first dimension highest.
        mask = sum(1 << (len(dims) - 1 - place) for place, name in enumerate(dims) if name not in grouping)
        for cell in params.cells(grouping):
            values = dict(zip(grouping, cell, strict=True))
            index[mask, tuple(values.get(name) for name in dims)] = len(index)
    return index


def _tables(inputs: Inputs, params: StatisticsParams) -> dict[str, Floats]:
    """All grouping sets in one pass over the data."""
    dims, columns = params.dimensions(), params.columns
    index = _index(params)
    at = len(index)
    shift = _shifts(inputs, columns)
    rows = np.zeros(at)
    count, rest, centred = (np.zeros((at, len(columns))) for _ in range(3))
    for record in inputs.connection.execute(_sql(inputs, params, shift)).fetchall():
        cell_at = index.get((record[0], tuple(record[1 : 1 + len(dims)])))
        if cell_at is None:  # a null, or a value that is not declared
            continue
        rows[cell_at] = record[1 + len(dims)]
        for place in range(len(columns)):
            seen, summed, variance = record[2 + len(dims) + 3 * place : 5 + len(dims) + 3 * place]
            if seen:
                count[cell_at, place], rest[cell_at, place] = seen, summed
                centred[cell_at, place] = variance * seen
    shifts = np.tile(np.array(shift), at)
    return {
        "rows": rows, "count": count.ravel(), "sum": moments.sum_terms(count.ravel(), shifts, rest.ravel()),
        "square": moments.square_terms(count.ravel(), shifts, rest.ravel(), centred.ravel()),
    }


def _shifts(inputs: Inputs, columns: list[str]) -> list[float]:
    """What to compute around, per column: this department's mean, rounded."""
    if not columns:
        return []
    means = ", ".join(f"avg({_observation(name)})" for name in columns)
    found = inputs.connection.execute(f"SELECT {means} FROM data").fetchone()  # noqa: S608
    return [moments.shift_of(mean) for mean in found or [None] * len(columns)]


def _sql(inputs: Inputs, params: StatisticsParams, shift: list[float]) -> str:
    dims, columns = params.dimensions(), params.columns
    inner = [f"{dimension_sql(inputs.column(name))} AS d{place}" for place, name in enumerate(dims)]
    inner += [
        f"{_observation(name)} - {double_sql(shift[place])} AS v{place}" for place, name in enumerate(columns)
    ]
    names = [f"d{place}" for place in range(len(dims))]
    # fsum is Kahan's; var_pop is Welford's.
    values = [f"count(v{place}), fsum(v{place}), var_pop(v{place})" for place in range(len(columns))]
    outer = ", ".join([f"grouping({', '.join(names)})" if names else "0", *names, "count(*)", *values])
    sql = f"SELECT {outer} FROM (SELECT {', '.join(inner) or '1 AS one'} FROM data)"  # noqa: S608
    if names:
        place_of = {name: f"d{place}" for place, name in enumerate(dims)}
        sets = ", ".join("(" + ", ".join(place_of[name] for name in dims_) + ")" for dims_ in params.groupings())
        sql += f" GROUP BY GROUPING SETS ({sets})"
    return sql


def _observation(name: str) -> str:
    value = f"CAST({quote(name)} AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def _bins(inputs: Inputs, histogram: Histogram) -> Floats:
    """Counts by bin; a value belongs to the bin whose published edges hold it, whatever a division rounds to."""
    counts = np.zeros(histogram.bins)
    edges = "[" + ", ".join(double_sql(edge) for edge in histogram.edges()) + "]"
    lower, upper, bins = double_sql(histogram.lower), double_sql(histogram.upper), histogram.bins
    sql = (
        f"WITH v AS (SELECT {_observation(histogram.column)} AS v FROM data), "  # noqa: S608
        f"b AS (SELECT v, least(greatest(CAST(floor((v - {lower}) / ({upper} - {lower}) * {bins}) AS INTEGER), 0), "
        f"{bins - 1}) AS b FROM v WHERE v BETWEEN {lower} AND {upper}), e AS (SELECT {edges} AS edges) "
        f"SELECT b - CAST(v < edges[b + 1] AS INTEGER) + CAST(b < {bins - 1} AND v >= edges[b + 2] AS INTEGER) AS bin, "
        "count(*) FROM b, e GROUP BY bin"
    )
    for place, seen in inputs.connection.execute(sql).fetchall():
        counts[place] = seen
    return counts


# --- on the coordinator ------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: StatisticsParams, progress: Progress) -> dict[str, Any]:
    """Ask who is in which group, then for those of two departments and more, and keep back what is about too few rows.

    Raises:
        ProblemError: ``sum_implausible``, and ``department_left`` if a department was lost between the two questions.
    """
    if grid.noisy:
        grid.plan(1)
        return _noisy.released(grid.secure_sum(_noisy.NOISY_TALLY, expect=expect(params)), params, grid)
    length = _exact.presence_length(params)
    if not params.split or grid.own_figures:
        grid.plan(1)
        cells = {"cells": np.ones(length)} if params.split else None
        total = grid.secure_sum(TALLY, expect=expect(params) | {"present": length}, arrays=cells)
        return _exact.released(total, total.integers("present"), params, grid)
    grid.plan(2)
    seen = grid.secure_sum(PRESENCE, expect={"present": length})
    present = seen.integers("present")
    cells = {"cells": np.array([float(departments >= 2) for departments in present])}
    total = grid.secure_sum(TALLY, expect=expect(params), arrays=cells)
    # With a department less, a cell may now be about one alone, and it cannot be asked again without telling the difference.
    if total.participants != seen.participants:
        raise ProblemError(DEPARTMENT_LEFT)
    return _exact.released(total, present, params, grid)


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=StatisticsParams, needs=needs,
    content_model=StatisticsContent, privacy=_noisy.sensitivities, arrays=arrays,
)
