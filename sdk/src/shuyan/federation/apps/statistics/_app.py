"""The statistics app. Null, NaN and infinite values are not observations; a null in a dimension forms no group."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shuyan.federation import _flower, moments, problems
from shuyan.federation.apps.base import AppManifest, FederatedApp, Progress
from shuyan.federation.apps.statistics import _exact, _noisy
from shuyan.federation.apps.statistics._content import StatisticsContent
from shuyan.federation.apps.statistics._params import Histogram, StatisticsParams, needs
from shuyan.federation.grid import SecureGrid
from shuyan.federation.inputs import Inputs
from shuyan.federation.ring import Floats
from shuyan.federation.schema import dimension_sql, double_sql, quote
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError

TALLY = "query.tally"
PRESENT = VectorSpec(limbs=1, fraction_bits=0, bound=1.0)

manifest = AppManifest(
    name="statistics", version="1.0.0", title_zh="联邦统计", title_en="Federated statistics", output_form="statistics",
    actions={
        TALLY: {"rows": moments.COUNT, "count": moments.COUNT, "sum": moments.SUM, "square": moments.SQUARE,
                "bins": moments.COUNT, "present": PRESENT},
        _noisy.NOISY_TALLY: {"rows": _noisy.NOISY_COUNT, "count": _noisy.NOISY_COUNT, "sum": _noisy.UNIT_SUM,
                             "square": _noisy.UNIT_SUM, "bins": _noisy.NOISY_COUNT},
    },
)

client_app = ClientApp()


def expect(params: StatisticsParams) -> dict[str, int]:
    """The vectors' lengths: ``rows`` per cell; ``count``, ``sum``, ``square`` per cell and column; ``bins``."""
    cells = params.cell_count()
    lengths = {"rows": cells, "bins": sum(histogram.bins for histogram in params.histograms)}
    lengths |= dict.fromkeys(("count", "sum", "square"), cells * len(params.columns))
    return {name: length for name, length in lengths.items() if length}


# --- on a node ---------------------------------------------------------------------------------------------------


@client_app.query("tally")  # type: ignore[untyped-decorator,unused-ignore]
def tally(message: Message, context: Context) -> Message:
    """One department's counts, sums and squares for all tables and histograms."""
    inputs, params = context.inputs, context.params
    vectors = _tables(inputs, params)
    if params.histograms:
        vectors["bins"] = np.concatenate([_bins(inputs, histogram) for histogram in params.histograms])
    vectors = {name: vectors[name] for name in expect(params)}
    vectors["present"] = _exact.presence(vectors)
    wanted = _flower.expected(message.content)
    return _flower.reply(message, {name: vector for name, vector in vectors.items() if name in wanted}, inputs.row_count())


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
    """Ask once, and keep back what is about too few rows."""
    grid.plan(1)
    if grid.noisy:
        return _noisy.released(grid.secure_sum(_noisy.NOISY_TALLY, expect=expect(params)), params, grid)
    wanted = expect(params) | {"present": _exact.presence_length(params)}
    return _exact.released(grid.secure_sum(TALLY, expect=wanted), params, grid)


app = FederatedApp(
    manifest=manifest, client_app=client_app, serve=serve, params_model=StatisticsParams, needs=needs,
    content_model=StatisticsContent, privacy=_noisy.sensitivities,
)
