"""Use cases of invitations: an organisation's administrator mails somebody a link; who follows it becomes a member.

The link works once, within a week, and not after it was withdrawn. Whoever has it either signs in to the account of the
address that was invited, or opens one for it. The administrator is shown another link, for where no mail arrives: it does
the same, but proves nobody's address, so that who invites somebody cannot open a trusted account in their name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import update
from sqlmodel import Session, col, or_, select

from marketplace import db
from marketplace.actor import Actor
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.notices import mail
from marketplace.parties import accounts, guessing, rules, sessions
from marketplace.parties.errors import ACCOUNT_EXISTS, ALREADY_MEMBER, FOR_ANOTHER, LINK_VOID
from marketplace.parties.memberships import actor_for_member, join, members
from marketplace.parties.models import Account, Member, MemberInvitation, Organisation
from marketplace.parties.organisations import get_organisation, lock_organisation
from marketplace.parties.sessions import SignedIn
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

LASTS: Final = dt.timedelta(days=7)

_MAIL_ZH: Final = (
    "{name_zh}邀请您加入",
    "您好：\n\n{name_zh}邀请您以成员身份加入数堰。请在 {days} 天内打开以下链接接受邀请，链接只能使用一次：\n\n{link}\n\n"
    "如您不了解该单位，请忽略本邮件。\n")
_MAIL_EN: Final = (
    "{name_en} invites you",
    "Hello,\n\n{name_en} invites you to join it at Shuyan. Open this link within {days} days to accept; it works once.\n\n{link}\n\n"
    "If you do not know the organisation, do nothing.\n")


@dataclass(frozen=True)
class Invited:
    """A new invitation, and the address of the link that its administrator may pass on by other ways than mail."""

    invitation: MemberInvitation
    link: str


def invite(session: Session, actor: Actor, *, email: str, roles: Iterable[str], locale: str = "zh") -> Invited:
    """Mail somebody an invitation into the actor's organisation; an earlier one to the same address is void.

    Raises:
        ProblemError: ``not_allowed``, ``invalid_email``, ``unknown_role``, ``already_member``.
    """
    organisation_id = rules.INVITE.acting(actor, owner=actor.organisation_id)
    return make(session, actor, organisation_id, email=email, roles=roles, locale=locale)


def make(session: Session, actor: Actor, organisation_id: str, *, email: str, roles: Iterable[str], locale: str,
         vouched: bool = False) -> Invited:
    """Write an invitation; the use case that calls has decided that ``actor`` may.

    Where the actor vouches for the address, the link shown is as good as the mailed one.
    """
    email, roles = rules.check_email(email), rules.check_roles(roles)
    organisation = lock_organisation(session, organisation_id)
    if any(account.email == email for _member, account in members(session, organisation_id, suspended=True)):
        raise ProblemError(ALREADY_MEMBER)
    for old in session.exec(select(MemberInvitation).where(
            MemberInvitation.organisation_id == organisation_id, MemberInvitation.email == email, MemberInvitation.status == "open")
            .order_by(col(MemberInvitation.id)).with_for_update()):
        _withdraw(session, actor, old)
    mailed, shown = rules.new_secret(), rules.new_secret()
    row = MemberInvitation(id=new_id("inv"), organisation_id=organisation_id, email=email, roles=roles, invited_by=actor.label,
                           token_hash=rules.hash_secret(mailed), link_hash=rules.hash_secret(shown), expires_at=utc_now() + LASTS)
    session.add(row)
    session.flush()
    trust.append(session, Tag.MEMBER_INVITED, actor, row.id, related=[organisation_id], data={"roles": roles})
    known = accounts.account_by_email(session, email)
    mail.letter(session, email, (known.locale if known else None) or locale, zh=_MAIL_ZH, en=_MAIL_EN, secret=True,
                name_zh=organisation.name_zh, name_en=organisation.name_en, days=LASTS.days, link=_link(mailed))
    return Invited(row, _link(mailed if vouched else shown))


def _link(token: str) -> str:
    return f"{settings().public_url}/invitation?token={token}"


def open_invitations(session: Session, actor: Actor) -> list[MemberInvitation]:
    """The organisation's invitations that can still be accepted, newest first. Raises ``not_allowed``."""
    organisation_id = rules.INVITE.acting(actor, owner=actor.organisation_id)
    return list(session.exec(select(MemberInvitation).where(
        MemberInvitation.organisation_id == organisation_id, MemberInvitation.status == "open", MemberInvitation.expires_at > utc_now())
        .order_by(col(MemberInvitation.id).desc())))


def withdraw(session: Session, actor: Actor, invitation_id: str) -> MemberInvitation:
    """Make an invitation void. Raises ``not_found``, ``not_allowed``, ``wrong_state``."""
    row = session.get(MemberInvitation, invitation_id, with_for_update=True)
    if row is None or row.organisation_id != actor.organisation_id:
        raise ProblemError("not_found", what="invitation")
    rules.INVITATION.check("withdraw", row.status, actor, owner=row.organisation_id)
    _withdraw(session, actor, row)
    return row


def _withdraw(session: Session, actor: Actor, row: MemberInvitation) -> None:
    row.status, row.closed_at = "withdrawn", utc_now()
    session.add(row)
    session.flush()
    trust.append(session, Tag.INVITATION_WITHDRAWN, actor, row.id, related=[row.organisation_id])


@dataclass(frozen=True)
class Shown:
    """An invitation as its guest sees it.

    ``known`` says whether the address has an account already, ``mailed`` whether this is the link that was mailed to it.
    """

    invitation: MemberInvitation
    organisation: Organisation
    known: bool
    mailed: bool


def show(session: Session, token: str) -> Shown:
    """The invitation behind a link. Raises ``link_void``."""
    key = rules.hash_secret(token)
    row = session.exec(select(MemberInvitation).where(
        or_(col(MemberInvitation.token_hash) == key, col(MemberInvitation.link_hash) == key))).first()
    if row is None or row.status != "open" or row.expires_at <= utc_now():
        raise ProblemError(LINK_VOID)
    known = accounts.account_by_email(session, row.email) is not None
    return Shown(row, get_organisation(session, row.organisation_id), known, row.token_hash == key)


def follow(token: str, who: SignedIn | None, *, address: str, display_name: str = "", password: str = "", locale: str | None = None
           ) -> tuple[Account, Member]:
    """Join by a link, whose tries are counted by network address: with the account that one is signed in to, which acts for
    the organisation from then on, or with a new one.

    Raises:
        ProblemError: ``too_many_attempts``, and as :func:`accept` and :func:`accept_new`.
    """
    keys = [("link", address)]
    guessing.reserve(keys)
    with db.transaction() as session:
        if who is not None:
            account, member = who.account, accept(session, token, who)
            sessions.switch(session, who, member.id)
        else:
            account, member = accept_new(session, token, display_name=display_name, password=password, locale=locale)
        guessing.forgive(session, keys)
    return account, member


def accept(session: Session, token: str, who: SignedIn) -> Member:
    """Join with the account one is signed in to. Raises ``link_void``, ``invitation_for_another``, ``already_member``."""
    shown = show(session, token)
    if shown.invitation.email != who.account.email:
        raise ProblemError(FOR_ANOTHER)
    return _accept(session, shown, session.get_one(Account, who.account.id))


def accept_new(session: Session, token: str, *, display_name: str, password: str, locale: str | None) -> tuple[Account, Member]:
    """Join with a new account for the address that was invited.

    Raises:
        ProblemError: ``link_void``, ``account_exists`` (they have one: sign in), ``invalid_name``, ``weak_password``,
            ``common_password``, ``long_password``.
    """
    shown = show(session, token)
    if shown.known:
        raise ProblemError(ACCOUNT_EXISTS)
    account = accounts.open_account(session, email=shown.invitation.email, display_name=display_name, password=password, locale=locale)
    return account, _accept(session, shown, account)


def _accept(session: Session, shown: Shown, account: Account) -> Member:
    found = session.execute(
        update(MemberInvitation).where(col(MemberInvitation.id) == shown.invitation.id, col(MemberInvitation.status) == "open",
                                       col(MemberInvitation.expires_at) > utc_now())
        .values(status="accepted", closed_at=utc_now()).returning(col(MemberInvitation.id))).first()
    if found is None:
        raise ProblemError(LINK_VOID)
    row = session.get_one(MemberInvitation, found[0], populate_existing=True)
    if shown.mailed and account.email_verified_at is None:
        account.email_verified_at = utc_now()
        session.add(account)
    member = join(session, account, row.organisation_id, row.roles)
    row.member_id = member.id
    session.add(row)
    trust.append(session, Tag.MEMBER_JOINED, actor_for_member(session, member), member.id, related=[row.id, row.organisation_id],
                 data={"roles": row.roles})
    return member
