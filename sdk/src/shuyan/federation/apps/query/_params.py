"""A query's parameters: its text, and what the departments declare of the columns it touches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.federation.privacy import accounting
from shuyan.federation.schema import Schema
from shuyan.federation.sql import errors
from shuyan.federation.sql.noisy import MAX_KEYS, Asked
from shuyan.federation.sql.plan import Plan, cached_plan, make_plan
from shuyan.federation.sql.scopes import tables_of
from shuyan.federation.sql.serve import exactly
from shuyan.federation.sql.terms import ColumnTerms, combined, differing
from shuyan.problems import ProblemError


class QueryParams(BaseModel):
    """Parameters of a query.

    Attributes:
        sql: the query.
        schemas: by resource and column, what the departments declare together. The market fills it in with
            :func:`prepare`, and every node compares it with what it has declared itself.
        max_keys, key_bytes: with noise, how many values of a key that nobody declared are looked for, and how many bytes (UTF-8)
            they may have; by default 32, and as their type needs, 24 for text.
        rho_nano, edition: for answers with noise, as in :class:`~shuyan.federation.privacy.NoisyParams`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sql: str = Field(min_length=1, max_length=20_000)
    schemas: dict[str, dict[str, ColumnTerms]] = {}
    max_keys: int | None = Field(default=None, ge=1, le=1000)
    key_bytes: int | None = Field(default=None, ge=1, le=200)
    rho_nano: int | None = Field(default=None, ge=1, le=accounting.MAX_NANO)
    edition: str = Field(default="", max_length=64)
    _plan: Plan | None = PrivateAttr(default=None)

    @property
    def domains(self) -> dict[str, list[str]]:
        """By column, the values of all dimensions of that name; what a node compares its own with."""
        found: dict[str, list[str]] = {}
        for columns in self.schemas.values():
            for name, terms in columns.items():
                found.setdefault(name, []).extend(terms.domain)
        return found

    def plan(self) -> Plan:
        """What the query becomes.

        Raises:
            ProblemError: why it cannot be asked.
        """
        if self._plan is not None:
            return self._plan
        frozen = json.dumps({resource: {name: terms.model_dump(mode="json") for name, terms in columns.items()}
                             for resource, columns in self.schemas.items()}, sort_keys=True)
        self._plan = cached_plan(self.sql, frozen)
        return self._plan


    def asked(self) -> Asked:
        """The query as it is answered with noise."""
        return Asked(self.plan(), self.max_keys or MAX_KEYS, self.key_bytes)


def prepare(
    params: Mapping[str, Any], schemas: Mapping[str, Sequence[Schema]],
    sole: Mapping[tuple[str, str], frozenset[str]] | None = None, noisy: bool = True,
) -> dict[str, Any]:
    """A query's parameters with what the departments declare, ready to be submitted.

    Args:
        schemas: by resource, the schema at each department; may hold more than the query touches.
        sole: by (resource, column), the values that are one department's own, as the grant says it; by default as the
            schemas say it.
        noisy: answers carry noise; otherwise what can be answered with noise only is refused, where it stands.

    Raises:
        ProblemError: why the query cannot be asked.
    """
    sql = params.get("sql")
    if not isinstance(sql, str):
        raise ProblemError(problems.BAD_PARAMS, field="sql", where="sql")
    touched = {name.lower() for name in tables_of(sql)}
    declared = {name: found for name, found in schemas.items() if name.lower() in touched}
    catalogue = combined(declared, sole)
    try:
        plan = make_plan(sql, catalogue)
        if not noisy:
            exactly(plan)
    except ProblemError as problem:
        raise _why_unknown(problem, declared) from None
    used = {resource: {name: catalogue[resource][name].model_dump(mode="json") for name in columns}
            for resource, columns in plan.columns.items()}
    given = {name: value for name, value in params.items() if value not in (None, "")}
    return {**given, "sql": plan.sql, "schemas": used}


def _why_unknown(problem: ProblemError, declared: Mapping[str, Sequence[Schema]]) -> ProblemError:
    """Why a column that some department has is not there."""
    name = str(problem.args_.get("name", ""))
    if problem.code != errors.UNKNOWN_COLUMN:
        return problem
    for found in declared.values():
        have = [schema for schema in found if name in schema]
        if any(schema[name].identifier for schema in have):
            return ProblemError(errors.IDENTIFIER_COLUMN, field="sql", **{
                key: problem.args_[key] for key in ("line", "column", "clause")})
        if have and (why := differing(name, found)) is not None:
            return why
    return problem


def relations(params: QueryParams) -> dict[str, list[tuple[str, Need]]]:
    """The columns a query touches. Before the market has filled in what is declared: its resources only."""
    if not params.schemas:
        return {name: [] for name in tables_of(params.sql)}
    columns = params.plan().columns
    return {resource: [(name, "any") for name in names] for resource, names in columns.items()}


def check_declared(params: QueryParams, schemas: Mapping[str, Schema]) -> None:
    """Compare what the question says is declared with what this department has declared.

    Raises:
        ProblemError: ``wrong_type`` or ``domain_mismatch``.
    """
    for resource, columns in params.schemas.items():
        own = schemas.get(resource, {})
        for name, terms in columns.items():
            column = own.get(name)
            if column is None:
                continue
            if column.type != terms.type and (column.type, terms.type) != ("integer", "number"):
                raise ProblemError(problems.WRONG_TYPE, column=name, expected=terms.type)
            if (terms.free and not column.free) or (terms.required and not column.required):
                raise ProblemError(problems.DOMAIN_MISMATCH, column=name)
            if terms.domain and not set(column.domain) <= set(terms.domain):
                raise ProblemError(problems.DOMAIN_MISMATCH, column=name)
            for mine, theirs, sign in ((column.lower, terms.lower, 1), (column.upper, terms.upper, -1)):
                if theirs is not None and mine is not None and (mine - theirs) * sign < 0:
                    raise ProblemError(problems.DOMAIN_MISMATCH, column=name)
