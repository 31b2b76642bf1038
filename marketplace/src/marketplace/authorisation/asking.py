"""What may be asked for, without I/O: the list of data of a demand, and everything that stands against it.

A demand's page shows all of it while the list is written (:func:`findings`); handing in stops at the first (:func:`check`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.authorisation import errors
from marketplace.text import storable
from shuyan.problems import ProblemError
from shuyan.trust.grants import OutputForm

# The usual threshold rule of official statistics (Handbook on Statistical Disclosure Control for Outputs, 2019).
MINIMUM_COHORT: Final = 10
# With two, each learns the other's contribution by subtracting its own from the sum.
MINIMUM_PARTICIPANTS: Final = 3
MAXIMUM_TERM_DAYS: Final = 3 * 365
NEVER_GRANTED_GRADE: Final = 4
MAX_RESOURCES: Final = 400
MAX_LINE_REASON: Final = 500
CLOCK_SKEW_SECONDS: Final = 300  # a grant begins this much before it is signed, for nodes whose clock is slow
DAY: Final = 86_400


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DemandedResource(_Strict):
    resource_id: str = Field(min_length=1, max_length=64)
    columns: list[str] = Field(min_length=1, max_length=2000)
    reason: str = Field(default="", max_length=MAX_LINE_REASON)


class DemandedPrivacy(_Strict):
    """What answers with noise shall protect; see :class:`shuyan.trust.grants.PrivacyTerms`.

    The budget is ``epsilon`` at ``delta``, or ``rho_nano`` (1e-9 of zCDP's ρ): one of the two.
    """

    unit: str = Field(min_length=1, max_length=40)
    unit_columns: dict[str, str] = Field(min_length=1, max_length=MAX_RESOURCES)
    max_rows_per_unit: int = Field(default=1, ge=1, le=1_000_000)
    max_groups_per_unit: int = Field(default=1, ge=1, le=1_000_000)
    delta: float = Field(default=1e-6, gt=0, lt=0.01, allow_inf_nan=False)
    epsilon: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    rho_nano: int | None = Field(default=None, ge=1, le=10**15)
    honest_fraction: float = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)


class DemandBody(_Strict):
    """What a data demand asks for. ``term_days`` counts from the signing of the grant.

    Attributes:
        release: ``exact``, or ``dp``: answers with noise under ``privacy``.
        own_figures: results shall show what is one department's own figure, for ``own_figures_reason``.
    """

    resources: list[DemandedResource] = Field(min_length=1, max_length=MAX_RESOURCES)
    apps: list[str] = Field(min_length=1, max_length=20)
    minimum_cohort: int = MINIMUM_COHORT
    minimum_participants: int = MINIMUM_PARTICIPANTS
    output_forms: list[OutputForm] = Field(min_length=1, max_length=2)
    term_days: int = 365
    release: Literal["exact", "dp"] = "exact"
    privacy: DemandedPrivacy | None = None
    own_figures: bool = False
    own_figures_reason: str = Field(default="", max_length=500)


@dataclass(frozen=True)
class ResourceFacts:
    """What the rules need of a catalogue entry.

    Attributes:
        columns: by name, whether it is a direct identifier.
        domains: by name, the declared values of a dimension.
    """

    id: str
    node_id: str
    name: str
    grade: int
    active: bool
    columns: Mapping[str, bool]
    domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    node: str = ""


@dataclass(frozen=True)
class AppFacts:
    """What the rules need of a registered app: its output form, and whether it can answer with noise."""

    form: str
    noisy: bool


@dataclass(frozen=True)
class Around:
    """What a list is held against beside the catalogue.

    Attributes:
        negative: by resource id, what of it is on the negative list: columns, or ``""`` for all of it.
        exhausted: resources whose total volume is used up.
        frame_ends: when the operation agreement it would rest on ends; ``None``: it has no end that is known.
        framed: whether one agreement covers all of it.
        unframed: by resource id, why no agreement covers it: ``agreement_missing`` or ``agreement_expired``.
        scenario_days: how long the scenario is to run.
        now: aware.
    """

    now: dt.datetime
    negative: Mapping[str, frozenset[str]] = field(default_factory=dict)
    exhausted: frozenset[str] = frozenset()
    frame_ends: dt.datetime | None = None
    framed: bool = True
    unframed: Mapping[str, str] = field(default_factory=dict)
    scenario_days: int | None = None


def parse_body(body: Mapping[str, Any]) -> DemandBody:
    """The body of a demand. Raises ``demand_invalid`` naming the field."""
    for problem in unreadable(body):
        raise problem
    return DemandBody.model_validate(dict(body))


def unreadable(body: Mapping[str, Any]) -> Iterator[ProblemError]:
    """What of a body has not the agreed form."""
    try:
        DemandBody.model_validate(dict(body))
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in one["loc"]) or "body"
            yield ProblemError(errors.DEMAND_INVALID, field=where, name=where)


def check(body: DemandBody, resources: Mapping[str, ResourceFacts], apps: Mapping[str, AppFacts],
          around: Around | None = None) -> None:
    """Decide whether a demand may be put forward at all, whoever asks. Raises the first of :func:`findings`."""
    for problem in findings(body, resources, apps, around):
        raise problem


def findings(body: DemandBody, resources: Mapping[str, ResourceFacts], apps: Mapping[str, AppFacts],
             around: Around | None = None) -> Iterator[ProblemError]:
    """All that stands against a demand, each with its field; ``resources.<n>`` and ``apps.<n>`` are lines of the list.

    Args:
        resources: catalogue entries by id.
        apps: registered apps by name.
        around: what else it is held against; ``None``: nothing.
    """
    yield from _terms(body, around)
    yield from _distinct("resources", [item.resource_id for item in body.resources])
    yield from _distinct("apps", body.apps)
    yield from _distinct("output_forms", body.output_forms)
    for position, item in enumerate(body.resources):
        yield from _line(f"resources.{position}", item, resources.get(item.resource_id), around)
    for position, app in enumerate(body.apps):
        if app not in apps:
            yield ProblemError(errors.APP_UNKNOWN, field=f"apps.{position}", app=app)
            continue
        if apps[app].form not in body.output_forms:
            yield ProblemError(errors.FORM_UNFIT, field="output_forms", app=app, form=apps[app].form)
        if body.release == "dp" and not apps[app].noisy:
            yield ProblemError(errors.APP_WITHOUT_NOISE, field=f"apps.{position}", app=app)
    yield from enough_departments(body, resources)
    if body.privacy is not None:
        yield from _units(body.privacy, [resources[item.resource_id] for item in body.resources if item.resource_id in resources])


def enough_departments(body: DemandBody, resources: Mapping[str, ResourceFacts]) -> Iterator[ProblemError]:
    """Each table is asked of at least as many departments as have to take part."""
    known = [resources[item.resource_id] for item in body.resources if item.resource_id in resources]
    for name, count in Counter(name for name, _ in {(one.name, one.node_id) for one in known}).items():
        if count < body.minimum_participants:
            yield ProblemError(errors.DEPARTMENTS_TOO_FEW, field="resources", resource=name, count=count,
                               minimum=body.minimum_participants)


def without(body: DemandBody, struck: Iterable[str]) -> DemandBody | None:
    """The list without the struck resources; ``None`` if nothing is left, or too little to be granted at all."""
    out = set(struck)
    left = [item for item in body.resources if item.resource_id not in out]
    return body.model_copy(update={"resources": left}) if left else None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What differs between two versions of a list: ``{what, key, before, after}``; lines by resource, the rest by field.

    A line that is new has ``before`` ``None``; one that is gone has ``after`` ``None``.
    """
    out: list[dict[str, Any]] = []
    old = {item["resource_id"]: item for item in before.get("resources", ()) if isinstance(item, Mapping)}
    new = {item["resource_id"]: item for item in after.get("resources", ()) if isinstance(item, Mapping)}
    for key in [*old, *(name for name in new if name not in old)]:
        for part in ("columns", "reason"):
            was, now = old.get(key, {}).get(part), new.get(key, {}).get(part)
            if (was or None) != (now or None):
                out.append({"what": part, "key": key, "before": was if key in old else None, "after": now if key in new else None})
    return out + [{"what": "term", "key": name, "before": before.get(name), "after": after.get(name)}
                  for name in DemandBody.model_fields if name != "resources" and before.get(name) != after.get(name)]


def _terms(body: DemandBody, around: Around | None) -> Iterator[ProblemError]:
    if body.minimum_cohort < MINIMUM_COHORT:
        yield ProblemError(errors.COHORT_TOO_SMALL, field="minimum_cohort", minimum=MINIMUM_COHORT)
    if body.minimum_participants < MINIMUM_PARTICIPANTS:
        yield ProblemError(errors.PARTICIPANTS_TOO_FEW, field="minimum_participants", minimum=MINIMUM_PARTICIPANTS)
    if not 1 <= body.term_days <= MAXIMUM_TERM_DAYS:
        yield ProblemError(errors.TERM_TOO_LONG, field="term_days", maximum=MAXIMUM_TERM_DAYS)
    elif around is not None:
        if around.scenario_days is not None and body.term_days > around.scenario_days:
            yield ProblemError(errors.TERM_BEYOND_SCENARIO, field="term_days", maximum=around.scenario_days)
        if not around.framed and not around.unframed:  # each is covered, but by no single agreement
            yield ProblemError(errors.OPERATION_MISSING, field="resources")
        elif around.frame_ends is not None and around.now + dt.timedelta(days=body.term_days) > around.frame_ends:
            yield ProblemError(errors.OPERATION_ENDS, field="term_days", days=max(0, (around.frame_ends - around.now).days))
    if (body.release == "dp") != (body.privacy is not None):
        yield ProblemError(errors.RELEASE_INVALID, field="privacy", name="privacy")
    if body.privacy is not None and (body.privacy.epsilon is None) == (body.privacy.rho_nano is None):
        yield ProblemError(errors.BUDGET_INVALID, field="privacy.epsilon")
    if body.own_figures and not body.own_figures_reason.strip():
        yield ProblemError(errors.OWN_FIGURES_UNEXPLAINED, field="own_figures_reason")
    if not storable(body.own_figures_reason):
        yield ProblemError(errors.DEMAND_INVALID, field="own_figures_reason", name="own_figures_reason")


def _line(where: str, item: DemandedResource, facts: ResourceFacts | None, around: Around | None) -> Iterator[ProblemError]:
    if around is not None and not item.reason.strip():
        yield ProblemError(errors.LINE_UNEXPLAINED, field=f"{where}.reason", resource=facts.name if facts else item.resource_id)
    if not storable(item.reason + "".join(item.columns)):
        yield ProblemError(errors.DEMAND_INVALID, field=f"{where}.reason", name="reason")
    if facts is None or not facts.active:
        yield ProblemError(errors.RESOURCE_UNKNOWN, field=f"{where}.resource_id",
                           resource=facts.name if facts else item.resource_id)
        return
    if facts.grade >= NEVER_GRANTED_GRADE:
        yield ProblemError(errors.GRADE_FORBIDDEN, field=f"{where}.resource_id", resource=facts.name)
    if around is not None and item.resource_id in around.unframed:
        yield ProblemError(around.unframed[item.resource_id], field=f"{where}.resource_id", resource=facts.name)
    if around is not None and item.resource_id in around.exhausted:
        yield ProblemError(errors.VOLUME_EXHAUSTED, field=f"{where}.resource_id", resource=facts.name,
                           node=facts.node or facts.node_id)
    negative = around.negative.get(item.resource_id, frozenset()) if around is not None else frozenset()
    if "" in negative:
        yield ProblemError(errors.RESOURCE_NEGATIVE, field=f"{where}.resource_id", resource=facts.name)
    yield from _distinct(f"{where}.columns", item.columns)
    for column in item.columns:
        if column not in facts.columns:
            yield ProblemError(errors.COLUMN_UNKNOWN, field=f"{where}.columns", resource=facts.name, column=column)
        elif facts.columns[column]:
            yield ProblemError(errors.COLUMN_IDENTIFIER, field=f"{where}.columns", resource=facts.name, column=column)
        elif column in negative:
            yield ProblemError(errors.COLUMN_NEGATIVE, field=f"{where}.columns", resource=facts.name, column=column)


def _units(privacy: DemandedPrivacy, resources: Iterable[ResourceFacts]) -> Iterator[ProblemError]:
    """Each resource has the column that tells units apart. It may be an identifier: it is only counted by."""
    names = set()
    for facts in resources:
        names.add(facts.name)
        column = privacy.unit_columns.get(facts.name)
        where = f"privacy.unit_columns.{facts.name}"
        if column is None:
            yield ProblemError(errors.UNIT_COLUMN_MISSING, field=where, resource=facts.name)
        elif column not in facts.columns:
            yield ProblemError(errors.UNIT_COLUMN_UNKNOWN, field=where, resource=facts.name, column=column,
                               node=facts.node or facts.node_id)
    if extra := sorted(set(privacy.unit_columns) - names):
        yield ProblemError(errors.DEMAND_INVALID, field=f"privacy.unit_columns.{extra[0]}", name="unit_columns")


def _distinct(field_: str, values: Iterable[str]) -> Iterator[ProblemError]:
    listed = list(values)
    if len(set(listed)) != len(listed):
        yield ProblemError(errors.DEMAND_INVALID, field=field_, name=field_)
