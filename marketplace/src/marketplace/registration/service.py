"""Use cases of registration: apply, correct, check, decide; public notice; taking effect.

draft → submitted → checking → public notice → registered. Guizhou (2025), part 3 (3): registration, then public notice;
an organisation that passes the check becomes a developer. See :mod:`.rules` for the other documents.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, or_, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.attachments import service as attachments
from marketplace.attachments.models import Attachment
from marketplace.clock import today
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.notices.models import PublicNotice
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.parties.errors import TAKEN
from marketplace.registration import credit, holdings, rules, standing, texts
from marketplace.registration.errors import (
    CHECKS_OPEN,
    OWN_WORK,
    QUALIFICATION_EXPIRED,
    REGISTRATION_INCOMPLETE,
)
from marketplace.registration.holdings import require_second_tier as require_second_tier
from marketplace.registration.models import CreditHit, Registration, Shareholding, StandingMeasure
from marketplace.settings import settings
from marketplace.trust import service as trust
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError

_DRAFT = "registration.draft"


@dataclass(frozen=True)
class Detail:
    """A registration with all that a page about it shows; ``actions`` are those of the reader."""

    row: Registration
    files: list[Attachment]
    hits: list[CreditHit]
    shares: list[Shareholding]
    measures: list[StandingMeasure]
    missing: list[str]
    actions: list[str]
    controller: holdings.Controller | None = None
    notice: PublicNotice | None = None
    standing: str = ""
    items: list[str] = field(default_factory=list)


# --- the applicant ---


def begin(session: Session, *, party: str, name_zh: str, name_en: str, credit_code: str, email: str, display_name: str, password: str,
          locale: str | None = None) -> tuple[Registration, str]:
    """Begin to register: makes the organisation, not active yet, and its first administrator; (registration, member's id).

    Raises:
        ProblemError: ``invalid_input``, ``bad_credit_code``, ``already_taken``, ``weak_password``.
    """
    if party not in rules.PARTIES:
        raise ProblemError("invalid_input", field="party", reason=" | ".join(rules.PARTIES))
    email = rules.email(rules.line(email, "email", most=254))
    if parties.account_by_email(session, email) is not None:
        raise ProblemError(TAKEN, field="email", value=email)  # nobody is made a member of anything by somebody else
    organisation = parties.register_organisation(
        session, SYSTEM, kind=party, name_zh=rules.line(name_zh, "name_zh"), name_en=rules.line(name_en, "name_en"),
        credit_code=rules.line(credit_code, "credit_code", most=40), status="pending")
    member = parties.add_member(session, SYSTEM, organisation_id=organisation.id, email=email,
                                display_name=rules.line(display_name, "display_name", most=100), password=password, locale=locale)
    row = Registration(id=new_id("reg"), organisation_id=organisation.id, party=party, name_zh=organisation.name_zh,
                       name_en=organisation.name_en, credit_code=organisation.credit_code or "", contact_name=display_name.strip(),
                       contact_email=email)
    session.add(row)
    session.flush()
    _lapse_later(session, row)
    trust.append(session, Tag.REGISTRATION_BEGUN, SYSTEM, row.id, related=[organisation.id], data={"party": party})
    return row, member.id


def edit(session: Session, actor: Actor, registration_id: str, values: Mapping[str, Any]) -> Registration:
    """Fill in or correct: any of ``name_en``, ``contact_name``, ``contact_phone``, ``contact_email``, ``statement``,
    ``qualifications``, ``no_incidents``, ``ownership_declared``.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``invalid_input``.
    """
    row = _locked(session, actor, registration_id)
    rules.REGISTRATION.check("edit", row.status, actor, owner=row.organisation_id)
    read: dict[str, Any] = {
        "name_en": lambda value: rules.line(value, "name_en"),
        "contact_name": lambda value: rules.line(value, "contact_name", most=100, least=0),
        "contact_phone": rules.phone, "contact_email": rules.email,
        "statement": lambda value: rules.text(value, "statement", most=rules.MAX_TEXT, least=0),
        "qualifications": rules.qualifications, "no_incidents": bool, "ownership_declared": bool,
    }
    for name, value in values.items():
        setattr(row, name, read[name](value))
    row.changed_at = utc_now()
    session.add(row)
    return row


def add_file(session: Session, actor: Actor, registration_id: str, *, name: str, data: bytes) -> Attachment:
    """Add a file as evidence. Raises as :func:`edit`, and what :func:`marketplace.attachments.service.store` raises."""
    row = _locked(session, actor, registration_id)
    rules.REGISTRATION.check("edit", row.status, actor, owner=row.organisation_id)
    if len(attachments.of_subject(session, row.id)) >= 20:
        raise ProblemError("invalid_input", field="file", reason="≤ 20")
    return attachments.store(session, actor, name=name, data=data, subject=row.id)


def remove_file(session: Session, actor: Actor, registration_id: str, file_id: str) -> None:
    """Take a file away again. Raises as :func:`edit`."""
    row = _locked(session, actor, registration_id)
    rules.REGISTRATION.check("edit", row.status, actor, owner=row.organisation_id)
    attachments.discard(session, file_id, row.id)


def read_file(session: Session, actor: Actor, registration_id: str, file_id: str) -> Attachment:
    """One evidence file with its bytes, for whoever may see the registration. Raises ``not_found``."""
    _visible(session, actor, registration_id)
    found = attachments.read(session, file_id)
    if found.subject != registration_id:
        raise ProblemError("not_found", what="file")
    return found


def submit(session: Session, actor: Actor, registration_id: str) -> Registration:
    """Hand the registration in. Whoever is on a credit list stays blocked, with the reason.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``registration_incomplete``, ``qualification_expired``,
            ``second_tier_controlled``.
    """
    row = _locked(session, actor, registration_id)
    step = rules.REGISTRATION.check("submit", row.status, actor, owner=row.organisation_id)
    if lacking := rules.missing(row, len(attachments.of_subject(session, row.id))):
        raise ProblemError(REGISTRATION_INCOMPLETE, missing=lacking, field=lacking[0])
    if gone := rules.expired(row, today()):
        raise ProblemError(QUALIFICATION_EXPIRED, number=gone["number"], date=gone["valid_until"], field="qualifications")
    if row.party == "developer":
        require_second_tier(session, row.organisation_id)
    row.status, row.round, row.comments, row.checks, row.reason = step.target, row.round + 1, [], {}, ""
    row.submitted_by, row.submitted_at, row.changed_at = actor.label, utc_now(), utc_now()
    session.add(row)
    session.flush()
    deadlines.cancel(session, row.id, _DRAFT)
    trust.append(session, Tag.REGISTRATION_SUBMITTED, actor, row.id, related=[row.organisation_id], data={"round": row.round})
    credit.rematch(session, [row.organisation_id])
    for hit in credit.blocking(session, row.organisation_id):
        if row.status == "submitted":
            credit.hold_up(session, parties.get_organisation(session, row.organisation_id), hit)
    if row.status == "submitted":
        if row.party == "consumer" and not settings().consumer_check:
            _activate(session, row)
        else:
            for operator in parties.of_kinds(session, ("operator",)):
                notices.tell(session, operator.id, texts.SUBMITTED, row.id, role="handler", name=row.name_zh, name_en=row.name_en)
    return row


def withdraw(session: Session, actor: Actor, registration_id: str) -> Registration:
    """Take the registration back; the credit code is free for another. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = _locked(session, actor, registration_id)
    _move(session, actor, row, "withdraw")
    parties.set_credit_code(session, row.organisation_id, None)
    return row


def reapply(session: Session, actor: Actor, registration_id: str) -> Registration:
    """Apply again after a withdrawal or refusal. Raises as :func:`withdraw`, and ``already_taken``."""
    row = _locked(session, actor, registration_id)
    _move(session, actor, row, "reapply")
    parties.set_credit_code(session, row.organisation_id, row.credit_code)
    _lapse_later(session, row)
    return row


def leave(session: Session, actor: Actor, reason: str) -> None:
    """End one's own organisation's taking part. Raises ``not_allowed``, ``wrong_state``, ``reason_needed``."""
    standing.change(session, actor, actor.organisation_id or "", "end", cause="own", reason=rules.reason(reason))


# --- the operator ---


def check_items(session: Session, actor: Actor, registration_id: str, items: Mapping[str, Mapping[str, Any]]) -> Registration:
    """Record what was found about items: ``{item: {ok, note}}``; what does not pass needs a note.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``invalid_input``, ``reason_needed``.
    """
    row = _locked(session, actor, registration_id)
    step = rules.REGISTRATION.check("check", row.status, actor)
    checks = dict(row.checks)
    for name, found in items.items():
        if name not in rules.CHECK_ITEMS[row.party]:
            raise ProblemError("invalid_input", field=name, reason=" | ".join(rules.CHECK_ITEMS[row.party]))
        ok, note = bool(found.get("ok")), str(found.get("note") or "")
        checks[name] = {"ok": ok, "note": rules.text(note, name, most=rules.MAX_TEXT, least=0) if ok else rules.reason(note)}
    row.status, row.checks, row.checked_by, row.changed_at = step.target, checks, actor.label, utc_now()
    session.add(row)
    return row


def return_(session: Session, actor: Actor, registration_id: str, comments: Mapping[str, str]) -> Registration:
    """Return for correction, with a comment on each item that needs it (``other`` for anything else). Raises ``reason_needed`` …"""
    row = _locked(session, actor, registration_id)
    said = [{"item": item, "text": rules.reason(text)} for item, text in comments.items() if text.strip()]
    if not said or any(one["item"] not in (*rules.CHECK_ITEMS[row.party], "other") for one in said):
        rules.reason("")
    _move(session, actor, row, "return")
    row.comments = said
    notices.tell(session, row.organisation_id, texts.RETURNED, row.id)
    _lapse_later(session, row)
    return row


def refuse(session: Session, actor: Actor, registration_id: str, reason: str) -> Registration:
    """Refuse a registration, with the reason. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``reason_needed``."""
    row = _locked(session, actor, registration_id)
    reason = rules.reason(reason)
    _move(session, actor, row, "refuse")
    _refused(session, actor, row, reason)
    return row


def accept(session: Session, actor: Actor, registration_id: str) -> Registration:
    """Pass the check: a developer goes to public notice, a consumer becomes active.

    Who checked the items does not decide (Liuzhou, basic principles: examined for compliance; two pairs of eyes).

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``checks_not_passed``, ``own_work``, ``credit_listed``,
            ``qualification_expired``, ``second_tier_controlled``.
    """
    row = _locked(session, actor, registration_id)
    step = rules.REGISTRATION.check("accept", row.status, actor)
    if open_ := rules.items_open(row):
        raise ProblemError(CHECKS_OPEN, items=open_)
    if parties.same_person(session, actor.label, row.checked_by):
        raise ProblemError(OWN_WORK)
    if gone := rules.expired(row, today()):
        raise ProblemError(QUALIFICATION_EXPIRED, number=gone["number"], date=gone["valid_until"])
    credit.require_clear(session, row.organisation_id)
    row.decided_by, row.decided_at, row.changed_at = actor.label, utc_now(), utc_now()
    session.add(row)
    if row.party == "consumer":
        trust.append(session, Tag.REGISTRATION_ACCEPTED, actor, row.id, related=[row.organisation_id])
        _activate(session, row)
        return row
    require_second_tier(session, row.organisation_id)
    row.status = step.target
    days = settings().registration_notice_days
    notices.publish(
        session, actor, kind="registration", subject=row.id, organisation_id=actor.organisation_id or "",
        title_zh=f"关于{row.name_zh}注册为开发主体的公示", title_en=f"Registration of {row.name_en} as a developer", working_days=days,
        facts=[{"label_zh": "单位名称", "label_en": "Name", "value_zh": row.name_zh, "value_en": row.name_en},
               {"label_zh": "统一社会信用代码", "label_en": "Credit code", "value_zh": row.credit_code, "value_en": row.credit_code},
               {"label_zh": "业务说明", "label_en": "Business", "value_zh": row.statement, "value_en": row.statement}])
    notices.tell(session, row.organisation_id, texts.NOTICED, row.id)
    trust.append(session, Tag.REGISTRATION_ACCEPTED, actor, row.id, related=[row.organisation_id])
    return row


# --- the authority ---


def take_measure(session: Session, actor: Actor, organisation_id: str, action: str, reason: str) -> None:
    """Suspend, resume, end or bar an organisation.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``, ``not_a_participant``, ``wrong_state``, ``reason_needed``; resuming also
            ``credit_listed``, ``second_tier_controlled``.
    """
    reason = rules.reason(reason)
    organisation = parties.get_organisation(session, organisation_id)
    if action not in ("suspend", "resume", "end", "bar"):
        raise ProblemError("invalid_input", field="action", reason="suspend | resume | end | bar")
    if action == "resume" and organisation.status == "suspended":
        rules.STANDING.check(action, organisation.status, actor, owner=organisation_id)
        credit.require_clear(session, organisation_id)
        if organisation.kind == "developer":
            require_second_tier(session, organisation_id)
    standing.change(session, actor, organisation_id, action, cause="authority", reason=reason)
    if action == "bar":
        row = session.exec(select(Registration).where(Registration.organisation_id == organisation_id).with_for_update()).first()
        if row is not None and row.status != "registered":
            notices.withdraw(session, row.id)
            deadlines.cancel(session, row.id)
            row.status, row.reason = "withdrawn", reason
            session.add(row)


# --- reading ---


def list_registrations(session: Session, actor: Actor, *, status: str | None = None, party: str | None = None, q: str | None = None,
                       cursor: str | None = None, limit: int = 20) -> Page[Registration]:
    """Registrations, newest first: all for those who check and supervise, else one's own.

    Args:
        q: part of a name, or a credit code.
    """
    limit = clamp(limit)
    query = select(Registration).order_by(col(Registration.id).desc()).limit(limit + 1)
    if not rules.READ.held(actor):
        rules.READ_OWN.require(actor, owner=actor.organisation_id)
        query = query.where(Registration.organisation_id == actor.organisation_id)
    if status:
        query = query.where(Registration.status == status)
    if party:
        query = query.where(Registration.party == party)
    if q and (q := q.strip()):
        query = query.where(or_(col(Registration.name_zh).contains(q, autoescape=True), col(Registration.name_en).icontains(q, autoescape=True),
                                Registration.credit_code == q.upper()))
    if cursor:
        query = query.where(col(Registration.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), limit, lambda row: (row.id,))


def own(session: Session, actor: Actor) -> Registration | None:
    """The registration of the actor's organisation; none if it never registered itself."""
    return session.exec(select(Registration).where(Registration.organisation_id == actor.organisation_id)).first()


def get(session: Session, actor: Actor, registration_id: str) -> Detail:
    """One registration with everything about it. Raises ``not_found``."""
    row = _visible(session, actor, registration_id)
    files = attachments.of_subject(session, row.id)
    found = notices.list_notices(session, kind="registration", subject=row.id, limit=1).items
    organisation = parties.get_organisation(session, row.organisation_id)
    return Detail(
        row, files, credit.hits(session, actor, organisation_id=row.organisation_id), holdings.declared(session, row.organisation_id),
        standing.measures(session, actor, row.organisation_id), rules.missing(row, len(files)),
        rules.REGISTRATION.possible(row.status, actor, owner=row.organisation_id),
        holdings.controller_of(session, row.organisation_id) if row.party == "developer" else None,
        found[0] if found else None, organisation.status, list(rules.CHECK_ITEMS[row.party]))


def _visible(session: Session, actor: Actor, registration_id: str) -> Registration:
    row = session.get(Registration, registration_id)
    if row is None or not (rules.READ.held(actor) or rules.READ_OWN.held(actor, owner=row.organisation_id)):
        raise ProblemError("not_found", what="registration")
    return row


def _locked(session: Session, actor: Actor, registration_id: str) -> Registration:
    row = session.get(Registration, registration_id)
    if row is None or not (rules.READ.held(actor) or actor.organisation_id == row.organisation_id):
        raise ProblemError("not_found", what="registration")
    # the organisation first, as everybody who changes a standing does
    parties.lock_organisation(session, row.organisation_id)
    return session.get_one(Registration, registration_id, with_for_update=True, populate_existing=True)


# --- what follows ---


def _move(session: Session, actor: Actor, row: Registration, action: str) -> None:
    step = rules.REGISTRATION.check(action, row.status, actor, owner=row.organisation_id)
    row.status, row.changed_at = step.target, utc_now()
    if actor.party == "operator":
        row.decided_by, row.decided_at = actor.label, utc_now()
    session.add(row)
    deadlines.cancel(session, row.id, _DRAFT)
    if step.event is not None:
        trust.append(session, step.event, actor, row.id, related=[row.organisation_id])


def _refused(session: Session, actor: Actor, row: Registration, reason: str) -> None:
    row.reason = reason
    session.add(row)
    parties.set_credit_code(session, row.organisation_id, None)
    notices.tell(session, row.organisation_id, texts.REFUSED, row.id, reason=reason)


def _activate(session: Session, row: Registration) -> None:
    step = rules.REGISTRATION.check("activate", row.status, SYSTEM)
    row.status, row.changed_at = step.target, utc_now()
    session.add(row)
    standing.change(session, SYSTEM, row.organisation_id, "activate", cause="registration")
    notices.tell(session, row.organisation_id, texts.ACTIVE, row.id)
    trust.append(session, Tag.REGISTRATION_ACTIVATED, SYSTEM, row.id, related=[row.organisation_id])


def _lapse_later(session: Session, row: Registration) -> None:
    deadlines.put(session, _DRAFT, row.id, utc_now() + dt.timedelta(days=settings().registration_draft_days))


@notices.when_closed("registration")
def _closed(session: Session, notice: PublicNotice, outcome: notices.Outcome) -> None:
    """The notice is over: what may have changed meanwhile is looked at once more."""
    parties.of_kinds(session, ("operator",), lock=True)  # no declaration of ownership slips in between
    row = session.get_one(Registration, notice.subject)
    parties.lock_organisation(session, row.organisation_id)
    row = session.get_one(Registration, notice.subject, with_for_update=True, populate_existing=True)
    if row.status != "noticed":
        return
    found = holdings.controller_of(session, row.organisation_id)
    if outcome == "upheld" or found is not None:
        _move(session, SYSTEM, row, "object")
        _refused(session, SYSTEM, row, "公示期间异议成立" if found is None else f"由运营机构控制：{holdings.described(found.chain)}")
        return
    credit.rematch(session, [row.organisation_id])
    if row.status == "noticed":  # a hit has blocked it
        _activate(session, row)


@deadlines.on(_DRAFT)
def _lapses(session: Session, due: Deadline) -> None:
    """A registration nobody handed in lapses: its credit code is free for whom it belongs to."""
    row = session.get(Registration, due.subject, with_for_update=True)
    if row is not None and row.status in ("draft", "returned"):
        _move(session, SYSTEM, row, "expire")
        parties.set_credit_code(session, row.organisation_id, None)


@work.source
def _waiting(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if actor.party in rules.PARTIES and (row := own(session, actor)) is not None:
        if "submit" in rules.REGISTRATION.possible(row.status, actor, owner=row.organisation_id):
            yield work.WorkItem("registration.correct" if row.status == "returned" else "registration.complete", row.id, row.name_zh,
                                "registration:registration_id", row.organisation_id, row.changed_at, deadlines.pending(session, row.id, _DRAFT), row.name_en)
        return
    if actor.party != "operator":
        return
    for row in session.exec(select(Registration).where(col(Registration.status).in_(("submitted", "checking"))).order_by(col(Registration.id))):
        possible, ready = rules.REGISTRATION.possible(row.status, actor), not rules.items_open(row)
        kind = "registration.decide" if "accept" in possible and ready and not parties.same_person(session, actor.label, row.checked_by) else \
            "registration.check" if "check" in possible and not ready else ""
        if kind:
            due = after_workdays(row.submitted_at, settings().registration_check_days) if row.submitted_at else None
            yield work.WorkItem(kind, row.id, row.name_zh, "registration:registration_id", row.organisation_id, row.changed_at, due, row.name_en)
