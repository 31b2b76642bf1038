"""Use cases of the revocation list: signed by the data authority elsewhere, it only ever grows."""

from __future__ import annotations

import time

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.agreements.hooks import together
from marketplace.authorisation import errors, rules, shared, withdrawals
from marketplace.authorisation.models import GrantRecord, RevocationListRecord
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.trust import service as trust
from shuyan.problems import ProblemError
from shuyan.trust.grants import RevocationList, verify_revocations


def accept_revocations(session: Session, actor: Actor, jws: str) -> RevocationListRecord:
    """Take in a newer list of revoked grants; those it names stop at once. The same JWS twice is the same list.

    Raises:
        ProblemError: ``not_allowed``, ``authority_key_missing``, ``revocations_invalid``, ``revocations_old``,
            ``revocations_dropped``, ``revocations_past``.
    """
    rules.ISSUE.require(actor)
    new = verify_revocations(jws, shared.authority_key())
    latest = latest_revocations(session)
    if latest is not None:
        if latest.jws == jws:
            return latest
        _check_newer(new, latest)
    if new.next_update <= time.time():
        raise ProblemError(errors.REVOCATIONS_STALE)
    record = RevocationListRecord(number=new.number, jws=jws)
    try:
        with session.begin_nested():
            session.add(record)
    except IntegrityError:  # another list of this number came in at the same moment
        raise ProblemError(errors.REVOCATIONS_OLD, number=new.number, latest=new.number) from None
    reasons = {item.jti: item.reason for item in new.revoked}
    query = select(GrantRecord).where(col(GrantRecord.id).in_(reasons), col(GrantRecord.status).in_(("active", "held")))
    grants = session.exec(query.order_by(GrantRecord.id).with_for_update()).all()
    for grant in grants:
        grant.status = rules.GRANT.check("revoke", grant.status, actor, owner=grant.organisation_id).target
        grant.revoked_at, grant.revocation_reason, grant.revoked_in = utc_now(), reasons[grant.id], new.number
        session.add(grant)
    after = [hook(session, [grant.id for grant in grants]) for hook in withdrawals.WITHDRAWN] if grants else []
    for grant in grants:
        trust.append(session, Tag.GRANT_REVOKED, actor, grant.id,
                     related=[grant.demand_id, grant.scenario_id, grant.organisation_id], data={"list": new.number})
    together(after)()
    return record


def _check_newer(new: RevocationList, latest: RevocationListRecord) -> None:
    held = verify_revocations(latest.jws, shared.authority_key())
    if new.number <= held.number:
        raise ProblemError(errors.REVOCATIONS_OLD, number=new.number, latest=held.number)
    dropped = {item.jti for item in held.revoked} - {item.jti for item in new.revoked}
    if dropped:
        raise ProblemError(errors.REVOCATIONS_DROPPED, grant=min(dropped))


_LATEST = select(RevocationListRecord).order_by(col(RevocationListRecord.number).desc()).limit(1)  # asked four times a second


def latest_revocations(session: Session) -> RevocationListRecord | None:
    """The newest list of revoked grants, if the authority has signed any yet."""
    return session.exec(_LATEST).first()
