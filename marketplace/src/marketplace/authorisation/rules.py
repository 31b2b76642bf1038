"""Decisions of the authorisation chain, without I/O: who may do what, what may be asked for, what may be granted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.actor import Actor
from marketplace.authorisation import errors
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, transition
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedResource, OutputForm, PrivacyTerms, SoleValues

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


def parse_body(body: Mapping[str, Any]) -> DemandBody:
    """The body of a demand. Raises ``demand_invalid`` naming the field."""
    try:
        return DemandBody.model_validate(dict(body))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"]) or "body"
        raise ProblemError(errors.DEMAND_INVALID, field=where, name=where) from None


def check_demand(body: DemandBody, resources: Mapping[str, ResourceFacts], apps: Mapping[str, AppFacts]) -> None:
    """Decide whether a demand may be put forward at all, whoever asks.

    Args:
        resources: catalogue entries by id.
        apps: registered apps by name.

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
        if apps[app].form not in body.output_forms:
            raise ProblemError(errors.FORM_UNFIT, field="output_forms", app=app, form=apps[app].form)
        if body.release == "dp" and not apps[app].noisy:
            raise ProblemError(errors.APP_WITHOUT_NOISE, field=f"apps.{position}", app=app)
    departments = Counter(name for name, _ in {(resources[item.resource_id].name, resources[item.resource_id].node_id)
                                               for item in body.resources})
    for name, count in departments.items():
        if count < body.minimum_participants:
            raise ProblemError(errors.DEPARTMENTS_TOO_FEW, field="resources", resource=name, count=count,
                               minimum=body.minimum_participants)
    if body.privacy is not None:
        _check_units(body.privacy, [resources[item.resource_id] for item in body.resources])


def _check_terms(body: DemandBody) -> None:
    if body.minimum_cohort < MINIMUM_COHORT:
        raise ProblemError(errors.COHORT_TOO_SMALL, field="minimum_cohort", minimum=MINIMUM_COHORT)
    if body.minimum_participants < MINIMUM_PARTICIPANTS:
        raise ProblemError(errors.PARTICIPANTS_TOO_FEW, field="minimum_participants", minimum=MINIMUM_PARTICIPANTS)
    if not 1 <= body.term_days <= MAXIMUM_TERM_DAYS:
        raise ProblemError(errors.TERM_TOO_LONG, field="term_days", maximum=MAXIMUM_TERM_DAYS)
    if (body.release == "dp") != (body.privacy is not None):
        raise ProblemError(errors.RELEASE_INVALID, field="privacy", name="privacy")
    if body.privacy is not None and (body.privacy.epsilon is None) == (body.privacy.rho_nano is None):
        raise ProblemError(errors.BUDGET_INVALID, field="privacy.epsilon")
    if body.own_figures and not body.own_figures_reason.strip():
        raise ProblemError(errors.OWN_FIGURES_UNEXPLAINED, field="own_figures_reason")


def _check_units(privacy: DemandedPrivacy, resources: Iterable[ResourceFacts]) -> None:
    """Each resource has the column that tells units apart. It may be an identifier: it is only counted by."""
    names = set()
    for facts in resources:
        names.add(facts.name)
        column = privacy.unit_columns.get(facts.name)
        where = f"privacy.unit_columns.{facts.name}"
        if column is None:
            raise ProblemError(errors.UNIT_COLUMN_MISSING, field=where, resource=facts.name)
        if column not in facts.columns:
            raise ProblemError(errors.UNIT_COLUMN_UNKNOWN, field=where, resource=facts.name, column=column,
                               node=facts.node or facts.node_id)
    if extra := sorted(set(privacy.unit_columns) - names):
        raise ProblemError(errors.DEMAND_INVALID, field=f"privacy.unit_columns.{extra[0]}", name="unit_columns")


def sole_values(resources: Iterable[GrantedResource], facts: Mapping[str, ResourceFacts]) -> tuple[SoleValues, ...]:
    """By granted resource and dimension, the values that fewer than two of its departments declare, sorted.

    A group of such a value is one department's own, however many departments take part.

    Args:
        facts: catalogue entries by id.
    """
    declared: dict[tuple[str, str], Counter[str]] = {}
    for item in resources:
        for column in item.columns:
            if values := facts[item.resource_id].domains.get(column):
                declared.setdefault((item.name, column), Counter()).update(set(values))
    out = []
    for (name, column), counts in sorted(declared.items()):
        if alone := sorted(value for value, count in counts.items() if count < 2):
            out.append(SoleValues(resource=name, column=column, values=tuple(alone)))
    return tuple(out)


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


def check_within(grant: Grant, draft: Grant, facts: Mapping[str, ResourceFacts], now: float) -> None:
    """Check that a signed ``grant`` is the ``draft`` of its demand or narrower.

    Args:
        facts: the granted resources' catalogue entries by id.

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
        "release": grant.release == draft.release,
        "privacy": _privacy_within(grant.privacy, draft.privacy),
        "own_figures": draft.own_figures or not grant.own_figures,
        "iat": grant.iat <= now + CLOCK_SKEW_SECONDS,
        "exp": now < grant.exp <= grant.iat + (draft.exp - draft.iat),
    }
    for name, holds in within.items():
        if not holds:
            raise ProblemError(errors.GRANT_TOO_WIDE, name=name)
    named = {(entry.resource, entry.column): set(entry.values) for entry in grant.sole_values}
    for entry in sole_values(grant.resources, facts):  # fewer resources leave more values alone
        if not set(entry.values) <= named.get((entry.resource, entry.column), set()):
            raise ProblemError(errors.GRANT_TOO_WIDE, name="sole_values")


def _privacy_within(terms: PrivacyTerms | None, draft: PrivacyTerms | None) -> bool:
    if terms is None or draft is None:
        return terms is draft
    return (terms.unit == draft.unit and terms.unit_columns.items() <= draft.unit_columns.items()
            and terms.max_rows_per_unit <= draft.max_rows_per_unit
            and terms.max_groups_per_unit <= draft.max_groups_per_unit and terms.delta <= draft.delta
            and terms.rho_nano <= draft.rho_nano and terms.honest_fraction <= draft.honest_fraction)


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
