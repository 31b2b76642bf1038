"""Use cases of sessions: signed-in browsers, kept on the server so that they can be listed and ended.

A session ends when it was idle for long, at an absolute time whatever is done, when it is ended by its person, and when
the password changes. A new one has a new token at every step of signing in, so that one planted before is worth nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from marketplace.actor import PUBLIC, Actor
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.memberships import actor_for_member, memberships_of
from marketplace.parties.models import Account, AccountSession, Member
from marketplace.settings import settings
from shuyan.problems import ProblemError

HALF_WAY: Final = dt.timedelta(minutes=10)
"""How long the second step of signing in may take."""
_NOTED_EVERY: Final = dt.timedelta(minutes=1)
_KEPT: Final = dt.timedelta(days=30)


@dataclass(frozen=True)
class SignedIn:
    """A live session: whose, as which member, and how far signing in has come."""

    session_id: str
    account: Account
    member: Member | None
    stage: str
    unseen: bool  # so long that the next request should be noted


def begin(session: Session, account_id: str, *, address: str, device: str, stage: str = "full",
          member_id: str | None = None) -> tuple[AccountSession, str]:
    """A new session and its token, which only the browser keeps; as ``member_id``, else as the person acted last."""
    now = utc_now()
    if member_id is None:
        member_id = session.exec(select(AccountSession.member_id).where(AccountSession.account_id == account_id)
                                 .order_by(col(AccountSession.created_at).desc(), col(AccountSession.id).desc()).limit(1)).first()
    session.execute(delete(AccountSession).where(col(AccountSession.account_id) == account_id,
                                                 col(AccountSession.expires_at) < now - _KEPT))
    known = [member.id for member, _organisation in memberships_of(session, account_id)]
    token = rules.new_secret()
    lasting = dt.timedelta(hours=settings().session_hours) if stage == "full" else HALF_WAY
    row = AccountSession(
        id=new_id("ses"), token_hash=rules.hash_secret(token), account_id=account_id, stage=stage, address=address[:64],
        member_id=member_id if member_id in known else (known[0] if known else None),
        device=device[:300], created_at=now, last_seen_at=now, expires_at=now + lasting)
    session.add(row)
    session.flush()
    return row, token


def find(session: Session, token: str) -> SignedIn | None:
    """The live session of a token, or ``None``. A membership that has ended since is left out of it."""
    now = utc_now()
    row = session.exec(select(AccountSession).where(AccountSession.token_hash == rules.hash_secret(token))).first()
    if row is None or not _live(row, now):
        return None
    member = session.get(Member, row.member_id) if row.member_id else None
    if member is None or member.status != "active":
        others = memberships_of(session, row.account_id)
        member = others[0][0] if others else None
    return SignedIn(row.id, session.get_one(Account, row.account_id), member, row.stage, row.last_seen_at + _NOTED_EVERY < now)


def _live(row: AccountSession, now: dt.datetime) -> bool:
    idle = dt.timedelta(minutes=settings().session_idle_minutes)
    return row.ended_at is None and row.expires_at > now and row.last_seen_at + idle > now


def as_actor(session: Session, who: SignedIn) -> Actor:
    """The person as the log names them: the membership they act as; nobody in particular without one."""
    return actor_for_member(session, who.member) if who.member else PUBLIC


def note(session: Session, session_id: str, address: str) -> None:
    """Note that a session was used just now, from where; nothing revives one that is over meanwhile."""
    row = session.get(AccountSession, session_id, with_for_update=True)
    if row is not None and _live(row, utc_now()):
        row.last_seen_at, row.address = utc_now(), address[:64]
        session.add(row)


def switch(session: Session, who: SignedIn, member_id: str) -> Member:
    """Act as another of the person's memberships from here on. Raises ``not_found``."""
    for member, _organisation in memberships_of(session, who.account.id):
        if member.id == member_id:
            row = session.get_one(AccountSession, who.session_id, with_for_update=True)
            row.member_id = member.id
            session.add(row)
            return member
    raise ProblemError("not_found", what="membership")


def list_sessions(session: Session, account_id: str) -> list[AccountSession]:
    """The person's live sessions, the last used first."""
    now = utc_now()
    rows = session.exec(select(AccountSession).where(AccountSession.account_id == account_id, AccountSession.stage == "full",
                                                     col(AccountSession.ended_at).is_(None), AccountSession.expires_at > now)
                        .order_by(col(AccountSession.last_seen_at).desc(), col(AccountSession.id)))
    return [row for row in rows if _live(row, now)]


def end(session: Session, account_id: str, session_id: str) -> None:
    """End one session of the person. Doing it twice changes nothing. Raises ``not_found`` for somebody else's."""
    row = session.get(AccountSession, session_id, with_for_update=True)
    if row is None or row.account_id != account_id:
        raise ProblemError("not_found", what="session")
    if row.ended_at is None:
        row.ended_at = utc_now()
        session.add(row)


def end_all(session: Session, account_id: str, *, but: str | None = None) -> int:
    """End every session of the person except ``but``; how many there were."""
    rows = session.exec(select(AccountSession).where(AccountSession.account_id == account_id, AccountSession.id != (but or ""),
                                                     col(AccountSession.ended_at).is_(None))
                        .order_by(col(AccountSession.id)).with_for_update()).all()
    for row in rows:
        row.ended_at = utc_now()
        session.add(row)
    return len(rows)
