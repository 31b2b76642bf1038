"""An administrator of each side signs the exact terms; with both signatures they are in force."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Session

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements import errors, hooks, rules, store, texts
from marketplace.agreements.models import Agreement, AgreementSignature, AgreementVersion
from marketplace.agreements.scope import holds
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

LAPSES, WARNS = "agreement.lapses", "agreement.warns"


def sign(session: Session, actor: Actor, agreement_id: str, digest: str) -> Agreement:
    """Sign the terms for one's side: those of an agreement that waits for signatures, or of an offered renewal.

    Signing again changes nothing. The second side's signature puts the terms in force.

    Args:
        digest: of the terms as they were read; it must be that of the terms that wait.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``agreement_digest_differs``, ``agreement_plan_missing``,
            ``agreement_not_in_force`` (the operation agreement it rests on), ``agreement_until``.
    """
    row = store.locked(session, actor, agreement_id)
    here = rules.side(actor, row.grantor_id, row.grantee_id)
    renewal = store.open_renewal(session, row.id) if row.status in ("effective", "suspended") else None
    if renewal is not None and renewal.version is not None:
        target = rules.RENEWAL.check("sign", renewal.status, actor, owner=here).target
        version = store.version(session, row, renewal.version)
    else:
        target = rules.LIVES[row.kind].check("sign", row.status, actor, owner=here).target
        version = store.version(session, row)
    if digest != version.digest:
        raise ProblemError(errors.DIGEST_DIFFERS, field="digest")
    signed = {item.organisation_id for item in store.signatures(session, row.id, version.number)}
    if here in signed:
        return row
    now = utc_now()
    terms = store.terms_of(version)
    if row.kind == "operation" and terms.plan is None:
        raise ProblemError(errors.PLAN_MISSING, field="plan")
    session.add(AgreementSignature(id=new_id("signature"), agreement_id=row.id, number=version.number, digest=digest,
                                   organisation_id=here, signed_by=actor.label, signed_at=now))
    complete = signed | {here} == {row.grantor_id, row.grantee_id}
    after: list[hooks.Afterwards] = []
    if complete and renewal is not None:
        if not holds(row, now):
            raise ProblemError(errors.NOT_IN_FORCE)
        renewal.status, renewal.changed_at = target, now
        session.add(renewal)
        _renew(session, row, version, terms)
        after.append(lambda: trust.append(session, Tag.AGREEMENT_RENEWED, SYSTEM, row.id, related=[row.grantor_id, row.grantee_id],
                                          data={"terms": digest, "ends": _seconds(row.ends_at)}))
    elif complete:
        after.append(_take_effect(session, row, version, terms, target, now))
    else:
        store.tell(session, row, store.other_side(row, here), texts.TO_SIGN, role="admin")
    trust.append(session, Tag.AGREEMENT_SIGNED, actor, row.id, related=[row.grantor_id, row.grantee_id],
                 data={"number": version.number, "terms": digest, "side": here})
    hooks.together(after)()
    return row


def _take_effect(session: Session, row: Agreement, version: AgreementVersion, terms: rules.Terms, target: str, now: dt.datetime
                 ) -> hooks.Afterwards:
    if row.kind == "operation":
        ends_at = rules.end_of_term(now, terms.months or 0)
    else:
        operation = session.get_one(Agreement, row.operation_id, with_for_update={"read": True}, populate_existing=True)
        if not holds(operation, now):
            raise ProblemError(errors.NOT_IN_FORCE)
        ends_at = rules.check_until(terms.until, now, operation.ends_at)
    store.move(session, row, target, effective_at=now, ends_at=ends_at)
    _watch(session, row, version.number, now)
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.EFFECTIVE, last_day=rules.last_day(ends_at).isoformat())
    after = hooks.run(session, hooks.EFFECTIVE, row)

    def append() -> None:
        trust.append(session, Tag.AGREEMENT_EFFECTIVE, SYSTEM, row.id,
                     related=[row.grantor_id, row.grantee_id, *filter(None, (row.demand_id, row.scenario_id, row.operation_id))],
                     data={"terms": version.digest, "ends": _seconds(ends_at)})

    return hooks.together([append, after])


def _renew(session: Session, row: Agreement, version: AgreementVersion, terms: rules.Terms) -> None:
    if row.ends_at is None or terms.months is None:
        raise ValueError("only an agreement with an end is renewed")
    row.ends_at = rules.extended(row.ends_at, terms.months)
    row.version, row.mode = version.number, terms.mode
    session.add(row)
    _watch(session, row, version.number, utc_now())
    store.tell(session, row, (row.grantor_id, row.grantee_id), texts.RENEWED, last_day=rules.last_day(row.ends_at).isoformat())


def _watch(session: Session, row: Agreement, number: int, now: dt.datetime) -> None:
    """Set the end and the warnings before it. Those of earlier terms still fire, find newer ones, and do nothing: moving them
    would lock them after the agreement, while their firing locks them before it."""
    if row.ends_at is None:
        return
    deadlines.put(session, LAPSES, row.id, row.ends_at, number=number)
    if row.kind == "operation":
        for days, moment in rules.warnings(now, row.ends_at):
            deadlines.put(session, WARNS, row.id, moment, number=number * 1000 + days, data={"days": days, "version": number})


def _seconds(moment: dt.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
