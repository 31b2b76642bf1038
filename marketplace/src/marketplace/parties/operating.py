"""Use cases of the market's operator at the machine itself: the first people, and help for who is locked out.

They need the system's power (``organisation.set_up``), which no page and no token has.
"""

from __future__ import annotations

from sqlmodel import Session

from marketplace.actor import Actor
from marketplace.parties import (
    accounts,
    connections,
    guessing,
    invitations,
    resets,
    rules,
    second_factor,
    sessions,
)
from marketplace.parties.invitations import Invited
from marketplace.parties.models import Account
from shuyan.problems import ProblemError


def invite_admin(session: Session, actor: Actor, organisation_id: str, email: str, *, locale: str = "zh") -> Invited:
    """Invite an organisation's first, or next, administrator, with every role; the link is as good as the mailed one.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``, ``invalid_email``, ``already_member``.
    """
    rules.SET_UP.require(actor)
    return invitations.make(session, actor, organisation_id, email=email, roles=rules.EVERYTHING, locale=locale, vouched=True)


def account(session: Session, actor: Actor, email: str) -> Account:
    """The account with this address. Raises ``not_allowed``, ``not_found``."""
    rules.SET_UP.require(actor)
    found = accounts.account_by_email(session, email)
    if found is None:
        raise ProblemError("not_found", what="account")
    return found


def unlock(session: Session, actor: Actor, email: str) -> None:
    """Let somebody try again at once whom guessing, their own or others', has paused. Raises ``not_allowed``, ``not_found``."""
    found = account(session, actor, email)
    guessing.forgive(session, [("account", found.email), ("code", found.id), ("known", f"signed in {found.id}"),
                               ("reset", found.email)])


def reset_second_factor(session: Session, actor: Actor, email: str) -> None:
    """Take the second factor off the account of somebody who lost phone and recovery codes, and end their sessions.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``.
    """
    found = account(session, actor, email)
    second_factor.drop(session, actor, found.id)
    sign_out(session, actor, email)


def sign_out(session: Session, actor: Actor, email: str) -> int:
    """End every session of a person and everything that apps may do for them; how many sessions there were.

    Raises:
        ProblemError: ``not_allowed``, ``not_found``.
    """
    found = account(session, actor, email)
    connections.revoke_all(session, found.id)
    return sessions.end_all(session, found.id)


def reset_link(session: Session, actor: Actor, email: str) -> str:
    """The link with which a person sets a new password, for whom no mail reaches. Raises ``not_allowed``, ``not_found``."""
    return resets.link(session, account(session, actor, email))
