"""Use cases of memberships: who belongs to which organisation, in which roles, and who of them is one person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from sqlmodel import Session, col, select

from marketplace.actor import Actor, Party
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.accounts import account_by_email, open_account
from marketplace.parties.models import Account, Member, Organisation
from marketplace.parties.organisations import get_organisation, insert
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
        session, email=email, display_name=display_name, password=password, locale=locale)
    row = Member(id=member_id or new_id("mem"), organisation_id=organisation_id, account_id=account.id, roles=roles)
    insert(session, row, "email", account.email)
    return row


def get_member(session: Session, member_id: str) -> Member | None:
    """The membership with this id, or ``None``; it may be ended."""
    return session.get(Member, member_id)


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


def members(session: Session, organisation_id: str) -> list[tuple[Member, Account]]:
    """An organisation's active members with their accounts, oldest first. Callers have decided who may see them."""
    rows = session.exec(select(Member, Account).join(Account, col(Account.id) == Member.account_id)
                        .where(Member.organisation_id == organisation_id, Member.status == "active")
                        .order_by(col(Member.created_at), col(Member.id)))
    return [(member, account) for member, account in rows]


def recipients(session: Session, organisation_id: str, role: str | None) -> list[Recipient]:
    """The active members to write to, those with ``role`` if one is given."""
    return [Recipient(account.email, account.locale, account.display_name)
            for member, account in members(session, organisation_id) if role is None or role in member.roles]


def same_person(session: Session, label_a: str, label_b: str) -> bool:
    """Whether two actors' labels (``Actor.label``, as rows keep who did something) are one person.

    One person may act for several organisations, each time under another membership. Labels of programs and of the
    system are the same only if they are equal.
    """
    if label_a == label_b:
        return True
    found = session.exec(select(Member.account_id).where(col(Member.id).in_({label_a, label_b}))).all()
    return len(found) == 2 and found[0] == found[1]
