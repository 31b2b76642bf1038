"""Renewal: the operator asks between six and three months before the end, the authority judges, both sign the new terms.

Shuozhou plan, section 8: 运营机构应在授权期限到期前3-6个月内…报送书面材料，市数据管理部门全面评估后明确是否续期或重新授权.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.agreements import errors, rules, store, texts
from marketplace.agreements.models import Agreement, AgreementRenewal
from marketplace.attachments import service as attachments
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def ask(session: Session, actor: Actor, agreement_id: str, statement: str, files: Iterable[str] = ()) -> AgreementRenewal:
    """Ask for an operation agreement to be renewed.

    Args:
        statement: on the work done and the wish to go on (1 to 2000 characters).
        files: ids of own uploads.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``renewal_too_early``, ``renewal_too_late``,
            ``renewal_open``, ``agreement_note_invalid``.
    """
    row = store.locked(session, actor, agreement_id)
    if row.kind != "operation":
        raise ProblemError("not_allowed")
    rules.ASK.require(actor, owner=row.grantee_id)
    if row.status != "effective" or row.ends_at is None:
        raise ProblemError("wrong_state", state=row.status, action="ask_renewal")
    rules.check_renewal_time(utc_now(), row.ends_at)
    if store.open_renewal(session, row.id) is not None:
        raise ProblemError(errors.RENEWAL_OPEN)
    statement = rules.check_note(statement, "statement")
    if not statement:
        raise ProblemError(errors.NOTE_INVALID, field="statement")
    made = AgreementRenewal(id=new_id("renewal"), agreement_id=row.id, organisation_id=row.grantee_id, statement=statement,
                            status=rules.RENEWAL.initial, asked_by=actor.label)
    session.add(made)
    attachments.attach(session, actor, files, made.id)
    store.tell(session, row, row.grantor_id, texts.RENEWAL_ASKED, role="reviewer")
    trust.append(session, Tag.RENEWAL_ASKED, actor, made.id, related=[row.id, row.grantor_id, row.grantee_id])
    return made


def offer(session: Session, actor: Actor, renewal_id: str, *, months: int, terms: Mapping[str, Any] | None = None) -> AgreementRenewal:
    """Grant the renewal for another term, under the same terms or others; both sides have to sign them.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_not_in_force``, or what :func:`.rules.parse`
            raises.
    """
    made, row = _locked(session, actor, renewal_id)
    target = rules.RENEWAL.check("offer", made.status, actor, owner=row.grantor_id).target
    if row.status != "effective":
        raise ProblemError(errors.NOT_IN_FORCE)
    given = dict(terms) if terms is not None else _as_proposal(store.terms_of(store.version(session, row)))
    proposal = rules.parse({**given, "months": months})
    rules.check_operation(proposal)
    composed = store.compose(session, actor, row, proposal)
    if composed["plan"] is None:
        raise ProblemError(errors.PLAN_MISSING, field="plan")
    version = store.add_version(session, actor, row, store.last_number(session, row.id) + 1, composed, proposed_by=row.grantor_id)
    made.status, made.version, made.decided_by, made.changed_at = target, version.number, actor.label, utc_now()
    session.add(made)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.RENEWAL_OFFERED, role="admin", months=months)
    trust.append(session, Tag.RENEWAL_OFFERED, actor, made.id, related=[row.id, row.grantor_id, row.grantee_id],
                 data={"terms": version.digest})
    return made


def _as_proposal(terms: rules.Terms) -> dict[str, Any]:
    values = terms.model_dump()
    return values | {name: None if values[name] is None else values[name]["id"] for name in ("plan", "text")}


def decline(session: Session, actor: Actor, renewal_id: str, reason: str) -> AgreementRenewal:
    """Refuse the renewal: the agreement lapses at its end. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    made, row = _locked(session, actor, renewal_id)
    made.status = rules.RENEWAL.check("decline", made.status, actor, owner=row.grantor_id).target
    made.reason, made.decided_by, made.changed_at = rules.check_reason(reason), actor.label, utc_now()
    session.add(made)
    store.tell(session, row, row.grantee_id, texts.RENEWAL_DECLINED, reason=made.reason)
    trust.append(session, Tag.RENEWAL_DECLINED, actor, made.id, related=[row.id, row.grantor_id, row.grantee_id])
    return made


def withdraw(session: Session, actor: Actor, renewal_id: str) -> AgreementRenewal:
    """Take one's own request back. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    made, row = _locked(session, actor, renewal_id)
    made.status = rules.RENEWAL.check("withdraw", made.status, actor, owner=row.grantee_id).target
    made.changed_at = utc_now()
    session.add(made)
    trust.append(session, Tag.RENEWAL_WITHDRAWN, actor, made.id, related=[row.id, row.grantor_id, row.grantee_id])
    return made


def of_agreement(session: Session, agreement_id: str) -> list[AgreementRenewal]:
    """All requests about an agreement, newest first."""
    return list(session.exec(select(AgreementRenewal).where(AgreementRenewal.agreement_id == agreement_id)
                             .order_by(col(AgreementRenewal.id).desc())))


def _locked(session: Session, actor: Actor, renewal_id: str) -> tuple[AgreementRenewal, Agreement]:
    found = session.get(AgreementRenewal, renewal_id)
    if found is None:
        raise ProblemError("not_found", what="renewal")
    row = store.locked(session, actor, found.agreement_id)
    return session.get_one(AgreementRenewal, renewal_id, with_for_update=True, populate_existing=True), row
