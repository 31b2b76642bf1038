"""From the ranking to an operator: terms are negotiated with the first, then the next; approved, noticed, made an agreement."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlmodel import Session, select

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import errors as agreement_errors
from marketplace.agreements import rules as agreement_rules
from marketplace.agreements import service as agreements
from marketplace.agreements.hooks import Afterwards
from marketplace.agreements.models import Agreement
from marketplace.agreements.rules import check_reason
from marketplace.events import Tag
from marketplace.notices import service as notices
from marketplace.notices.models import PublicNotice
from marketplace.parties import service as parties
from marketplace.selection import rules, store, texts
from marketplace.selection.models import Selection, SelectionApplication
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def negotiate(session: Session, actor: Actor, selection_id: str) -> Selection:
    """Invite the one ranked first to negotiate. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "negotiate", actor)
    first = row.ranking[0]
    store.move(session, row, target, candidate_id=first["application_id"])
    store.tell(session, row, first["organisation_id"], texts.NEGOTIATING)
    trust.append(session, Tag.SELECTION_NEGOTIATING, actor, row.id, related=[first["application_id"], first["organisation_id"]])
    return row


def next_candidate(session: Session, actor: Actor, selection_id: str, reason: str) -> Selection:
    """Declare that the negotiation has failed: the next one in the ranking is invited; with none left the selection has failed.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``.
    """
    row = store.find(session, actor, selection_id, lock=True)
    store.check(row, "next", actor)
    _pass_over(session, actor, row, check_reason(reason))()
    return row


def _pass_over(session: Session, actor: Actor, row: Selection, reason: str) -> Afterwards:
    """Go on to the next candidate, or to the end; what is to be appended to the log once everything is locked."""
    application = session.get_one(SelectionApplication, row.candidate_id, with_for_update=True, populate_existing=True)
    application.status, application.reason = rules.APPLICATION.check("pass_over", application.status, SYSTEM).target, reason
    session.add(application)
    store.tell(session, row, application.organisation_id, texts.PASSED_OVER, reason=reason)
    place = next(place for place, one in enumerate(row.ranking) if one["application_id"] == application.id) + 1
    if place < len(row.ranking):
        following = row.ranking[place]
        store.move(session, row, "negotiating", candidate_id=following["application_id"], terms={}, concluded_by=None, approved_by=None)
        store.tell(session, row, following["organisation_id"], texts.NEGOTIATING)
        return partial(trust.append, session, Tag.SELECTION_NEXT, actor, row.id, related=[application.id, following["application_id"]])
    reason = "排名中的申报单位均未达成一致"
    store.move(session, row, "failed", candidate_id=None, reason=reason)
    store.tell(session, row, row.organisation_id, texts.FAILED, reason=reason)
    return partial(trust.append, session, Tag.SELECTION_FAILED, actor, row.id, related=[application.id])


@agreements.when_broken_off("operation")
def _not_agreed(session: Session, agreement: Agreement) -> Afterwards | None:
    """The agreement with the one selected will not come about: those ranked after it come back, and the next is invited."""
    row = session.exec(select(Selection).where(Selection.agreement_id == agreement.id, Selection.status == "selected")
                       .with_for_update().execution_options(populate_existing=True)).first()
    if row is None:
        return None
    order = [one["application_id"] for one in row.ranking]
    later = set(order[order.index(row.candidate_id) + 1:])  # those before it had their turn
    for one in store.applications(session, row.id, "passed_over", lock=True):
        if one.id in later:
            one.status = rules.APPLICATION.check("recall", one.status, SYSTEM).target
            session.add(one)
    store.move(session, row, rules.SELECTION.check("fall_through", row.status, SYSTEM).target, agreement_id=None)
    return _pass_over(session, SYSTEM, row, agreement.reason or "授权运营协议未能达成")


def conclude(session: Session, actor: Actor, selection_id: str, terms: Mapping[str, Any]) -> Selection:
    """Write down the terms that were negotiated; see :class:`marketplace.agreements.rules.Proposal`. They go to a reviewer.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, or an ``agreement_…`` problem of the terms.
    """
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "conclude", actor)
    proposal = agreement_rules.parse(terms)
    agreement_rules.check_operation(proposal)
    store.move(session, row, target, terms=proposal.model_dump(mode="json"), concluded_by=actor.label, reason="")
    store.tell(session, row, row.organisation_id, texts.APPROVE, role="reviewer")
    trust.append(session, Tag.SELECTION_CONCLUDED, actor, row.id, related=[row.candidate_id or ""])
    return row


def return_(session: Session, actor: Actor, selection_id: str, reason: str) -> Selection:
    """Send the terms back into negotiation. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "return", actor)
    store.move(session, row, target, reason=check_reason(reason))
    return row


def approve(session: Session, actor: Actor, selection_id: str) -> Selection:
    """Approve the result and give public notice of it with the ranking; a reviewer who neither drafted nor negotiated does.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_self_review``.
    """
    row = store.find(session, actor, selection_id, lock=True)
    target = store.check(row, "approve", actor)
    if any(parties.same_person(session, actor.label, one) for one in (row.drafted_by, row.concluded_by or "")):
        raise ProblemError(agreement_errors.SELF_REVIEW)
    store.move(session, row, target, approved_by=actor.label)
    names = parties.organisations_by_id(session, [one["organisation_id"] for one in row.ranking])
    chosen = session.get_one(SelectionApplication, row.candidate_id)

    def fact(label_zh: str, label_en: str, value_zh: str, value_en: str) -> dict[str, str]:
        return {"label_zh": label_zh, "label_en": label_en, "value_zh": value_zh, "value_en": value_en}

    facts = [fact("拟选定机构", "To be selected", names[chosen.organisation_id].name_zh, names[chosen.organisation_id].name_en)]
    facts += [fact(f"第 {place} 名", f"Place {place}", f"{names[one['organisation_id']].name_zh}（{one['total']} 分）",
                   f"{names[one['organisation_id']].name_en} ({one['total']} points)") for place, one in enumerate(row.ranking, start=1)]
    notices.publish(session, actor, kind="selection", subject=row.id, organisation_id=row.organisation_id, title_zh=f"遴选结果：{row.title_zh}",
                    title_en=f"Result of {row.title_en}", working_days=settings().selection_notice_days, facts=facts)
    trust.append(session, Tag.SELECTION_APPROVED, actor, row.id, related=[chosen.id, chosen.organisation_id])
    return row


@notices.when_closed("selection")
def _noticed(session: Session, notice: PublicNotice, outcome: notices.Outcome) -> None:
    row = session.get_one(Selection, notice.subject, with_for_update=True, populate_existing=True)
    if row.status != "noticed":
        return
    if outcome == "upheld":
        store.move(session, row, rules.SELECTION.check("object", row.status, SYSTEM).target)
        _pass_over(session, SYSTEM, row, "公示期间异议成立")()
        return
    chosen = session.get_one(SelectionApplication, row.candidate_id, with_for_update=True, populate_existing=True)
    chosen.status = rules.APPLICATION.check("choose", chosen.status, SYSTEM).target
    session.add(chosen)
    for one in store.applications(session, row.id, "submitted", lock=True):
        if one.id != chosen.id:
            one.status = rules.APPLICATION.check("pass_over", one.status, SYSTEM).target
            session.add(one)
    authority = Actor("data_authority", row.organisation_id, member_id=row.concluded_by)
    agreement = agreements.draft(session, authority, operator_id=chosen.organisation_id, terms=row.terms)
    store.move(session, row, rules.SELECTION.check("pass", row.status, SYSTEM).target, agreement_id=agreement.id)
    store.tell(session, row, chosen.organisation_id, texts.CHOSEN)
    trust.append(session, Tag.SELECTION_DECIDED, SYSTEM, row.id, related=[chosen.id, chosen.organisation_id, agreement.id])
