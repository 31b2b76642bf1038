"""From a draft to terms that both sides accept, that another person has approved, and that the public has seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import errors, hooks, rules, store, texts
from marketplace.agreements.models import Agreement
from marketplace.agreements.scope import operation_for, resource_facts
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.notices.models import PublicNotice
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

_UNSIGNED = "agreement.unsigned"


def draft(session: Session, actor: Actor, *, operator_id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
    """Draft an operation agreement with an operator; the data authority does. See :class:`.rules.Proposal` for ``terms``.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``, ``agreement_party_invalid``, or what :func:`.rules.parse` raises.
    """
    grantor = rules.DRAFT.acting(actor)
    operator = parties.get_organisation(session, operator_id)
    if operator.kind != "operator":
        raise ProblemError(errors.WRONG_PARTY, field="operator_id", name=operator.name_zh)
    proposal, note = rules.parse(terms), rules.check_note(note)
    rules.check_operation(proposal)
    zh, en = rules.titles("operation", operator.name_zh, operator.name_en)
    row = Agreement(id=new_id("agreement"), kind="operation", grantor_id=grantor, grantee_id=operator_id, title_zh=zh, title_en=en,
                    status=rules.OPERATION.initial, mode=proposal.mode, drafted_by=actor.label)
    session.add(row)
    session.flush()
    version = store.add_version(session, actor, row, 1, store.compose(session, actor, row, proposal), proposed_by=grantor, note=note)
    trust.append(session, Tag.AGREEMENT_DRAFTED, actor, row.id, related=[grantor, operator_id],
                 data={"kind": row.kind, "terms": version.digest})
    return row


def edit(session: Session, actor: Actor, agreement_id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
    """Change a draft that the other side has not seen yet: its next version. Raises as :func:`draft`, ``wrong_state``."""
    return _write(session, actor, agreement_id, "edit", terms, note)


def counter(session: Session, actor: Actor, agreement_id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
    """Propose other terms to the other side: the next version.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_nothing_changed``, or what
            :func:`.rules.parse` raises.
    """
    return _write(session, actor, agreement_id, "counter", terms, note)


def _write(session: Session, actor: Actor, agreement_id: str, action: str, terms: Mapping[str, Any], note: str) -> Agreement:
    row = store.locked(session, actor, agreement_id)
    target = store.check(row, action, actor)
    proposal, note = rules.parse(terms), rules.check_note(note)
    if row.kind == "operation":
        rules.check_operation(proposal)
    else:
        _check_development(session, row, proposal)
    composed = store.compose(session, actor, row, proposal)
    if composed == store.version(session, row).terms:
        raise ProblemError(errors.NOTHING_CHANGED)
    proposer = rules.side(actor, row.grantor_id, row.grantee_id)
    version = store.add_version(session, actor, row, store.last_number(session, row.id) + 1, composed, proposed_by=proposer, note=note)
    changes: dict[str, Any] = {"version": version.number, "mode": proposal.mode}
    if row.kind == "development":
        changes["ends_at"] = dt.datetime.fromisoformat(proposal.until or "")
    store.move(session, row, target, **changes)
    if action == "counter":
        store.tell(session, row, store.other_side(row, proposer), texts.PROPOSED, number=version.number)
        trust.append(session, Tag.AGREEMENT_COUNTERED, actor, row.id, related=[row.grantor_id, row.grantee_id],
                     data={"number": version.number, "terms": version.digest})
    return row


def _check_development(session: Session, row: Agreement, proposal: rules.Proposal) -> None:
    operation = session.get_one(Agreement, row.operation_id) if row.operation_id else None
    rules.check_until(proposal.until, utc_now(), operation.ends_at if operation else None)


def propose(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """Hand the draft to the operator. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = store.locked(session, actor, agreement_id)
    store.move(session, row, store.check(row, "propose", actor))
    version = store.version(session, row)
    store.tell(session, row, row.grantee_id, texts.PROPOSED, number=version.number)
    trust.append(session, Tag.AGREEMENT_PROPOSED, actor, row.id, related=[row.grantor_id, row.grantee_id],
                 data={"number": version.number, "terms": version.digest})
    return row


def withdraw(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """Throw a draft away. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = store.locked(session, actor, agreement_id)
    store.move(session, row, store.check(row, "withdraw", actor))
    after = hooks.run(session, hooks.BROKEN_OFF, row)
    trust.append(session, Tag.AGREEMENT_WITHDRAWN, actor, row.id, related=[row.grantor_id, row.grantee_id])
    after()
    return row


def accept(session: Session, actor: Actor, agreement_id: str, *, number: int | None = None) -> Agreement:
    """Accept the other side's terms.

    Args:
        number: of the version read; refused if there is a newer one by now.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_own_proposal``, ``agreement_digest_differs``.
    """
    row = store.locked(session, actor, agreement_id)
    target = store.check(row, "accept_terms", actor)
    version = store.version(session, row)
    here = rules.side(actor, row.grantor_id, row.grantee_id)
    if version.proposed_by == here:
        raise ProblemError(errors.OWN_PROPOSAL)
    if number is not None and number != version.number:
        raise ProblemError(errors.DIGEST_DIFFERS, field="number")
    store.move(session, row, target)
    if target == "signing":
        _sign_until(session, row)
    store.tell(session, row, store.other_side(row, here), texts.ACCEPTED, number=version.number)
    if target == "terms_agreed":
        store.tell(session, row, row.grantor_id, texts.APPROVE, role="reviewer")
    else:
        store.tell(session, row, (row.grantor_id, row.grantee_id), texts.TO_SIGN, role="admin")
    trust.append(session, Tag.AGREEMENT_ACCEPTED, actor, row.id, related=[row.grantor_id, row.grantee_id],
                 data={"number": version.number, "terms": version.digest})
    return row


def return_(session: Session, actor: Actor, agreement_id: str, reason: str) -> Agreement:
    """Send agreed terms back into negotiation. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    row = store.locked(session, actor, agreement_id)
    target, reason = store.check(row, "return", actor), rules.check_reason(reason)
    store.move(session, row, target, reason=reason)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.RETURNED, reason=reason)
    trust.append(session, Tag.AGREEMENT_RETURNED, actor, row.id, related=[row.grantor_id, row.grantee_id])
    return row


def approve(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """Approve agreed terms and give public notice of them; a reviewer who has written none of them does.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_self_review``, ``agreement_plan_missing``,
            ``agreement_text_missing``.
    """
    row = store.locked(session, actor, agreement_id)
    target = store.check(row, "approve", actor)
    authors = {row.drafted_by, *(item.author for item in store.versions(session, row.id))}
    if any(parties.same_person(session, actor.label, author) for author in authors):
        raise ProblemError(errors.SELF_REVIEW)
    version = store.version(session, row)
    terms = store.terms_of(version)
    if terms.plan is None:
        raise ProblemError(errors.PLAN_MISSING, field="plan")
    if terms.text is None:
        raise ProblemError(errors.TEXT_MISSING, field="text")
    store.move(session, row, target, approved_by=actor.label, reason="")
    notices.publish(session, actor, kind="agreement", subject=row.id, organisation_id=row.grantor_id, title_zh=row.title_zh,
                    title_en=row.title_en, working_days=settings().agreement_notice_days, facts=_facts(session, row, terms))
    store.tell(session, row, row.grantee_id, texts.NOTICED)
    trust.append(session, Tag.AGREEMENT_APPROVED, actor, row.id, related=[row.grantor_id, row.grantee_id],
                 data={"number": version.number, "terms": version.digest})
    return row


def _facts(session: Session, row: Agreement, terms: rules.Terms) -> list[dict[str, str]]:
    sides = parties.organisations_by_id(session, [row.grantor_id, row.grantee_id])
    modes = {"overall": ("整体授权", "overall"), "field": ("分领域授权", "by field"), "scenario": ("场景授权", "by scenario")}

    def fact(label_zh: str, label_en: str, value_zh: str, value_en: str) -> dict[str, str]:
        return {"label_zh": label_zh, "label_en": label_en, "value_zh": value_zh, "value_en": value_en}

    everything = not terms.resources and not terms.sectors
    amount = f"{terms.usage_fee_fen // 100:,}.{terms.usage_fee_fen % 100:02d}"
    split = terms.split
    return [
        fact("授权单位", "Authorised by", sides[row.grantor_id].name_zh, sides[row.grantor_id].name_en),
        fact("运营机构", "Operator", sides[row.grantee_id].name_zh, sides[row.grantee_id].name_en),
        fact("授权模式", "Mode", *modes[terms.mode]),
        fact("授权范围", "Scope", "全部公共数据资源" if everything else f"{len(terms.sectors)} 个领域、{len(terms.resources)} 个数据资源",
             "all public data resources" if everything else f"{len(terms.sectors)} sectors, {len(terms.resources)} data resources"),
        fact("授权期限", "Term", f"{terms.months} 个月", f"{terms.months} months"),
        fact("资源使用费（每年）", "Usage fee a year", f"¥{amount}", f"¥{amount}"),
        fact("收益分成", "Revenue split",
             f"财政 {split.treasury}%、运营机构 {split.operator}%、数源部门 {split.source_departments}%、开发主体 {split.developer}%",
             f"treasury {split.treasury}%, operator {split.operator}%, source departments {split.source_departments}%, "
             f"developers {split.developer}%"),
    ]


@notices.when_closed("agreement")
def _noticed(session: Session, notice: PublicNotice, outcome: notices.Outcome) -> None:
    row = session.get_one(Agreement, notice.subject, with_for_update=True, populate_existing=True)
    if row.status != "noticed":
        return
    if outcome == "passed":
        store.move(session, row, rules.OPERATION.check("pass", row.status, SYSTEM).target)
        _sign_until(session, row)
        store.tell(session, row, (row.grantor_id, row.grantee_id), texts.TO_SIGN, role="admin")
        return
    reason = "公示期间异议成立"
    store.move(session, row, rules.OPERATION.check("object", row.status, SYSTEM).target, approved_by=None, reason=reason)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.RETURNED, reason=reason)
    trust.append(session, Tag.AGREEMENT_RETURNED, SYSTEM, row.id, related=[notice.id, row.grantor_id, row.grantee_id])


def refuse(session: Session, actor: Actor, agreement_id: str, reason: str) -> Agreement:
    """Break the negotiation off, from either side. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    row = store.locked(session, actor, agreement_id)
    target, reason = store.check(row, "break_off", actor), rules.check_reason(reason)
    notices.withdraw(session, row.id)
    _break_off(session, actor, row, target, reason)
    return row


def _break_off(session: Session, actor: Actor, row: Agreement, target: str, reason: str) -> None:
    store.move(session, row, target, reason=reason, ended_at=utc_now())
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.REFUSED, reason=reason)
    after = hooks.run(session, hooks.BROKEN_OFF, row)
    trust.append(session, Tag.AGREEMENT_REFUSED, actor, row.id, related=[row.grantor_id, row.grantee_id])
    after()


def _sign_until(session: Session, row: Agreement) -> None:
    """From now both sides have a time to sign in, as after an award (Government Procurement Law, article 46: thirty days)."""
    until = utc_now() + dt.timedelta(days=settings().agreement_signing_days)
    deadlines.put(session, _UNSIGNED, row.id, until, number=row.version)


@deadlines.on(_UNSIGNED)
def _unsigned(session: Session, due: Deadline) -> None:
    row = session.get_one(Agreement, due.subject, with_for_update=True, populate_existing=True)
    if row.status == "signing" and row.version == due.number:
        _break_off(session, SYSTEM, row, rules.LIVES[row.kind].check("expire", row.status, SYSTEM).target, "逾期未签署")


def open_development(session: Session, actor: Actor, *, demand_id: str, scenario_id: str, operator_id: str, developer_id: str,
                     until: dt.datetime, terms: Mapping[str, Any]) -> Agreement:
    """Offer the developer of a reviewed demand an agreement, ready to be signed (Guizhou measures: 开发利用协议).

    Args:
        until: when it ends, aware; no later than the operation agreement that covers ``terms["resources"]``.
        terms: see :class:`.rules.Proposal`; ``until`` and ``mode`` are filled in.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``, ``agreement_party_invalid``, ``agreement_missing``, ``agreement_expired``,
            ``agreement_until``, or what :func:`.rules.parse` raises.
    """
    rules.OPEN.require(actor)
    if actor.party == "operator" and actor.organisation_id != operator_id:
        raise ProblemError("not_allowed")
    sides = {one.id: one for one in (parties.get_organisation(session, operator_id), parties.get_organisation(session, developer_id))}
    for organisation_id, kind in ((operator_id, "operator"), (developer_id, "developer")):
        if sides[organisation_id].kind != kind:
            raise ProblemError(errors.WRONG_PARTY, field=f"{kind}_id", name=sides[organisation_id].name_zh)
    now = utc_now()
    resources = resource_facts(session, terms.get("resources") or ())
    operation = operation_for(session, operator_id=operator_id, resources=resources, at=now)
    proposal = rules.parse({**terms, "mode": operation.mode, "until": until.astimezone(dt.UTC).isoformat()})
    rules.check_until(proposal.until, now, operation.ends_at)
    zh, en = rules.titles("development", sides[developer_id].name_zh, sides[developer_id].name_en)
    row = Agreement(id=new_id("agreement"), kind="development", grantor_id=operator_id, grantee_id=developer_id,
                    operation_id=operation.id, scenario_id=scenario_id, demand_id=demand_id, title_zh=zh, title_en=en,
                    status=rules.DEVELOPMENT.initial, mode=operation.mode, drafted_by=actor.label, ends_at=until)
    session.add(row)
    session.flush()
    version = store.add_version(session, actor, row, 1, store.compose(session, actor, row, proposal), proposed_by=operator_id)
    _sign_until(session, row)
    store.tell(session, row, (operator_id, developer_id), texts.TO_SIGN, role="admin")
    trust.append(session, Tag.AGREEMENT_DRAFTED, actor, row.id, related=[demand_id, scenario_id, operator_id, developer_id, operation.id],
                 data={"kind": row.kind, "terms": version.digest})
    return row


def cancel_development(session: Session, demand_id: str) -> None:
    """Call off what is not signed yet about a demand that is withdrawn or refused."""
    for row in of_demand(session, demand_id):
        if row.status in ("negotiating", "signing"):
            store.move(session, row, rules.DEVELOPMENT.check("withdraw", row.status, SYSTEM).target, ended_at=utc_now())
            trust.append(session, Tag.AGREEMENT_WITHDRAWN, SYSTEM, row.id, related=[demand_id, row.grantor_id, row.grantee_id])


def of_demand(session: Session, demand_id: str) -> list[Agreement]:
    """The development agreements about a demand, locked, oldest first."""
    return list(session.exec(select(Agreement).where(Agreement.demand_id == demand_id).order_by(col(Agreement.id)).with_for_update()))
