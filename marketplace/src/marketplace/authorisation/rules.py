"""Decisions of the authorisation chain, without I/O: who may do what, what may be asked for, what may be granted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.actor import Actor
from marketplace.authorisation import errors
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, transition
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, OutputForm

APPLICANTS: Final = ("developer", "operator")

SCENARIO: Final = Lifecycle("scenario", "proposed", (
    # The transition "grant" follows from accepting a grant; nobody authorises a scenario without a list of data.
    transition("grant", ("proposed", "authorised"), "authorised", "data_authority", scope="grants"),
    transition("withdraw", "proposed", "withdrawn", APPLICANTS, Tag.SCENARIO_WITHDRAWN, own=True, scope="jobs"),
), final=frozenset({"withdrawn"}))

DEMAND: Final = Lifecycle("demand", "submitted", (
    transition("grant", "submitted", "granted", "data_authority", Tag.GRANT_ISSUED, scope="grants"),
    transition("refuse", "submitted", "refused", "data_authority", Tag.DEMAND_REFUSED, scope="grants"),
    transition("withdraw", "submitted", "withdrawn", APPLICANTS, Tag.DEMAND_WITHDRAWN, own=True, scope="jobs"),
), final=frozenset({"granted", "refused", "withdrawn"}))

GRANT: Final = Lifecycle("grant", "active", (
    transition("revoke", "active", "revoked", "data_authority", Tag.GRANT_REVOKED, scope="grants"),
), final=frozenset({"revoked"}))

OVERSEERS: Final = frozenset({"data_authority", "operator", "source_department", "industry_department",
                              "security_supervisor", "system"})
"""Who sees every scenario, demand and grant: those who review and supervise, and the departments asked."""

# The usual threshold rule of official statistics (Handbook on Statistical Disclosure Control for Outputs, 2019).
MINIMUM_COHORT: Final = 10
# With two, each learns the other's contribution by subtracting its own from the sum.
MINIMUM_PARTICIPANTS: Final = 3
MAXIMUM_TERM_DAYS: Final = 3 * 365
NEVER_GRANTED_GRADE: Final = 4
MAX_RESOURCES: Final = 400
CLOCK_SKEW_SECONDS: Final = 300  # a grant begins this much before it is signed, for nodes whose clock is slow
DAY: Final = 86_400


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DemandedResource(_Strict):
    resource_id: str = Field(min_length=1, max_length=64)
    columns: list[str] = Field(min_length=1, max_length=2000)


class DemandBody(_Strict):
    """What a data demand asks for. ``term_days`` counts from the signing of the grant."""

    resources: list[DemandedResource] = Field(min_length=1, max_length=MAX_RESOURCES)
    apps: list[str] = Field(min_length=1, max_length=20)
    minimum_cohort: int = MINIMUM_COHORT
    minimum_participants: int = MINIMUM_PARTICIPANTS
    output_forms: list[OutputForm] = Field(min_length=1, max_length=2)
    term_days: int = 365


@dataclass(frozen=True)
class ResourceFacts:
    """What the rules need of a catalogue entry. ``columns`` maps each name to whether it is a direct identifier."""

    id: str
    node_id: str
    name: str
    grade: int
    active: bool
    columns: Mapping[str, bool]


def parse_body(body: Mapping[str, Any]) -> DemandBody:
    """The body of a demand. Raises ``demand_invalid`` naming the field."""
    try:
        return DemandBody.model_validate(dict(body))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"]) or "body"
        raise ProblemError(errors.DEMAND_INVALID, field=where, name=where) from None


def check_demand(body: DemandBody, resources: Mapping[str, ResourceFacts], apps: Mapping[str, str]) -> None:
    """Decide whether a demand may be put forward at all, whoever asks.

    Args:
        resources: catalogue entries by id.
        apps: registered apps, name → output form.

    Raises:
        ProblemError: the first thing that is wrong, with its field.
    """
    _check_terms(body)
    _distinct("resources", [item.resource_id for item in body.resources])
    _distinct("apps", body.apps)
    _distinct("output_forms", body.output_forms)
    for position, item in enumerate(body.resources):
        _check_resource(f"resources.{position}", item, resources.get(item.resource_id))
    for position, app in enumerate(body.apps):
        if app not in apps:
            raise ProblemError(errors.APP_UNKNOWN, field=f"apps.{position}", app=app)
        if apps[app] not in body.output_forms:
            raise ProblemError(errors.FORM_UNFIT, field="output_forms", app=app, form=apps[app])
    departments = Counter(name for name, _ in {(resources[item.resource_id].name, resources[item.resource_id].node_id)
                                               for item in body.resources})
    for name, count in departments.items():
        if count < body.minimum_participants:
            raise ProblemError(errors.DEPARTMENTS_TOO_FEW, field="resources", resource=name, count=count,
                               minimum=body.minimum_participants)


def _check_terms(body: DemandBody) -> None:
    if body.minimum_cohort < MINIMUM_COHORT:
        raise ProblemError(errors.COHORT_TOO_SMALL, field="minimum_cohort", minimum=MINIMUM_COHORT)
    if body.minimum_participants < MINIMUM_PARTICIPANTS:
        raise ProblemError(errors.PARTICIPANTS_TOO_FEW, field="minimum_participants", minimum=MINIMUM_PARTICIPANTS)
    if not 1 <= body.term_days <= MAXIMUM_TERM_DAYS:
        raise ProblemError(errors.TERM_TOO_LONG, field="term_days", maximum=MAXIMUM_TERM_DAYS)


def _check_resource(where: str, item: DemandedResource, facts: ResourceFacts | None) -> None:
    if facts is None or not facts.active:
        raise ProblemError(errors.RESOURCE_UNKNOWN, field=f"{where}.resource_id",
                           resource=facts.name if facts else item.resource_id)
    if facts.grade >= NEVER_GRANTED_GRADE:
        raise ProblemError(errors.GRADE_FORBIDDEN, field=f"{where}.resource_id", resource=facts.name)
    _distinct(f"{where}.columns", item.columns)
    for column in item.columns:
        if column not in facts.columns:
            raise ProblemError(errors.COLUMN_UNKNOWN, field=f"{where}.columns", resource=facts.name, column=column)
        if facts.columns[column]:
            raise ProblemError(errors.COLUMN_IDENTIFIER, field=f"{where}.columns", resource=facts.name, column=column)


def _distinct(field: str, values: Iterable[str]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise ProblemError(errors.DEMAND_INVALID, field=field, name=field)


def check_within(grant: Grant, draft: Grant, now: float) -> None:
    """Check that a signed ``grant`` is the ``draft`` of its demand or narrower.

    Raises:
        ProblemError: ``grant_other_demand`` or ``grant_too_wide``, naming the claim.
    """
    for name in ("iss", "jti", "scenario", "scenario_title", "purpose", "grantee", "grantee_name"):
        if getattr(grant, name) != getattr(draft, name):
            raise ProblemError(errors.GRANT_OTHER_DEMAND, name=name)
    resources = {item.resource_id: item for item in draft.resources}
    within = {
        "nodes": set(grant.nodes) <= set(draft.nodes),
        "apps": set(grant.apps) <= set(draft.apps),
        "output_forms": set(grant.output_forms) <= set(draft.output_forms),
        "resources": all(
            (asked := resources.get(item.resource_id)) is not None
            and (item.node_id, item.name) == (asked.node_id, asked.name) and set(item.columns) <= set(asked.columns)
            for item in grant.resources),
        "minimum_cohort": grant.minimum_cohort >= draft.minimum_cohort,
        "minimum_participants": grant.minimum_participants >= draft.minimum_participants,
        "max_output_values": grant.max_output_values <= draft.max_output_values,
        "iat": grant.iat <= now + CLOCK_SKEW_SECONDS,
        "exp": now < grant.exp <= grant.iat + (draft.exp - draft.iat),
    }
    for name, holds in within.items():
        if not holds:
            raise ProblemError(errors.GRANT_TOO_WIDE, name=name)


def may_apply(actor: Actor) -> bool:
    """Whether ``actor`` may propose scenarios and submit demands at all."""
    if actor.party not in APPLICANTS or actor.organisation_id is None:
        return False
    return actor.scopes is None or "jobs" in actor.scopes


def may_issue(actor: Actor) -> bool:
    """Whether ``actor`` may fetch drafts and hand in grants and revocation lists."""
    if actor.party != "data_authority" or actor.organisation_id is None:
        return False
    return actor.scopes is None or "grants" in actor.scopes


def may_see(actor: Actor, owner: str) -> bool:
    """Whether ``actor`` may see a scenario, demand or grant of organisation ``owner``."""
    return actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id == owner)


def grant_id(demand_id: str) -> str:
    """The ``jti`` of a demand's grant: a demand has at most one, and signing it twice makes no second."""
    return "grant_" + demand_id.partition("_")[2]
