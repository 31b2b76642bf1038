"""How agreements stop: suspended for a while, terminated by those who authorised, or lapsed by themselves at the end."""

from __future__ import annotations

from sqlmodel import Session, col, select

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import hooks, rules, store, texts
from marketplace.agreements.models import Agreement
from marketplace.agreements.signing import LAPSES, WARNS
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.deadlines.models import Deadline
from marketplace.events import Tag
from marketplace.trust import service as trust


def suspend(session: Session, actor: Actor, agreement_id: str, reason: str) -> Agreement:
    """Stop everything under an agreement for a while. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``."""
    row = store.locked(session, actor, agreement_id)
    target, reason = store.check(row, "suspend", actor), rules.check_reason(reason)
    store.move(session, row, target, reason=reason)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.SUSPENDED, reason=reason)
    after = hooks.run(session, hooks.SUSPENDED, row)
    trust.append(session, Tag.AGREEMENT_SUSPENDED, actor, row.id, related=[row.grantor_id, row.grantee_id])
    after()
    return row


def resume(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """Put a suspended agreement in force again. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = store.locked(session, actor, agreement_id)
    store.move(session, row, store.check(row, "resume", actor), reason="")
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.RESUMED)
    after = hooks.run(session, hooks.RESUMED, row)
    trust.append(session, Tag.AGREEMENT_RESUMED, actor, row.id, related=[row.grantor_id, row.grantee_id])
    after()
    return row


def terminate(session: Session, actor: Actor, agreement_id: str, reason: str) -> Agreement:
    """End an agreement before its time, with everything under it (Shuozhou plan, section 10, part 7: 终止授权).

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_reason_missing``.
    """
    row = store.locked(session, actor, agreement_id)
    target, reason = store.check(row, "terminate", actor), rules.check_reason(reason)
    _end(session, actor, row, target, reason, Tag.AGREEMENT_TERMINATED)
    return row


@deadlines.on(LAPSES)
def _lapses(session: Session, due: Deadline) -> None:
    row = session.get_one(Agreement, due.subject, with_for_update=True, populate_existing=True)
    if row.status in ("effective", "suspended") and row.ends_at is not None and row.ends_at <= utc_now():
        _end(session, SYSTEM, row, rules.LIVES[row.kind].check("lapse", row.status, SYSTEM).target, "", Tag.AGREEMENT_LAPSED)


@deadlines.on(WARNS)
def _warns(session: Session, due: Deadline) -> None:
    row = session.get_one(Agreement, due.subject, with_for_update=True, populate_existing=True)
    if row.status not in ("effective", "suspended") or row.version != due.data.get("version") or row.ends_at is None:
        return
    opens, closes = rules.renewal_window(row.ends_at)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.ENDS_SOON, days=due.data["days"],
               last_day=rules.last_day(row.ends_at).isoformat(), opens=opens.isoformat(), closes=closes.isoformat())


def _end(session: Session, actor: Actor, row: Agreement, target: str, reason: str, tag: Tag) -> None:
    """End an agreement and all that rest on it. Every row is locked and changed before the first line goes into the log."""
    ended = [row]
    if row.kind == "operation":
        ended += session.exec(select(Agreement).where(
            Agreement.operation_id == row.id, col(Agreement.status).in_(("negotiating", "signing", "effective", "suspended")))
            .order_by(col(Agreement.id)).with_for_update())
    after: list[hooks.Afterwards] = []
    for one in ended:
        lived = one.status in ("effective", "suspended")
        _close(session, one, target if lived else "withdrawn", reason)
        if lived:
            after.append(hooks.run(session, hooks.ENDED, one))
    for one in ended:
        trust.append(session, tag if one.status == target else Tag.AGREEMENT_WITHDRAWN, actor, one.id,
                     related=[one.grantor_id, one.grantee_id, *filter(None, (one.demand_id, one.operation_id))])
    hooks.together(after)()


def _close(session: Session, row: Agreement, target: str, reason: str) -> None:
    renewal = store.open_renewal(session, row.id)
    if renewal is not None:
        renewal.status, renewal.changed_at = rules.RENEWAL.check("lapse", renewal.status, SYSTEM).target, utc_now()
        session.add(renewal)
    store.move(session, row, target, reason=reason, ended_at=utc_now())
    sides = (row.grantor_id, row.grantee_id)
    if target == "lapsed":
        store.tell(session, row, sides, texts.LAPSED)
    elif target == "terminated":
        store.tell(session, row, sides, texts.TERMINATED, reason=reason)
