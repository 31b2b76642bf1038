"""Queries with differential privacy: bounded rows, clamped values, noise on every sum.

Of each unit at most so many rows are there when the app reads them, a row is in one group at most, and values are clamped to
declared bounds and counted in whole steps (:mod:`shuyan.federation.privacy.bounding`). Every group that there can be is
answered, the empty ones too, so there is nothing to suppress; and nothing that a query asks about beforehand (which groups
exist, how many departments are behind one) costs any of the budget. The run's ρ is divided equally among the vectors.

A key whose values nobody declared is found first, with noise as well (:mod:`~shuyan.federation.sql.discovery`); that takes half of
the run's ρ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from sqlglot import exp

from shuyan.federation import problems
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.inputs import Inputs
from shuyan.federation.own import OwnFigures
from shuyan.federation.privacy import Sensitivity, accounting
from shuyan.federation.privacy.bounding import STEP_BITS, Contribution, Scale
from shuyan.federation.privacy.noise import half_width
from shuyan.federation.ring import Floats
from shuyan.federation.sql import discovery, errors, grammar, noisy_moments, noisy_ranks, noisy_table
from shuyan.federation.sql.compile import bins_sql, counted_sql, grouped_sql
from shuyan.federation.sql.cores import Aggregate, Core
from shuyan.federation.sql.domains import Domain
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.node import cell_index, cell_of, sole_cells
from shuyan.federation.sql.plan import Plan
from shuyan.federation.sql.serve import run_released
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

NOISY_TALLY: Final = "query.noisy_tally"
NOISY_KEYS: Final = "query.noisy_keys"
NOISY_GROUPS: Final = "query.noisy_groups"
MAX_KEYS: Final = 32
"""Values of an open key that are looked for where a job does not say."""
_TOO_FEW: Final = 4.0  # standard deviations of noise that a count must exceed before anything is divided by it
_BINNED: Final = frozenset({"histogram", "distinct", "chi_square"})


@dataclass(frozen=True)
class Layout:
    """What is counted and summed in each cell.

    Attributes:
        counts: measures; then, for each of ``sums``, the count of its values.
        sums: places among the core's sums.
        products: pairs of these of which the product is summed too; a place with itself for its squares.
    """

    core: Core
    counts: tuple[int, ...]
    sums: tuple[int, ...]
    products: tuple[noisy_moments.Pair, ...]

    def expect(self) -> dict[str, int]:
        """The vectors' lengths."""
        cells = self.core.cells
        lengths = {"count": cells * (len(self.counts) + len(self.sums)), "sum": cells * len(self.sums),
                   "square": cells * len(self.products), "bins": cells * self.core.bin_width(), "ranks": cells * self.rank_width()}
        return {name: length for name, length in lengths.items() if length}

    def rank_width(self) -> int:
        """Counts in nested intervals of a cell, over all order statistics."""
        return sum(noisy_ranks.width(state.grid) for state in self.core.ranks)


@dataclass(frozen=True)
class Asked:
    """A query with noise, and how its open key is looked for.

    Attributes:
        max_keys: values of the open key that are looked for.
        key_bytes: how long they may be; None: what their type usually needs.
    """

    plan: Plan
    max_keys: int
    key_bytes: int | None

    @property
    def open(self) -> bool:
        """Whether a key's values have to be found."""
        return discovery.open_key(self.plan) is not None

    def sketch(self) -> discovery.Sketch:
        """What the values are found in."""
        return discovery.sketch_of(self.plan, self.max_keys, self.key_bytes)

    def widest(self) -> Plan:
        """The query with as many groups as there can be; their values say nothing."""
        core = self.plan.cores[0]
        filled = tuple(f"?{number}" for number in range(self.max_keys))
        keys = [replace(key, open=False, domain=Domain(filled)) if key.open else key for key in core.keys]
        return replace(self.plan, cores=[replace(core, keys=keys)])


def layout(plan: Plan) -> Layout:
    """What a query needs.

    Raises:
        ProblemError: ``sql_noise_…``: what it asks for has no answer with noise.
    """
    if len(plan.cores) != 1:
        raise errors.at(plan.sql, 0, plan.sql, errors.NOISE_ONE_GROUPING)
    core = plan.cores[0]
    if len(plan.columns) != 1 or any(True for _ in core.relation.find_all(exp.Join, exp.Group)):
        raise errors.at(plan.sql, 0, to_sql(core.relation.args["from_"]), errors.NOISE_ONE_RESOURCE)
    if sum(key.open for key in core.keys) > 1:
        raise errors.at(plan.sql, 0, ", ".join(key.title for key in core.keys if key.open), errors.NOISE_ONE_OPEN_KEY)
    counts: list[int] = [0]
    sums: list[int] = []
    products: list[noisy_moments.Pair] = []
    for aggregate in core.aggregates:
        if aggregate.kind == "count":
            counts.append(core.supports[aggregate.support])
        elif aggregate.kind not in _BINNED | noisy_ranks.KINDS:
            places = aggregate.states[:1]
            if aggregate.kind in noisy_moments.KINDS:
                places = noisy_moments.columns(aggregate)
                products += noisy_moments.pairs(aggregate)
            for place in places:
                bounds = core.sums[place].bounds
                if bounds is None or not bounds[0] < bounds[1]:
                    raise errors.at(plan.sql, 0, aggregate.text, errors.NOISE_BOUNDS)
            sums += places
    return Layout(core, tuple(dict.fromkeys(counts)), tuple(dict.fromkeys(sums)), tuple(dict.fromkeys(products)))


def questions(asked: Asked) -> dict[str, dict[str, int]]:
    """By question, the vectors' lengths at most.

    Raises:
        ProblemError: ``sql_noise_…``, ``sql_too_many_cells``.
    """
    widest, found = asked.plan, layout(asked.plan)
    if asked.open:
        widest = asked.widest()
        found = layout(widest)
    wide = found.rank_width()
    if wide and widest.cells > noisy_ranks.MOST_COUNTS // wide:
        raise errors.at(asked.plan.sql, 0, asked.plan.sql, errors.TOO_MANY_CELLS, cells=widest.cells, maximum=noisy_ranks.MOST_COUNTS // wide)
    if not asked.open:
        return {NOISY_TALLY: found.expect()}
    if widest.cells > grammar.MAX_CELLS:
        raise errors.at(asked.plan.sql, 0, asked.plan.sql, errors.TOO_MANY_CELLS, cells=widest.cells, maximum=grammar.MAX_CELLS)
    return {NOISY_KEYS: {"sketch": asked.sketch().length}, NOISY_GROUPS: found.expect()}


def sensitivities(asked: Asked, action: str, terms: PrivacyTerms) -> dict[str, Sensitivity]:
    """How far one unit moves each vector of a question; none where the query does not ask it."""
    if action not in questions(asked):
        return {}
    if action == NOISY_KEYS:
        return {"sketch": asked.sketch().sensitivity(terms)}
    found = _sensitivities(asked.widest() if asked.open else asked.plan, terms)
    if not asked.open:
        return found
    each = (1 - discovery.SHARE) / len(found)
    return {name: replace(entry, share=each) for name, entry in found.items()}


def _sensitivities(plan: Plan, terms: PrivacyTerms) -> dict[str, Sensitivity]:
    found, unit = layout(plan), Contribution(terms.max_rows_per_unit, terms.max_groups_per_unit)
    each = {
        "count": unit.counts(1, len(found.counts) + len(found.sums)),
        "sum": unit.sums(1.0, 1, max(len(found.sums), 1), integral=True),
        "square": unit.squares(1.0, 1, max(len(found.products), 1), integral=True),
        "bins": unit.counts(1, max(len(found.core.bins), 1)),
        "ranks": unit.counts(1, max(sum(noisy_ranks.depth(state.grid) for state in found.core.ranks), 1)),  # one count of a level
    }
    return {name: each[name] for name in found.expect()}


def tally(inputs: Inputs, plan: Plan, own: OwnFigures) -> dict[str, Floats]:
    """One department's vectors, with nothing in cells that are its own."""
    found = layout(plan)
    core, keys = found.core, len(found.core.keys)
    measures = [core.measures[place] for place in found.counts]
    steps = {place: _steps(core, place) for place in found.sums}
    filters = {place: f" FILTER (WHERE {core.sums[place].where})" if core.sums[place].where else "" for place in found.sums}
    measures += [f"count({steps[place]}){filters[place]}" for place in found.sums]
    measures += [f"sum({steps[place]}){filters[place]}" for place in found.sums]
    for first, second in found.products:  # of the same rows
        product = Scale.square_sql(steps[first]) if first == second else Scale.product_sql(steps[first], steps[second])
        measures.append(f"sum({product}){filters[first]}")
    shape = (len(found.counts) + len(found.sums), len(found.sums), len(found.products))
    values = np.zeros((core.cells, sum(shape)))
    bins = np.zeros((core.cells, core.bin_width()))
    index, sole = cell_index(core), sole_cells(core, own)
    for record in inputs.connection.execute(grouped_sql(core, measures)).fetchall():
        cell = cell_of(record, index)
        if cell is not None and not sole[cell]:
            values[cell] = [float(value or 0) for value in record[keys:]]
    start = 0
    for place, state in enumerate(core.bins):
        for *group, bin_, count in inputs.connection.execute(bins_sql(core, place)).fetchall():
            cell = cell_of(group, index)
            if cell is not None and not sole[cell] and bin_ is not None and 0 <= bin_ < state.width:
                bins[cell, start + bin_] = count
        start += state.width
    ranks = []
    for ordered in core.ranks:
        leaves = np.zeros((core.cells, 1 << noisy_ranks.depth(ordered.grid)))
        for *group, leaf, count in inputs.connection.execute(counted_sql(core, noisy_ranks.leaf_sql(ordered))).fetchall():
            cell = cell_of(group, index)
            if cell is not None and not sole[cell] and leaf is not None:
                leaves[cell, leaf] = count
        ranks.append(noisy_ranks.nested(leaves))
    counts, sums, products = np.split(values, np.cumsum(shape)[:-1], axis=1)
    vectors = {"count": counts.ravel(), "sum": np.ldexp(sums, -STEP_BITS).ravel(),
               "square": np.ldexp(products, -STEP_BITS).ravel(), "bins": bins.ravel(),
               "ranks": np.concatenate(ranks, axis=1).ravel() if ranks else np.zeros(0)}
    return {name: vectors[name] for name in found.expect()}


def _scale(core: Core, place: int) -> Scale:
    bounds = core.sums[place].bounds
    assert bounds is not None
    return Scale(*bounds)


def _steps(core: Core, place: int) -> str:
    value = f"CAST({core.sums[place].value} AS DOUBLE)"
    return _scale(core, place).steps_sql(f"CASE WHEN isfinite({value}) THEN {value} END")


def answer(grid: SecureGrid, asked: Asked) -> dict[str, Any]:
    """Ask once, or twice where a key's values have to be found, and say of each figure how far it may be off.

    Raises:
        ProblemError: ``sql_noise_…``, ``own_figure_refused``, and what charging the budget raises.
    """
    plan, terms = asked.plan, grid.privacy
    assert terms is not None
    own = OwnFigures(grid.own_figures, {
        (resource, column): values for resource in plan.columns for column, values in grid.sole_values(resource).items()})
    grid.plan(len(questions(asked)))
    sole = sole_cells(plan.cores[0], own)  # what may not be asked costs nothing
    selection = None
    if asked.open:
        total, selection, named = _find(grid, asked, terms)
        plan = discovery.with_keys(plan, named)
        sole = sole_cells(plan.cores[0], own)
        if plan.cells:
            total = grid.secure_sum(NOISY_GROUPS, expect=layout(plan).expect(),
                                    config={"keys": json.dumps(named, ensure_ascii=False)})
    else:
        total = grid.secure_sum(NOISY_TALLY, expect=layout(plan).expect())
    columns, deviations = _columns(layout(plan), total, sole)
    rows, types, noise = _final(plan, columns, deviations)
    spent = grid.spent_nano
    return {
        "kind": "table", "sql": plan.sql,
        "columns": [{"name": name, "type": type_} for name, type_ in zip(plan.names, types, strict=True)],
        "rows": rows, "suppressed": int(sole.sum()), "cells": plan.cells, "rows_used": max(total.cohort, 0),
        "departments": len(total.participants), "minimum_cohort": grid.minimum_cohort, "release": "dp",
        "notes": ["noise", *(["suppressed_cells"] if sole.any() else []),
                  *(["coarsened_tails"] if any(one.kind in ("min", "max") for one in plan.cores[0].aggregates) else []),
                  *(["frequent_values"] if any(one.kind == "distinct" for one in plan.cores[0].aggregates) else []),
                  *(["clamped_to_bounds"] if plan.cores[0].ranks else []), *(["found_keys"] if selection else [])], "noise": noise,
        "privacy": {
            "unit": terms.unit, "rho_nano": spent, "epsilon": accounting.epsilon(spent, terms.delta), "delta": terms.delta,
            "max_rows_per_unit": terms.max_rows_per_unit, "honest_fraction": terms.honest_fraction},
        **({"keys": selection} if selection else {}),
    }


def _find(grid: SecureGrid, asked: Asked, terms: PrivacyTerms) -> tuple[Sum, dict[str, Any], list[str]]:
    """The values of the open key that enough units have: the sum they were read from, what to say of them, and their texts."""
    shape = asked.sketch()
    total = grid.secure_sum(NOISY_KEYS, expect={"sketch": shape.length})
    threshold = shape.threshold(total.deviation("sketch"), terms)
    found = discovery.read(total["sketch"], shape, threshold)
    grid.tell("keys_found", keys=len(found.keys))
    key = discovery.open_key(asked.plan)
    assert key is not None
    return total, {"title": key.title, "found": len(found.keys), "unread": found.unread, "threshold": threshold,
                   "delta": terms.delta, "max_keys": shape.keys, "key_bytes": shape.width}, found.keys


def named_keys(asked: Asked, text: str) -> Plan:
    """The query over the keys that came with a question.

    Raises:
        ProblemError: ``bad_params``.
    """
    try:
        keys = json.loads(text)
    except (ValueError, RecursionError):
        keys = None
    shape = asked.sketch()
    if not (isinstance(keys, list) and 0 < len(keys) <= shape.keys and all(isinstance(key, str) for key in keys)
            and keys == sorted(set(keys)) and all(len(key.encode("utf-8", "surrogatepass")) <= shape.width for key in keys)
            and text == json.dumps(keys, ensure_ascii=False)):  # one spelling of one question
        raise ProblemError(problems.BAD_PARAMS, field="keys", where="keys")
    return discovery.with_keys(asked.plan, keys)


def _columns(found: Layout, total: Sum, sole: Any) -> tuple[list[list[Any]], list[list[float | None]]]:
    """Keys and aggregates by cell, and the standard deviation of each aggregate."""
    core = found.core
    sums = {name: total[name].reshape(core.cells, -1) for name in found.expect()}  # none without groups
    deviations = {name: total.deviation(name) for name in found.expect()}
    columns: list[list[Any]] = [[] for _ in range(len(core.keys) + len(core.aggregates))]
    off: list[list[float | None]] = [[] for _ in core.aggregates]
    for cell in range(core.cells):
        if sole[cell]:
            continue
        rest, stride = cell, core.cells
        for place, key in enumerate(core.keys):
            stride //= len(key.domain.values)
            columns[place].append(key.domain.values[rest // stride])
            rest %= stride
        ranks = _ranks(core, sums["ranks"][cell], deviations["ranks"]) if core.ranks else []
        for place, aggregate in enumerate(core.aggregates):
            if aggregate.kind in noisy_ranks.KINDS:
                value, deviation = ranks[aggregate.states[0]].value(aggregate, _TOO_FEW)
            else:
                value, deviation = _value(found, aggregate, {name: sums[name][cell] for name in sums}, deviations)
            columns[len(core.keys) + place].append(value)
            off[place].append(deviation)
    return columns, off


def _ranks(core: Core, counts: Floats, deviation: float) -> list[noisy_ranks.Ranks]:
    """What one cell tells of the order of values, by state."""
    found, start = [], 0
    for state in core.ranks:
        end = start + noisy_ranks.width(state.grid)
        found.append(noisy_ranks.Ranks.of(state.grid, counts[start:end], deviation))
        start = end
    return found


def _value(
    found: Layout, aggregate: Aggregate, sums: dict[str, Floats], sd: dict[str, float],
) -> tuple[Any, float | None]:
    """An aggregate and its standard deviation, to first order in the noise."""
    core, kind = found.core, aggregate.kind
    if kind == "count":
        return max(round(float(sums["count"][found.counts.index(core.supports[aggregate.support])])), 0), sd["count"]
    if kind in _BINNED:
        start = sum(state.width for state in core.bins[: aggregate.states[0]])
        return _binned(aggregate, sums["bins"][start : start + core.bins[aggregate.states[0]].width], sd["bins"])
    if kind in noisy_moments.KINDS:
        return _together(found, aggregate, sums, sd).value(aggregate, _TOO_FEW)
    place = found.sums.index(aggregate.states[0])
    scale = _scale(core, aggregate.states[0])
    half, middle = scale.half, scale.middle
    count, total = float(sums["count"][len(found.counts) + place]), float(sums["sum"][place])
    if kind == "sum":
        value = half * total + middle * count
        return round(value) if aggregate.type == "HUGEINT" else value, math.hypot(half * sd["sum"], middle * sd["count"])
    if not (count > _TOO_FEW * sd["count"] and count > 1):
        return None, None
    mean = total / count
    return min(max(middle + half * mean, scale.lower), scale.upper), half / count * math.hypot(sd["sum"], mean * sd["count"])


def _binned(aggregate: Aggregate, counts: Floats, deviation: float) -> tuple[Any, float | None]:
    """What is worked out from counts in bins. A test's p-value allows for the noise; a number of values has none that could be told."""
    if aggregate.kind == "distinct":
        return int((counts > _TOO_FEW * deviation).sum()), None
    if aggregate.kind == "chi_square":
        rows, columns = aggregate.options
        assert isinstance(rows, int)
        assert isinstance(columns, int)
        return noisy_table.independence(counts.tolist(), rows, columns, deviation, least=_TOO_FEW), None
    return [max(round(float(value)), 0) for value in counts], deviation


def _together(found: Layout, aggregate: Aggregate, sums: dict[str, Floats], sd: dict[str, float]) -> noisy_moments.Moments:
    places = list(dict.fromkeys(noisy_moments.columns(aggregate)))
    at, wanted = [found.sums.index(place) for place in places], noisy_moments.pairs(aggregate)
    return noisy_moments.moments(
        places, wanted, [float(sums["count"][len(found.counts) + one]) for one in at], [float(sums["sum"][one]) for one in at],
        [float(sums["square"][found.products.index(one)]) for one in wanted], [_scale(found.core, place) for place in places], sd)


def _final(
    plan: Plan, columns: Sequence[Sequence[Any]], deviations: Sequence[Sequence[float | None]],
) -> tuple[list[list[Any]], list[str], list[dict[str, Any]]]:
    """Rows and types of the result, and the noise on those of its columns that are aggregates, rounded ones too."""
    tree = plan.tree.copy()
    more = [f"e{place}" for place in range(len(deviations))]
    told: list[tuple[str, str]] = []
    if isinstance(tree.args["from_"].this, exp.Table):
        for item in list(tree.expressions):
            inner = item.this
            while isinstance(inner, (exp.Paren, exp.Round)):
                inner = inner.this
            if isinstance(inner, exp.Column) and inner.name.startswith("a"):
                told.append((item.alias, f"e{inner.name[1:]}"))
                tree.append("expressions", exp.column(exp.to_identifier(told[-1][1], quoted=True)))
    rows, types = run_released(plan, [[*columns, *deviations]], more=more, final=to_sql(tree))
    width = len(plan.names)
    noise = []
    for number, (name, _) in enumerate(told):
        sd = [row[width + number] for row in rows]
        noise.append({"column": name, "sd": sd, "half_width": [None if one is None else half_width(one) for one in sd]})
    return [row[:width] for row in rows], types[:width], noise
