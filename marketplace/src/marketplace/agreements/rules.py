"""Decisions about agreements, without I/O: their lives, their terms, what they cover, when they end and may be renewed.

Clauses cited: the Shuozhou plan (sections 5, 6 and 8), the Guizhou measures as explained (part 2, sections 2 and 4), the
Yinchuan pilot (section 4, clause 3), and the Civil Code (articles 201 to 203) on how terms are counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.actor import Actor
from marketplace.agreements import errors
from marketplace.clock import CITY
from marketplace.db import storable
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, Transition, power, transition
from shuyan.problems import ProblemError

Kind = Literal["operation", "development"]
Mode = Literal["overall", "field", "scenario"]

MAXIMUM_MONTHS: Final = 36
"""Authorisation runs for three years at most (Shuozhou plan, section 8; Guizhou measures, authorisation procedure)."""

RENEWAL_FROM, RENEWAL_UNTIL = 6, 3
"""Months before the end between which renewal is asked for (Shuozhou plan, section 8)."""

WARNINGS: Final = (180, 90, 30, 7)
"""Days before the end at which both sides are told."""

SIDES: Final[dict[str, tuple[str, str]]] = {
    "operation": ("data_authority", "operator"), "development": ("operator", "developer")}
"""Kinds of organisation of grantor and grantee."""

_SCOPE: Final = "agreements"
_FINAL: Final = frozenset({"broken_off", "withdrawn", "terminated", "lapsed"})


def _step(action: str, sources: str | tuple[str, ...], target: str, parties: str | tuple[str, ...], event: Tag | None = None, *,
          roles: str | tuple[str, ...] = "handler", own: bool = True) -> Transition:
    return transition(action, sources, target, parties, event, own=own, scope=_SCOPE, roles=roles)


_O: Final = SIDES["operation"]
OPERATION: Final = Lifecycle("operation_agreement", "draft", (
    _step("edit", "draft", "draft", "data_authority"),
    _step("propose", "draft", "negotiating", "data_authority", Tag.AGREEMENT_PROPOSED),
    _step("withdraw", "draft", "withdrawn", "data_authority", Tag.AGREEMENT_WITHDRAWN),
    _step("counter", "negotiating", "negotiating", _O, Tag.AGREEMENT_COUNTERED),
    _step("accept_terms", "negotiating", "terms_agreed", _O, Tag.AGREEMENT_ACCEPTED, roles=("handler", "reviewer")),
    _step("return", "terms_agreed", "negotiating", "data_authority", Tag.AGREEMENT_RETURNED, roles="reviewer"),
    _step("approve", "terms_agreed", "noticed", "data_authority", Tag.AGREEMENT_APPROVED, roles="reviewer"),
    transition("object", "noticed", "negotiating", "system", Tag.AGREEMENT_RETURNED),
    transition("pass", "noticed", "signing", "system"),
    _step("sign", "signing", "effective", _O, Tag.AGREEMENT_SIGNED, roles="admin"),
    _step("break_off", ("negotiating", "terms_agreed", "noticed", "signing"), "broken_off", _O, Tag.AGREEMENT_REFUSED, roles="reviewer"),
    transition("expire", "signing", "broken_off", "system", Tag.AGREEMENT_REFUSED),
    _step("suspend", "effective", "suspended", "data_authority", Tag.AGREEMENT_SUSPENDED, roles="reviewer"),
    _step("resume", "suspended", "effective", "data_authority", Tag.AGREEMENT_RESUMED, roles="reviewer"),
    _step("terminate", ("effective", "suspended"), "terminated", "data_authority", Tag.AGREEMENT_TERMINATED, roles="reviewer"),
    transition("lapse", ("effective", "suspended"), "lapsed", "system", Tag.AGREEMENT_LAPSED),
), final=_FINAL, way=("draft", "negotiating", "terms_agreed", "noticed", "signing", "effective", "lapsed"))

_D: Final = SIDES["development"]
DEVELOPMENT: Final = Lifecycle("development_agreement", "signing", (
    _step("counter", ("negotiating", "signing"), "negotiating", _D, Tag.AGREEMENT_COUNTERED),
    _step("accept_terms", "negotiating", "signing", _D, Tag.AGREEMENT_ACCEPTED, roles=("handler", "reviewer")),
    _step("sign", "signing", "effective", _D, Tag.AGREEMENT_SIGNED, roles="admin"),
    _step("break_off", ("negotiating", "signing"), "broken_off", _D, Tag.AGREEMENT_REFUSED, roles="reviewer"),
    transition("expire", "signing", "broken_off", "system", Tag.AGREEMENT_REFUSED),
    transition("withdraw", ("negotiating", "signing"), "withdrawn", "system", Tag.AGREEMENT_WITHDRAWN),
    *(step for own, party in ((True, "operator"), (False, "data_authority")) for step in (
        _step("suspend", "effective", "suspended", party, Tag.AGREEMENT_SUSPENDED, roles="reviewer", own=own),
        _step("resume", "suspended", "effective", party, Tag.AGREEMENT_RESUMED, roles="reviewer", own=own),
        _step("terminate", ("effective", "suspended"), "terminated", party, Tag.AGREEMENT_TERMINATED, roles="reviewer", own=own))),
    transition("lapse", ("effective", "suspended"), "lapsed", "system", Tag.AGREEMENT_LAPSED),
), final=_FINAL, way=("signing", "effective", "lapsed"))

RENEWAL: Final = Lifecycle("agreement_renewal", "asked", (
    _step("withdraw", ("asked", "signing"), "withdrawn", "operator", Tag.RENEWAL_WITHDRAWN),
    _step("offer", "asked", "signing", "data_authority", Tag.RENEWAL_OFFERED, roles="reviewer"),
    _step("decline", ("asked", "signing"), "declined", "data_authority", Tag.RENEWAL_DECLINED, roles="reviewer"),
    _step("sign", "signing", "signed", _O, Tag.AGREEMENT_SIGNED, roles="admin"),
    transition("lapse", ("asked", "signing"), "lapsed", "system"),
), final=frozenset({"withdrawn", "declined", "signed", "lapsed"}), way=("asked", "signing", "signed"))

LIVES: Final = {"operation": OPERATION, "development": DEVELOPMENT}

DRAFT: Final = power("agreement.draft", "data_authority", scope=_SCOPE, roles="handler")
OPEN: Final = power("agreement.open_development", ("operator", "system"), scope=_SCOPE)
ASK: Final = power("agreement.ask_renewal", "operator", own=True, scope=_SCOPE, roles="handler")

OVERSEERS: Final = frozenset({"data_authority", "security_supervisor", "finance_department", "system"})
"""Who reads every agreement, terms and all."""

PUBLIC_STATES: Final = frozenset({"noticed", "signing", "effective", "suspended", "terminated", "lapsed"})
"""From public notice on, anybody may read who is authorised, for what and until when (Shuozhou plan, section 10, part 7)."""


def may_read(actor: Actor, grantor_id: str, grantee_id: str) -> bool:
    """Whether the actor reads everything of the agreement: its two sides and those who oversee."""
    return actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id in (grantor_id, grantee_id))


def is_public(kind: str, status: str) -> bool:
    return kind == "operation" and status in PUBLIC_STATES


def side(actor: Actor, grantor_id: str, grantee_id: str) -> str:
    """The owner by which a lifecycle is asked: the actor's own organisation if it is a side, else the grantor."""
    return grantee_id if actor.organisation_id == grantee_id else grantor_id


# --- terms ---


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Split(_Strict):
    """Per cent of revenue; adds up to 100."""

    treasury: int = Field(ge=0, le=100)
    operator: int = Field(ge=0, le=100)
    source_departments: int = Field(ge=0, le=100)
    developer: int = Field(ge=0, le=100)


class File(_Strict):
    id: str = Field(max_length=64)
    name: str = Field(max_length=120)
    digest: str = Field(max_length=80)


class _Common(_Strict):
    mode: Mode = "overall"
    resources: list[str] = Field(default_factory=list, max_length=1000)
    sectors: list[str] = Field(default_factory=list, max_length=20)
    departments: list[str] = Field(default_factory=list, max_length=1000)
    months: int | None = None
    until: str | None = Field(default=None, max_length=40)
    usage_fee_fen: int = Field(default=0, ge=0, le=10**15)
    split: Split
    conditions: str = Field(default="", max_length=10_000)


class Proposal(_Common):
    """Terms as a side hands them in: ``plan`` and ``text`` are ids of uploaded files."""

    plan: str | None = Field(default=None, max_length=64)
    text: str | None = Field(default=None, max_length=64)


class Terms(_Common):
    """Terms as they are kept and signed.

    Attributes:
        resources, sectors: what is authorised: a resource that is listed, or whose sector is; everything where both are empty.
        departments: only what these departments keep; all departments where empty.
        months: how long an operation agreement runs from the day on which both have signed.
        until: first moment, ISO 8601 in UTC, at which a development agreement is over.
        usage_fee_fen: yearly fee to the treasury.
        plan: the emergency plan (一授权一预案: Yinchuan pilot, section 4, clause 3).
    """

    plan: File | None = None
    text: File | None = None


def parse(given: Mapping[str, Any]) -> Proposal:
    """Terms from outside, every rule of form checked.

    Raises:
        ProblemError: ``agreement_terms_invalid`` naming the field, ``agreement_term_length``, ``agreement_split``.
    """
    try:
        terms = Proposal.model_validate(dict(given))
    except ValidationError as error:
        name = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"])) or "terms"
        raise ProblemError(errors.TERMS_INVALID, field=name, name=name) from None
    for name in ("resources", "sectors", "departments"):
        values = getattr(terms, name)
        if len(set(values)) != len(values) or not all(1 <= len(value) <= 64 and storable(value) for value in values):
            raise ProblemError(errors.TERMS_INVALID, field=name, name=name)
    if not storable(terms.conditions):
        raise ProblemError(errors.TERMS_INVALID, field="conditions", name="conditions")
    if terms.months is not None and not 1 <= terms.months <= MAXIMUM_MONTHS:
        raise ProblemError(errors.TERM_LENGTH, field="months", months=terms.months, maximum=MAXIMUM_MONTHS)
    total = sum(terms.split.model_dump().values())
    if total != 100:
        raise ProblemError(errors.SPLIT, field="split", total=total)
    return terms


def check_operation(terms: Proposal) -> None:
    """What only an operation agreement's terms must hold.

    Raises:
        ProblemError: ``agreement_term_length``, ``agreement_terms_invalid``, ``agreement_scope_empty``.
    """
    if terms.months is None:
        raise ProblemError(errors.TERM_LENGTH, field="months", months=0, maximum=MAXIMUM_MONTHS)
    if terms.until is not None:
        raise ProblemError(errors.TERMS_INVALID, field="until", name="until")
    if (terms.mode == "field" and not terms.sectors) or (terms.mode == "scenario" and not (terms.resources or terms.sectors)):
        raise ProblemError(errors.SCOPE_EMPTY, field="sectors" if terms.mode == "field" else "resources")


def check_until(until: str | None, now: dt.datetime, latest: dt.datetime | None) -> dt.datetime:
    """The moment a development agreement ends. Raises ``agreement_until``, ``agreement_terms_invalid``."""
    try:
        moment = dt.datetime.fromisoformat(until or "")
    except ValueError:
        raise ProblemError(errors.TERMS_INVALID, field="until", name="until") from None
    if moment.tzinfo is None:
        raise ProblemError(errors.TERMS_INVALID, field="until", name="until")
    longest = end_of_term(now, MAXIMUM_MONTHS)
    if not now < moment <= min(latest or longest, longest):
        raise ProblemError(errors.UNTIL, field="until")
    return moment


def signed_digest(agreement_id: str, kind: str, grantor_id: str, grantee_id: str, number: int, terms: Mapping[str, Any],
                  scenario_id: str | None = None, demand_id: str | None = None) -> str:
    """What both sides sign: the exact terms, of this agreement, between these two."""
    return digest({"agreement": agreement_id, "kind": kind, "grantor": grantor_id, "grantee": grantee_id, "number": number,
                   "scenario": scenario_id, "demand": demand_id, "terms": dict(terms)})


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """``(term, before, after)`` for every term that changed, in the order of :class:`Terms`."""
    def plain(value: Any) -> Any:  # the same file uploaded again is no change
        return (value["name"], value["digest"]) if isinstance(value, dict) and "digest" in value else value

    return [(name, before.get(name), after.get(name)) for name in Terms.model_fields if plain(before.get(name)) != plain(after.get(name))]


def covers(terms: Terms, *, resource_id: str, sector: str, organisation_id: str) -> bool:
    """Whether terms authorise a data resource of this sector, kept by this department."""
    if terms.departments and organisation_id not in terms.departments:
        return False
    if not terms.resources and not terms.sectors:
        return True
    return resource_id in terms.resources or sector in terms.sectors


# --- time ---


def add_months(day: dt.date, months: int) -> dt.date:
    """The corresponding day so many months on (or back); the last of the month where there is none (Civil Code, article 202)."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    following = dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return dt.date(year, month + 1, min(day.day, (following - dt.timedelta(days=1)).day))


def end_of_term(start: dt.datetime, months: int) -> dt.datetime:
    """The first moment, in UTC, after a term of months that begins with ``start`` (aware).

    The day it begins on does not count, the last day is the corresponding one and ends at midnight (articles 201 to 203).
    """
    return _midnight_after(add_months(start.astimezone(CITY).date(), months))


def extended(ends_at: dt.datetime, months: int) -> dt.datetime:
    """The end after a renewal: the new term follows on the old one without a gap."""
    return _midnight_after(add_months(last_day(ends_at), months))


def last_day(ends_at: dt.datetime) -> dt.date:
    """The last day, in the city, on which the agreement still holds."""
    return (ends_at.astimezone(CITY) - dt.timedelta(microseconds=1)).date()


def end_of_day(day: dt.date) -> dt.datetime:
    """The end, in UTC, of a day in the city."""
    return _midnight_after(day)


def renewal_window(ends_at: dt.datetime) -> tuple[dt.date, dt.date]:
    """First and last day, in the city, on which renewal may be asked for."""
    day = last_day(ends_at)
    return add_months(day, -RENEWAL_FROM), add_months(day, -RENEWAL_UNTIL)


def check_renewal_time(now: dt.datetime, ends_at: dt.datetime) -> None:
    """Raises ``renewal_too_early``, ``renewal_too_late``."""
    opens, closes = renewal_window(ends_at)
    today = now.astimezone(CITY).date()
    if today < opens:
        raise ProblemError(errors.TOO_EARLY, opens=opens.isoformat())
    if today > closes:
        raise ProblemError(errors.TOO_LATE, closed=closes.isoformat())


def warnings(now: dt.datetime, ends_at: dt.datetime) -> list[tuple[int, dt.datetime]]:
    """``(days before the end, when)`` of the warnings that are still to come."""
    return [(days, moment) for days in WARNINGS if (moment := ends_at - dt.timedelta(days=days)) > now]


def _midnight_after(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), CITY).astimezone(dt.UTC)


# --- words ---


def titles(kind: str, grantee_zh: str, grantee_en: str) -> tuple[str, str]:
    """What an agreement is called, in Chinese and in English."""
    if kind == "operation":
        return f"公共数据授权运营协议（{grantee_zh}）", f"Operation agreement with {grantee_en}"
    return f"公共数据开发利用协议（{grantee_zh}）", f"Development agreement with {grantee_en}"


def check_reason(reason: str) -> str:
    """Raises ``agreement_reason_missing``."""
    reason = reason.strip()
    if not (1 <= len(reason) <= 1000 and storable(reason)):
        raise ProblemError(errors.REASON_MISSING, field="reason")
    return reason


def check_note(note: str, field: str = "note") -> str:
    """Raises ``agreement_note_invalid``."""
    note = note.strip()
    if len(note) > 2000 or not storable(note):
        raise ProblemError(errors.NOTE_INVALID, field=field)
    return note
