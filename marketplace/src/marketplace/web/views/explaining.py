"""An explanation of a job that has not been asked for, as the pages show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask_babel import gettext as _

from marketplace.computing import service as computing
from marketplace.web import present
from marketplace.web.errors import say
from marketplace.web.i18n import language, number
from marketplace.web.labels import label
from shuyan.problems import ProblemError


@dataclass
class Told:
    """What a job would do, or why it would be refused.

    Attributes:
        refusal: the sentence; ``line``, ``column`` and ``clause`` where it is about a place in a query,
            ``parameter`` where it is about one.
        facts: (name, value) lines.
        computes: what each department runs of a query, its SQL for people to read.
        notes: sentences.
    """

    refusal: str = ""
    line: int = 0
    column: int = 0
    clause: str = ""
    parameter: str = ""
    explanation: Any = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    computes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def explain(db: Any, actor: Any, *, grant_id: str, app: str, params: dict[str, Any]) -> Told:
    """Ask the service; what would be refused is told as a refusal, not raised."""
    try:
        found = computing.explain(db, actor, grant_id=grant_id, app=app, params=params)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        return refused(problem)
    told = Told(explanation=found, notes=[computing.note_sentence(code, language()) for code in found.notes])
    told.facts = _facts(found)
    told.computes = [{**one, "sql": present.pretty(one["sql"])} for one in found.computes]
    return told


def refused(problem: ProblemError) -> Told:
    """A refusal, with where it stands."""
    line, column = problem.args_.get("line"), problem.args_.get("column")
    placed = isinstance(line, int) and isinstance(column, int)
    return Told(refusal=say(problem), line=int(str(line)) if placed else 0, column=int(str(column)) if placed else 0,
                clause=str(problem.args_.get("clause", "")) if placed else "",
                parameter=(problem.field or "").removeprefix("params").lstrip("."))


def _facts(found: Any) -> list[tuple[str, str]]:
    out = [(_("Answers"), label("release", found.release)),
           (_("Departments"), _(", ").join(one["name"] for one in found.departments)),
           (_("Rounds at most"), number(found.rounds) if found.rounds else _("known once it runs"))]
    if found.cells is not None:
        out.append((_("Groups at most"), number(found.cells)))
    if found.open_key is not None:
        out.append((_("Undeclared groups of %(key)s", key=found.open_key["title"]),
                    _("named from about %(count)s units on, at most %(keys)d", count=number(round(found.open_key["threshold"])),
                      keys=found.open_key["max_keys"])))
    out.append((_("Smallest group shown"), _("%(count)d records", count=found.cohort)))
    cost = found.cost
    if cost is None:
        out.append((_("Privacy budget"), _("costs none")))
    else:
        spent = _("ε %(epsilon)s at δ %(delta)s (ρ %(rho)s) at each department", epsilon=number(cost.epsilon, 3),
                  delta=f"{cost.delta:g}", rho=number(cost.rho_nano / 1e9, 6))
        out.append((_("Privacy budget"), _("nothing, answered before") if found.answered_before else spent))
    return out
