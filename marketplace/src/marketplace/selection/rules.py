"""Decisions about operator selection, without I/O: its life, criteria and weights, the ranking and its ties.

Shuozhou plan, section 6, part 1: 发布申报公告 (mode, scope, conditions, criteria) → 联合评审 by third-party experts and departments →
谈判 with the one ranked first → approval → 公示 → agreement. Guizhou measures, part 2, section 2: fair competition.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.db import storable
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, Transition, power, transition
from marketplace.parties.rules import KINDS
from marketplace.selection import errors
from shuyan.problems import ProblemError

MINIMUM_EXPERTS: Final = 3
"""So many experts have to score before there is a ranking."""

_SCOPE: Final = "agreements"


def _step(action: str, sources: str | tuple[str, ...], target: str, event: Tag | None = None, *, roles: str = "handler") -> Transition:
    return transition(action, sources, target, "data_authority", event, own=True, scope=_SCOPE, roles=roles)


SELECTION: Final = Lifecycle("selection", "draft", (
    _step("edit", "draft", "draft"),
    _step("publish", "draft", "applying", Tag.SELECTION_PUBLISHED, roles="reviewer"),
    *(_step(action, state, state) for state in ("draft", "applying", "scoring") for action in ("name_expert", "dismiss_expert")),
    transition("close", "applying", "scoring", "system", Tag.SELECTION_CLOSED),
    transition("fail", ("applying", "negotiating"), "failed", "system", Tag.SELECTION_FAILED),
    _step("set_aside", "scoring", "scoring", roles="reviewer"),
    transition("rank", "scoring", "ranked", "system", Tag.SELECTION_RANKED),
    _step("negotiate", "ranked", "negotiating", Tag.SELECTION_NEGOTIATING),
    _step("next", "negotiating", "negotiating", Tag.SELECTION_NEXT, roles="reviewer"),
    _step("conclude", "negotiating", "concluded", Tag.SELECTION_CONCLUDED),
    _step("return", "concluded", "negotiating", roles="reviewer"),
    _step("approve", "concluded", "noticed", Tag.SELECTION_APPROVED, roles="reviewer"),
    transition("object", "noticed", "negotiating", "system"),
    transition("pass", "noticed", "selected", "system", Tag.SELECTION_DECIDED),
    # the agreement with the one selected has not come about
    transition("fall_through", "selected", "negotiating", "system", Tag.SELECTION_NEXT),
    _step("cancel", ("draft", "applying", "scoring", "ranked", "negotiating", "concluded"), "cancelled", Tag.SELECTION_CANCELLED,
          roles="reviewer"),
), final=frozenset({"failed", "cancelled"}),
    way=("draft", "applying", "scoring", "ranked", "negotiating", "concluded", "noticed", "selected"))

APPLICATION: Final = Lifecycle("selection_application", "submitted", (
    transition("withdraw", "submitted", "withdrawn", "operator", Tag.APPLICATION_WITHDRAWN, own=True, scope=_SCOPE, roles="handler"),
    transition("set_aside", "submitted", "set_aside", "data_authority", Tag.APPLICATION_SET_ASIDE, own=True, scope=_SCOPE,
               roles="reviewer"),
    transition("choose", "submitted", "chosen", "system"),
    transition("pass_over", ("submitted", "chosen"), "passed_over", "system"),
    transition("recall", "passed_over", "submitted", "system"),
), final=frozenset({"withdrawn", "set_aside"}), way=("submitted", "chosen"))

DRAFT: Final = power("selection.draft", "data_authority", scope=_SCOPE, roles="handler")
APPLY: Final = power("selection.apply", "operator", scope=_SCOPE, roles="handler")
SCORE: Final = power("selection.score", KINDS, scope=_SCOPE)

OVERSEERS: Final = frozenset({"data_authority", "security_supervisor", "system"})
SETTLED: Final = frozenset({"ranked", "negotiating", "concluded", "noticed", "selected", "failed"})
"""States in which the ranking stands and everybody may read it."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Criterion(_Strict):
    key: str = Field(pattern="^[a-z][a-z0-9_]{0,29}$")
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=120)
    weight: int = Field(ge=1, le=100)


class Announcement(_Strict):
    """What a selection notice says."""

    title_zh: str = Field(min_length=1, max_length=120)
    title_en: str = Field(min_length=1, max_length=200)
    conditions: str = Field(min_length=1, max_length=10_000)
    criteria: list[Criterion] = Field(min_length=1, max_length=20)


def parse(given: Mapping[str, Any]) -> Announcement:
    """A notice from outside.

    Raises:
        ProblemError: ``selection_invalid`` naming the field, ``selection_weights``.
    """
    try:
        found = Announcement.model_validate(dict(given))
    except ValidationError as error:
        name = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"])) or "body"
        raise ProblemError(errors.INVALID, field=name, name=name) from None
    texts = {"title_zh": found.title_zh, "title_en": found.title_en, "conditions": found.conditions,
             "criteria": "".join(one.name_zh + one.name_en for one in found.criteria)}
    for name, text in texts.items():
        if not text.strip() or not storable(text):
            raise ProblemError(errors.INVALID, field=name, name=name)
    keys = [one.key for one in found.criteria]
    if len(set(keys)) < len(keys):
        raise ProblemError(errors.INVALID, field="criteria", name="criteria")
    total = sum(one.weight for one in found.criteria)
    if total != 100:
        raise ProblemError(errors.WEIGHTS, field="criteria", total=total)
    return found


def check_deadline(until: dt.datetime, now: dt.datetime) -> None:
    """Raises ``selection_deadline``."""
    if until.tzinfo is None or not now < until <= now + dt.timedelta(days=366):
        raise ProblemError(errors.TOO_SOON, field="apply_until")


def check_points(points: Mapping[str, Any], criteria: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Points for exactly the published criteria. Raises ``score_invalid``; ``True`` is no number."""
    wanted = [str(one["key"]) for one in criteria]
    if set(points) != set(wanted) or any(type(value) is not int or not 0 <= value <= 100 for value in points.values()):
        raise ProblemError(errors.POINTS, field="points")
    return {key: points[key] for key in wanted}


@dataclass(frozen=True)
class Rated:
    """An application with the points of every expert, by criterion."""

    application_id: str
    submitted_at: dt.datetime
    points: tuple[Mapping[str, int], ...]


@dataclass(frozen=True)
class Place:
    """A place in the ranking: the weighted total, and the mean of each criterion in the published order, 0 to 100."""

    application_id: str
    total: Fraction
    parts: tuple[Fraction, ...]


def rank(rated: Sequence[Rated], criteria: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Applications in order, best first; exact, so that no rounding decides.

    Equal totals are decided by the mean of the heaviest criterion, then of the next (of equal weights the one published
    first), at last by who applied earlier. This rule is published with the criteria.
    """
    heaviest = sorted(range(len(criteria)), key=lambda place: (-int(criteria[place]["weight"]), place))

    def placed(one: Rated) -> Place:
        parts = tuple(Fraction(sum(points[str(item["key"])] for points in one.points), len(one.points)) for item in criteria)
        return Place(one.application_id, sum((part * int(item["weight"]) for part, item in zip(parts, criteria, strict=True)),
                                             Fraction(0)) / 100, parts)

    found = [(placed(one), one) for one in rated]
    found.sort(key=lambda pair: (-pair[0].total, tuple(-pair[0].parts[place] for place in heaviest), pair[1].submitted_at,
                                 pair[1].application_id))
    return [place for place, _ in found]


def shown(value: Fraction) -> str:
    """A score with two decimals, halves up; never through a float.

    >>> shown(Fraction(267, 4))
    '66.75'
    """
    hundredths = (value * 200 + 1) // 2
    return f"{hundredths // 100}.{hundredths % 100:02d}"
