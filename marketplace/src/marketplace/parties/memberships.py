"""Use cases of memberships: who belongs to which organisation, in which roles, and who of them is one person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from sqlmodel import Session, col, select

from marketplace.actor import Actor, Party
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.lifecycle import Transition
from marketplace.parties import rules
from marketplace.parties.accounts import account_by_email, open_account
from marketplace.parties.errors import ALREADY_MEMBER, LAST_ADMIN
from marketplace.parties.models import Account, Member, Organisation
from marketplace.parties.organisations import get_organisation, insert, lock_organisation
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Recipient:
    """Somebody to write to."""

    email: str
    locale: str | None
    display_name: str


def add_member(session: Session, actor: Actor, *, organisation_id: str, email: str, display_name: str, password: str,
               roles: Iterable[str] = rules.EVERYTHING, locale: str | None = None, member_id: str | None = None) -> Member:
    """Set up a person in an organisation without an invitation: how a market begins. Only the system may.

    A person who has an account already keeps it, with its password. People are no audit events: personal data never
    enters the log.

    Raises:
        ProblemError: ``not_allowed``, ``weak_password``, ``unknown_role``, ``already_taken``, ``not_found``.
    """
    rules.SET_UP.require(actor)
    get_organisation(session, organisation_id)
    roles = rules.check_roles(roles)
    account = account_by_email(session, email) or open_account(
        session, email=email, display_name=display_name, password=password, locale=locale, verified=True)
    row = Member(id=member_id or new_id("mem"), organisation_id=organisation_id, account_id=account.id, roles=roles)
    insert(session, row, "email", account.email)
    return row


def get_member(session: Session, member_id: str) -> Member | None:
    """The membership with this id, or ``None``; it may be ended."""
    return session.get(Member, member_id)


def name_of(session: Session, member_id: str) -> str | None:
    """What the person of a membership is called; ``None`` for an unknown one. For that person's own eyes."""
    return session.exec(select(Account.display_name).join(Member, col(Member.account_id) == Account.id).where(Member.id == member_id)).first()


def memberships_of(session: Session, account_id: str) -> list[tuple[Member, Organisation]]:
    """A person's active memberships with their organisations, oldest first."""
    rows = session.exec(select(Member, Organisation).join(Organisation, col(Organisation.id) == Member.organisation_id)
                        .where(Member.account_id == account_id, Member.status == "active")
                        .order_by(col(Member.created_at), col(Member.id)))
    return [(member, organisation) for member, organisation in rows]


def actor_for_member(session: Session, member: Member) -> Actor:
    """The person as an actor, with all rights of the organisation's kind and the membership's roles.

    Raises:
        ProblemError: ``not_allowed`` for an ended membership.
    """
    if member.status != "active":
        raise ProblemError("not_allowed")
    organisation = get_organisation(session, member.organisation_id)
    return Actor(cast(Party, organisation.kind), organisation.id, member_id=member.id, roles=frozenset(member.roles),
                 standing=organisation.status == "active")


def members(session: Session, organisation_id: str, *, suspended: bool = False) -> list[tuple[Member, Account]]:
    """An organisation's active members, and the ``suspended``, with their accounts, oldest first.

    Callers have decided who may see them.
    """
    states = ("active", "suspended") if suspended else ("active",)
    rows = session.exec(select(Member, Account).join(Account, col(Account.id) == Member.account_id)
                        .where(Member.organisation_id == organisation_id, col(Member.status).in_(states))
                        .order_by(col(Member.created_at), col(Member.id)))
    return [(member, account) for member, account in rows]


def colleagues(session: Session, actor: Actor) -> list[tuple[Member, Account]]:
    """The members of the actor's own organisation, for its members. Raises ``not_signed_in``, ``not_allowed``."""
    return members(session, rules.SEE_MEMBERS.acting(actor, owner=actor.organisation_id), suspended=True)


def join(session: Session, account: Account, organisation_id: str, roles: list[str]) -> Member:
    """Make a person a member; one who left comes back under the membership they had. Raises ``already_member``."""
    row = session.exec(select(Member).where(Member.account_id == account.id, Member.organisation_id == organisation_id)
                       .with_for_update()).first()
    if row is None:
        row = Member(id=new_id("mem"), organisation_id=organisation_id, account_id=account.id, roles=roles)
        try:
            insert(session, row, "email", account.email)
        except ProblemError:
            raise ProblemError(ALREADY_MEMBER) from None
        return row
    if row.status != "ended":
        raise ProblemError(ALREADY_MEMBER)
    row.status, row.ended_at, row.roles = "active", None, roles
    session.add(row)
    session.flush()
    return row


def change_roles(session: Session, actor: Actor, member_id: str, roles: Iterable[str]) -> Member:
    """Give a member other roles.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``unknown_role``, ``last_admin``.
    """
    row = _own(session, actor, member_id)
    rules.MEMBER.check("change_roles", row.status, actor, owner=row.organisation_id)
    wanted = rules.check_roles(roles)
    if wanted == sorted(row.roles):
        return row
    if "admin" not in wanted:
        _keep_an_admin(session, row)
    row.roles = wanted
    session.add(row)
    trust.append(session, Tag.ROLES_CHANGED, actor, row.id, related=[row.organisation_id], data={"roles": wanted})
    return row


def suspend(session: Session, actor: Actor, member_id: str) -> Member:
    """Keep a member from acting for the organisation for the time being, themselves and by any app.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``last_admin``.
    """
    row = _own(session, actor, member_id)
    step = rules.MEMBER.check("suspend", row.status, actor, owner=row.organisation_id)
    _keep_an_admin(session, row)
    return _turn(session, actor, row, step)


def resume(session: Session, actor: Actor, member_id: str) -> Member:
    """Let a suspended member act again. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = _own(session, actor, member_id)
    return _turn(session, actor, row, rules.MEMBER.check("resume", row.status, actor, owner=row.organisation_id))


def _turn(session: Session, actor: Actor, row: Member, step: Transition) -> Member:
    row.status = step.target
    session.add(row)
    session.flush()
    if step.event:
        trust.append(session, step.event, actor, row.id, related=[row.organisation_id])
    return row


def end_membership(session: Session, actor: Actor, member_id: str) -> Member:
    """End a membership, with every app that acts for it: an administrator somebody's, anybody their own.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``last_admin``.
    """
    from marketplace.parties import connections

    row = _own(session, actor, member_id)
    step = rules.MEMBER.check("leave" if member_id == actor.member_id else "end", row.status, actor, owner=row.organisation_id)
    _keep_an_admin(session, row)
    row.ended_at = utc_now()
    _turn(session, actor, row, step)
    connections.revoke_all(session, row.account_id, member_id=row.id)
    return row


def _own(session: Session, actor: Actor, member_id: str) -> Member:
    """A member of the actor's organisation; its row and the organisation's are locked, so that admins leave one by one."""
    row = session.get(Member, member_id)
    if row is None or row.organisation_id != actor.organisation_id:
        raise ProblemError("not_found", what="member")
    lock_organisation(session, row.organisation_id)
    return session.get_one(Member, member_id, with_for_update=True, populate_existing=True)


def _keep_an_admin(session: Session, leaving: Member) -> None:
    if leaving.status == "active" and "admin" in leaving.roles and not any(
            "admin" in member.roles for member, _account in members(session, leaving.organisation_id) if member.id != leaving.id):
        raise ProblemError(LAST_ADMIN)


def recipients(session: Session, organisation_id: str, role: str | None) -> list[Recipient]:
    """The active members to write to, those with ``role`` if one is given."""
    return [Recipient(account.email, account.locale, account.display_name)
            for member, account in members(session, organisation_id) if role is None or role in member.roles]


def same_person(session: Session, label_a: str, label_b: str) -> bool:
    """Whether two actors' labels (``Actor.label``, as rows keep who did something) are one person.

    One person may act for several organisations, each time under another membership. Labels of programs and of the
    system are the same only if they are equal.
    """
    found = persons(session, (label_a, label_b))
    return found[label_a] == found[label_b]


def persons(session: Session, labels: Iterable[str]) -> dict[str, str]:
    """Who is behind actors' labels, in one query: the same for labels that are one person (:func:`same_person`)."""
    wanted = set(labels)
    accounts = dict(session.exec(select(Member.id, Member.account_id).where(col(Member.id).in_(wanted))).all()) if wanted else {}
    return {label: accounts.get(label, label) for label in wanted}
