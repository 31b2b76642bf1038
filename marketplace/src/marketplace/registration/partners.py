"""Use cases of the operator's partners: filed with the data authority before they take part.

Shuozhou, operation (partners brought in and filed): the operator selects partners with the technical and security capability
and files mode of cooperation, qualification, and the division of rights and duties with the city's data authority.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import SYSTEM, Actor
from marketplace.attachments import service as attachments
from marketplace.attachments.models import Attachment
from marketplace.clock import CITY, today
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.notices.models import PublicNotice
from marketplace.parties import rules as party_rules
from marketplace.parties import service as parties
from marketplace.registration import credit, rules, texts
from marketplace.registration.errors import PERIOD_INVALID, REGISTRATION_INCOMPLETE
from marketplace.registration.models import PartnerFiling
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_ENDS = "partner.ends"
Action = Literal["submit", "withdraw", "return", "refuse", "accept", "end"]
FIELDS = ("name", "credit_code", "cooperation", "qualifications", "duties", "starts_on", "ends_on")


def draft(session: Session, actor: Actor, values: Mapping[str, Any]) -> PartnerFiling:
    """Begin to file a partner: all of :data:`FIELDS`, dates as dates.

    Raises:
        ProblemError: ``not_allowed``, ``invalid_input``, ``bad_credit_code``, ``period_invalid``.
    """
    owner = rules.FILE_PARTNER.acting(actor)
    row = PartnerFiling(id=new_id("partner"), organisation_id=owner, **_checked(values))
    session.add(row)
    session.flush()
    return row


def edit(session: Session, actor: Actor, filing_id: str, values: Mapping[str, Any]) -> PartnerFiling:
    """Correct a filing that is not submitted. Raises as :func:`draft`, and ``not_found``, ``wrong_state``."""
    row = _locked(session, actor, filing_id)
    rules.PARTNER.check("edit", row.status, actor, owner=row.organisation_id)
    for name, value in _checked({**{name: getattr(row, name) for name in FIELDS}, **values}).items():
        setattr(row, name, value)
    session.add(row)
    return row


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": rules.line(values["name"], "name"), "credit_code": party_rules.check_credit_code(values["credit_code"])}
    out |= {name: rules.text(values[name], name, most=rules.MAX_TEXT) for name in ("cooperation", "qualifications", "duties")}
    out |= {name: values[name] for name in ("starts_on", "ends_on")}
    if out["ends_on"] <= out["starts_on"]:
        raise ProblemError(PERIOD_INVALID, field="ends_on")
    return out


def add_file(session: Session, actor: Actor, filing_id: str, *, name: str, data: bytes) -> Attachment:
    """Add evidence. Raises as :func:`edit`, and what storing a file raises."""
    row = _locked(session, actor, filing_id)
    rules.PARTNER.check("edit", row.status, actor, owner=row.organisation_id)
    return attachments.store(session, actor, name=name, data=data, subject=row.id)


def read_file(session: Session, actor: Actor, filing_id: str, file_id: str) -> Attachment:
    """One evidence file. Raises ``not_found``."""
    _locked(session, actor, filing_id, lock=False)
    found = attachments.read(session, file_id)
    if found.subject != filing_id:
        raise ProblemError("not_found", what="file")
    return found


def act(session: Session, actor: Actor, filing_id: str, action: Action,
        reason: str = "") -> PartnerFiling:
    """Take the next step; all but submitting, withdrawing and accepting need a reason.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``reason_needed``, ``registration_incomplete`` without
            evidence, ``credit_listed``.
    """
    row = _locked(session, actor, filing_id)
    step = rules.PARTNER.check(action, row.status, actor, owner=row.organisation_id)
    if action in ("return", "refuse", "end"):
        row.reason = rules.reason(reason)
    if action == "submit":
        if not attachments.of_subject(session, row.id):
            raise ProblemError(REGISTRATION_INCOMPLETE, missing=["evidence"], field="evidence")
        credit.require_code_clear(session, row.credit_code, row.name)
        row.submitted_by, row.submitted_at, row.reason = actor.label, utc_now(), ""
        for authority in parties.of_kinds(session, ("data_authority",)):
            notices.tell(session, authority.id, texts.PARTNER_SUBMITTED, row.id, role="reviewer", name=row.name)
    else:
        row.decided_by = actor.label
        notices.tell(session, row.organisation_id, texts.PARTNER_DECIDED, row.id, name=row.name)
    row.status = step.target
    session.add(row)
    session.flush()
    if action == "accept":
        credit.require_code_clear(session, row.credit_code, row.name)
        notices.publish(
            session, actor, kind="partner", subject=row.id, organisation_id=actor.organisation_id or row.organisation_id,
            title_zh=f"关于{row.name}作为运营机构合作伙伴备案的公示", title_en=f"Filing of {row.name} as a partner of the operator",
            working_days=settings().partner_notice_days, facts=[
                {"label_zh": "单位名称", "label_en": "Name", "value_zh": row.name, "value_en": row.name},
                {"label_zh": "统一社会信用代码", "label_en": "Credit code", "value_zh": row.credit_code, "value_en": row.credit_code},
                {"label_zh": "合作模式", "label_en": "Mode of cooperation", "value_zh": row.cooperation, "value_en": row.cooperation},
                {"label_zh": "合作期限", "label_en": "Period", "value_zh": f"{row.starts_on}至{row.ends_on}",
                 "value_en": f"{row.starts_on} to {row.ends_on}"}])
    if step.event is not None:
        trust.append(session, step.event, actor, row.id, related=[row.organisation_id], data={"status": row.status})
    return row


def list_filings(session: Session, actor: Actor, *, status: str | None = None) -> list[PartnerFiling]:
    """Filings, newest first: those of the own organisation, all for the authority and the supervisor; drafts only one's own."""
    rules.READ_PARTNERS.require(actor)
    query = select(PartnerFiling).order_by(col(PartnerFiling.id).desc()).limit(200)
    if status:
        query = query.where(PartnerFiling.status == status)
    return [row for row in session.exec(query) if _visible(row, actor)]


def get(session: Session, actor: Actor, filing_id: str) -> tuple[PartnerFiling, list[Attachment], list[str]]:
    """One filing, its files, and what the reader may do. Raises ``not_found``."""
    row = _locked(session, actor, filing_id, lock=False)
    return row, attachments.of_subject(session, row.id), rules.PARTNER.possible(row.status, actor, owner=row.organisation_id)


def _visible(row: PartnerFiling, actor: Actor) -> bool:
    if actor.party == "operator":
        return row.organisation_id == actor.organisation_id
    return row.status not in ("draft", "withdrawn")


def _locked(session: Session, actor: Actor, filing_id: str, *, lock: bool = True) -> PartnerFiling:
    row = session.get(PartnerFiling, filing_id, with_for_update=lock)
    if row is None or not rules.READ_PARTNERS.held(actor) or not _visible(row, actor):
        raise ProblemError("not_found", what="partner")
    return row


@notices.when_closed("partner")
def _closed(session: Session, notice: PublicNotice, outcome: notices.Outcome) -> None:
    row = session.get_one(PartnerFiling, notice.subject, with_for_update=True)
    if row.status != "noticed":
        return
    listed = credit.code_listed(session, row.credit_code)
    action = "file" if outcome == "passed" and listed is None else "object"
    row.status = rules.PARTNER.check(action, row.status, SYSTEM).target
    if action == "file":
        deadlines.put(session, _ENDS, row.id, dt.datetime.combine(row.ends_on + dt.timedelta(days=1), dt.time(), CITY))
    else:
        row.reason = "公示期间异议成立" if listed is None else f"列入{rules.LISTS[listed[1].kind][0]}"
    session.add(row)
    notices.tell(session, row.organisation_id, texts.PARTNER_DECIDED, row.id, name=row.name)
    trust.append(session, Tag.PARTNER_FILED if action == "file" else Tag.PARTNER_DECIDED, SYSTEM, row.id,
                 related=[row.organisation_id], data={"status": row.status})


@deadlines.on(_ENDS)
def _ends(session: Session, due: Deadline) -> None:
    row = session.get(PartnerFiling, due.subject, with_for_update=True)
    if row is not None and row.status == "filed" and row.ends_on < today():
        row.status = rules.PARTNER.check("end", row.status, SYSTEM).target
        session.add(row)
        notices.tell(session, row.organisation_id, texts.PARTNER_DECIDED, row.id, name=row.name)
        trust.append(session, Tag.PARTNER_DECIDED, SYSTEM, row.id, related=[row.organisation_id], data={"status": row.status})


@work.source
def _waiting(session: Session, actor: Actor) -> Iterable[work.WorkItem]:
    if not rules.READ_PARTNERS.held(actor):
        return
    for status, action, kind in (("submitted", "accept", "partner.review"), ("returned", "submit", "partner.correct")):
        for row in list_filings(session, actor, status=status):
            if action in rules.PARTNER.possible(row.status, actor, owner=row.organisation_id):
                yield work.WorkItem(kind, row.id, row.name, "partner:filing_id", row.organisation_id, row.submitted_at or row.created_at)
