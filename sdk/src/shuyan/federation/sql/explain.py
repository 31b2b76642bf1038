"""What a query would do, before anything is asked or spent: pure, no data, no department."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shuyan.federation import moments
from shuyan.federation.own import OwnFigures
from shuyan.federation.privacy import DEFAULT_FRACTION, accounting, noise
from shuyan.federation.privacy.bounding import UNIT_SUM
from shuyan.federation.privacy.noise import VectorNoise, half_width
from shuyan.federation.schema import Schema
from shuyan.federation.sql import discovery, errors, noisy
from shuyan.federation.sql.compile import bins_sql, ranks_sql, tally_sql
from shuyan.federation.sql.cores import Core
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.node import sole_cells
from shuyan.federation.sql.plan import Plan, make_plan
from shuyan.federation.sql.scopes import tables_of
from shuyan.federation.sql.serve import PRESENCE, REFINE, TALLY, exactly, needs_presence, notes
from shuyan.federation.sql.terms import GrantTerms, combined
from shuyan.problems import ProblemError, describe

Where = Literal["department", "secure_sum", "released"]
"""On a department's own rows, in a sum over all departments, or on groups that have been released."""

_SPECS = {"count": moments.COUNT, "sum": moments.SUM, "product": moments.SQUARE, "bins": moments.COUNT}
_NOISY_SPECS = {"count": moments.COUNT, "sum": UNIT_SUM, "square": UNIT_SUM, "bins": moments.COUNT, "ranks": moments.COUNT,
                "sketch": discovery.SKETCH}


@dataclass(frozen=True)
class Refusal:
    """Why a query cannot be asked: the clause, where it stands, and the sentence in both languages."""

    code: str
    clause: str
    line: int
    column: int
    zh: str
    en: str

    @classmethod
    def of(cls, problem: ProblemError) -> Refusal:
        """A problem as a refusal; one that is not about a place in the text stands at its beginning."""
        args = problem.args_
        line, column = args.get("line"), args.get("column")
        return cls(problem.code, str(args.get("clause", "")), line if isinstance(line, int) else 1,
                   column if isinstance(column, int) else 1, describe(problem.code, args, "zh"), describe(problem.code, args, "en"))


@dataclass(frozen=True)
class Leaving:
    """A vector that leaves a department, masked, and is seen only as the sum over all of them."""

    question: str
    vector: str
    values: int
    bytes: int
    rounds: int = 1


@dataclass(frozen=True)
class Group:
    """One grouped aggregate over all departments.

    Attributes:
        computes: SQL that each department runs on its own rows.
        keys: what is grouped by, with the number of values of each.
        aggregates: as they stand in the query, with their kind.
        cells: groups there can be. sole: how many of these are one department's own and stay hidden.
        filtered: whether rows are left out before grouping.
    """

    computes: list[str]
    keys: list[tuple[str, int]]
    aggregates: list[tuple[str, str]]
    cells: int
    sole: int
    filtered: bool


@dataclass(frozen=True)
class OpenKey:
    """How values that nobody declared would be found (:mod:`shuyan.federation.sql.discovery`).

    Attributes:
        max_keys, key_bytes: how many are looked for, and how long they may be.
        threshold: how many distinct units, with noise, a value needs at least.
        delta: with this probability at most a value of a single unit passes that.
    """

    title: str
    max_keys: int
    key_bytes: int
    threshold: float
    delta: float


@dataclass(frozen=True)
class Explanation:
    """What a query would do.

    Attributes:
        sql: the query in its one spelling; empty where it cannot be read.
        columns: by resource, the columns that are read.
        groups: what spans departments.
        released: SQL that runs on the released groups.
        clauses: where each part of the query runs.
        leaves: what leaves each department.
        rounds: questions put to each department at most.
        cohort: fewest rows that a figure may rest on; ``two_departments``: and at least two departments behind it.
        cost: of an answer with noise, ``rho_nano``, ``epsilon`` and ``delta``, at each department at most.
        errors: the noise on each element of a vector's sum: standard deviation, and half of a 95 % interval.
        open_key: of a query by a key without declared values.
        notes: codes (:func:`~shuyan.federation.sql.serve.notes`).
        refusals: why it cannot be asked; all else is empty then.
    """

    sql: str = ""
    columns: dict[str, list[str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    released: str = ""
    clauses: list[tuple[str, Where]] = field(default_factory=list)
    leaves: list[Leaving] = field(default_factory=list)
    rounds: int = 0
    cells: int = 0
    cohort: int = 0
    two_departments: bool = True
    cost: dict[str, float] = field(default_factory=dict)
    errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    open_key: OpenKey | None = None
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def explain(
    sql: str, schemas: Mapping[str, Sequence[Schema]], terms: GrantTerms, *, rho_nano: int | None = None, max_keys: int = noisy.MAX_KEYS,
    key_bytes: int | None = None,
) -> Explanation:
    """Explain a query; what is wrong with it is in :attr:`Explanation.refusals`, and nothing is raised.

    Args:
        schemas: by resource, the schema at each department.
        terms: the grant's.
        rho_nano: what an answer with noise may cost; by default as a job that does not say.
        max_keys, key_bytes: as in a job's parameters.
    """
    try:
        touched = {name.lower() for name in tables_of(sql)}
        catalogue = combined({name: found for name, found in schemas.items() if name.lower() in touched},
                             terms.sole_values or None)
        plan = make_plan(sql, catalogue)
        _check_granted(plan, terms)
        own = OwnFigures(terms.own_figures, terms.sole_values)
        if terms.privacy is None:
            exactly(plan)
        asked = noisy.Asked(plan, max_keys, key_bytes)
        groups = [_group(core, own) for core in plan.cores]
        leaves = _leaves(asked, terms)
        planned = _noise(asked, terms, rho_nano)
        values = max(leaving.values for leaving in leaves)
        if values > terms.max_output_values:
            raise errors.at(sql, 0, sql, errors.TOO_MANY_CELLS, cells=values, maximum=terms.max_output_values)
    except ProblemError as problem:
        return Explanation(refusals=[Refusal.of(problem)])
    return Explanation(
        sql=plan.sql, columns=plan.columns, groups=groups, released=plan.final, clauses=_clauses(plan), leaves=leaves,
        rounds=sum(leaving.rounds for leaving in leaves if leaving.vector in ("present", "count", "below", "sketch")),
        cells=asked.widest().cells if asked.open else plan.cells, open_key=_open_key(asked, planned, terms),
        cohort=terms.minimum_cohort, two_departments=not terms.own_figures, cost=_cost(planned, terms),
        errors={name: (one.deviation, half_width(one.deviation)) for name, one in planned.items()},
        notes=["noise"] if terms.privacy is not None else notes(plan, 0))


def _noise(asked: noisy.Asked, terms: GrantTerms, rho_nano: int | None) -> dict[str, VectorNoise]:
    if terms.privacy is None:
        return {}
    spent = max(terms.privacy.rho_nano // DEFAULT_FRACTION, 1) if rho_nano is None else rho_nano
    found: dict[str, VectorNoise] = {}
    for action, expect in noisy.questions(asked).items():
        planned = noise.plan(noisy.sensitivities(asked, action, terms.privacy), _NOISY_SPECS, expect, terms.privacy,
                             participants=terms.departments, rho_nano=spent)
        found |= {name: one for name, one in planned.items() if name in _NOISY_SPECS}
    return found


def _open_key(asked: noisy.Asked, planned: Mapping[str, VectorNoise], terms: GrantTerms) -> OpenKey | None:
    key = discovery.open_key(asked.plan)
    if key is None or terms.privacy is None:
        return None
    shape = asked.sketch()
    return OpenKey(key.title, shape.keys, shape.width, shape.threshold(planned["sketch"].deviation, terms.privacy),
                   terms.privacy.delta)


def _cost(planned: Mapping[str, VectorNoise], terms: GrantTerms) -> dict[str, float]:
    if terms.privacy is None:
        return {}
    spent = noise.cost(planned)
    return {"rho_nano": spent, "epsilon": accounting.epsilon(spent, terms.privacy.delta), "delta": terms.privacy.delta}


def _check_granted(plan: Plan, terms: GrantTerms) -> None:
    for resource, names in plan.columns.items():
        if not terms.columns:
            return
        for name in names:
            if name not in terms.columns.get(resource, frozenset()):
                place = max(plan.sql.lower().find(name.lower()), 0)
                raise errors.at(plan.sql, place, name, errors.NOT_GRANTED, name=name)


def _group(core: Core, own: OwnFigures) -> Group:
    computes = [tally_sql(core), *(bins_sql(core, place) for place in range(len(core.bins))),
                *(ranks_sql(core, place) for place in range(len(core.ranks)))]
    return Group(list(dict.fromkeys(computes)), [(key.title, len(key.domain.values)) for key in core.keys],
                 [(one.text, one.kind) for one in core.aggregates], core.cells, int(sole_cells(core, own).sum()), core.filtered)


def _leaves(asked: noisy.Asked, terms: GrantTerms) -> list[Leaving]:
    found, plan = [], asked.plan
    if terms.privacy is not None:
        return [Leaving(action, name, length, 8 * _NOISY_SPECS[name].limbs * length)
                for action, expect in noisy.questions(asked).items() for name, length in expect.items()]
    if not terms.own_figures and needs_presence(plan):
        found.append(Leaving(PRESENCE, "present", plan.supports(), 8 * plan.supports()))
    found += [Leaving(TALLY, name, length, 8 * _SPECS[name].limbs * length) for name, length in plan.tally().items()]
    if plan.rank_count():
        length = plan.rank_count() * plan.thresholds()
        found.append(Leaving(REFINE, "below", length, 8 * length, plan.refinements()))
    return found


def _clauses(plan: Plan) -> list[tuple[str, Where]]:
    found: list[tuple[str, Where]] = []
    for core in plan.cores:
        relation: Any = core.relation
        found.append((to_sql(relation.args["from_"]), "department"))
        found += [(to_sql(join), "department") for join in relation.args.get("joins") or []]
        if relation.args.get("where") is not None:
            found.append((to_sql(relation.args["where"]), "department"))
        if core.keys:
            found.append(("GROUP BY " + ", ".join(to_sql(key.expression) for key in core.keys), "secure_sum"))
        found += [(one.text, "secure_sum") for one in core.aggregates]
    found.append((plan.final, "released"))
    return found
