"""Use cases of passwords: changing one, and replacing a forgotten one by a mailed link that works once."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import delete, update
from sqlmodel import Session, col

from marketplace import db
from marketplace.actor import PUBLIC
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.notices import mail
from marketplace.parties import accounts, alerts, connections, guessing, rules, second_factor, sessions
from marketplace.parties.errors import LINK_VOID
from marketplace.parties.models import Account, EmailChange, ExternalIdentity, ResetLink
from marketplace.parties.sessions import SignedIn
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

LASTS: Final = dt.timedelta(minutes=30)

_MAIL_ZH: Final = (
    "重设密码",
    "{name}，您好：\n\n请在 {minutes} 分钟内打开以下链接重设密码，链接只能使用一次：\n\n{link}\n\n"
    "如非您本人申请，请忽略本邮件，您的密码不会改变。\n")
_MAIL_EN: Final = (
    "Reset your password",
    "Hello {name},\n\nopen this link within {minutes} minutes to set a new password. It works once.\n\n{link}\n\n"
    "If you did not ask for it, do nothing: your password stays as it is.\n")


def change_password(session: Session, who: SignedIn, password: str) -> None:
    """A new password; every other session of the person ends. The use case that calls has asked for the old one.

    Raises:
        ProblemError: ``weak_password``, ``common_password``, ``long_password``.
    """
    account = session.get_one(Account, who.account.id, with_for_update=True, populate_existing=True)
    accounts.store_password(session, account, password)
    sessions.end_all(session, account.id, but=who.session_id)
    session.execute(delete(ResetLink).where(col(ResetLink.account_id) == account.id))
    session.execute(delete(EmailChange).where(col(EmailChange.account_id) == account.id))
    trust.append(session, Tag.PASSWORD_CHANGED, sessions.as_actor(session, who), account.id)
    alerts.tell(session, account, "password")


def ask(email: str, address: str, locale: str) -> None:
    """Mail a link to the person with this address, if there is one; nobody is told whether there was.

    Raises:
        ProblemError: ``too_many_attempts`` for a network address that asks too often.
    """
    guessing.reserve([("link", address)])
    try:
        guessing.reserve([("reset", rules.normal_email(email))])
    except ProblemError:
        return  # no flood of mail, and no word about it
    with db.transaction() as session:
        account = accounts.account_by_email(session, email)
        if account is None:
            return
        mail.letter(session, account.email, account.locale or locale, zh=_MAIL_ZH, en=_MAIL_EN, secret=True, name=account.display_name,
                    minutes=int(LASTS.total_seconds() // 60), link=link(session, account))


def link(session: Session, account: Account) -> str:
    """A new link for this person; one they had before is void. It lets its bearer in: only their mail may carry it."""
    token = rules.new_secret()
    session.execute(delete(ResetLink).where(col(ResetLink.account_id) == account.id))
    session.add(ResetLink(token_hash=rules.hash_secret(token), account_id=account.id, expires_at=utc_now() + LASTS))
    return f"{settings().public_url}/reset/new?token={token}"


def use(token: str, password: str, address: str) -> None:
    """Replace the password by a mailed link. Ends every session and every app's connection: what was forgotten may be stolen.

    Raises:
        ProblemError: ``link_void``, ``weak_password``, ``common_password``, ``long_password``, ``too_many_attempts``.
    """
    guessing.reserve([("link", address)])
    with db.transaction() as session:
        found = session.execute(
            update(ResetLink).where(col(ResetLink.token_hash) == rules.hash_secret(token), col(ResetLink.used_at).is_(None),
                                    col(ResetLink.expires_at) > utc_now())
            .values(used_at=utc_now()).returning(col(ResetLink.account_id))).first()
        if found is None:
            raise ProblemError(LINK_VOID)
        account = session.get_one(Account, found[0], with_for_update=True)
        accounts.store_password(session, account, password)
        if account.email_verified_at is None:
            # Whoever opened the account never showed that the address is theirs: what they set up must not outlive it.
            second_factor.drop(session, PUBLIC, account.id)
            session.execute(delete(ExternalIdentity).where(col(ExternalIdentity.account_id) == account.id))
            account.email_verified_at = utc_now()
            session.add(account)
        session.execute(delete(EmailChange).where(col(EmailChange.account_id) == account.id))
        sessions.end_all(session, account.id)
        connections.revoke_all(session, account.id)
        guessing.forgive(session, [("account", account.email), ("reset", account.email)])
        trust.append(session, Tag.PASSWORD_RESET, PUBLIC, account.id)
        alerts.tell(session, account, "password")
