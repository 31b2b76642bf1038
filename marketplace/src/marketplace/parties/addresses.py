"""Use cases of a new e-mail address: asked for with password and second factor, in force once its mail is shown to be read.

The link goes to the new address and works once, for whoever is signed in to the account it was asked for: a stranger whom a
mistyped address reaches can do nothing with it. The old address is told both times. Whether somebody else has the new address is
told to nobody but its reader.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from marketplace import db
from marketplace.clock import CITY
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.notices import mail
from marketplace.parties import accounts, guessing, rules, sessions
from marketplace.parties.errors import LINK_FOR_ANOTHER, LINK_VOID, SAME_ADDRESS, TAKEN
from marketplace.parties.models import Account, EmailChange, ResetLink
from marketplace.parties.sessions import SignedIn
from marketplace.parties.sign_in import Place, confirm_code, confirm_password
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

LASTS: Final = dt.timedelta(minutes=30)

_LINK_ZH: Final = (
    "确认新的邮箱地址",
    "{name}，您好：\n\n您申请将数堰账户的邮箱改为本地址。请在 {minutes} 分钟内打开以下链接，登录后确认，链接只能使用一次：\n\n{link}\n\n"
    "如非您本人申请，请忽略本邮件，任何账户都不会改变。\n")
_LINK_EN: Final = (
    "Confirm your new e-mail address",
    "Hello {name},\n\nyou asked for this to be the address of your account. Open this link within {minutes} minutes and confirm it, "
    "signed in. It works once.\n\n{link}\n\nIf you did not ask for it, do nothing: no account changes.\n")
_KNOWN_ZH: Final = (
    "您的邮箱已有账户",
    "您好：\n\n有人申请将另一个数堰账户的邮箱改为本地址，但本地址已有账户，因此没有作任何更改。\n\n"
    "如是您本人操作，请直接以本地址登录，或使用其他邮箱；否则请忽略本邮件。\n\n{url}/sign-in\n")
_KNOWN_EN: Final = (
    "Your address has an account already",
    "Hello,\n\nsomebody asked for this to be the address of another account, but it has one already, so nothing was changed.\n\n"
    "If it was you, sign in with this address, or use another one; else do nothing.\n\n{url}/sign-in\n")
_ASKED_ZH: Final = (
    "账户安全提醒：有人申请更改邮箱",
    "{name}，您好：\n\n{time:%Y-%m-%d %H:%M}（北京时间），有人以您的密码登录并申请更改您数堰账户的邮箱。新邮箱确认之前，账户不变。\n\n"
    "如非您本人操作，请立即重设密码，该申请将随之作废：\n\n{url}/reset\n")
_ASKED_EN: Final = (
    "Your account: another e-mail address was asked for",
    "Hello {name},\n\nsomebody who knows your password asked at {time:%Y-%m-%d %H:%M} (UTC+8) for another address for your account. "
    "Nothing changes until it is confirmed.\n\nIf it was not you, set a new password at once, which makes the request void:\n\n{url}/reset\n")
_DONE_ZH: Final = (
    "账户安全提醒：邮箱已更改",
    "{name}，您好：\n\n您数堰账户的邮箱已于 {time:%Y-%m-%d %H:%M}（北京时间）更改，本地址今后不能用于登录或重设密码。\n\n"
    "如非您本人操作，请立即联系贵单位管理员和运营机构。\n")
_DONE_EN: Final = (
    "Your account: the e-mail address was changed",
    "Hello {name},\n\nthe address of your account was changed at {time:%Y-%m-%d %H:%M} (UTC+8). This one no longer signs in, nor gets links "
    "for a new password.\n\nIf it was not you, tell your organisation's administrator and the operator at once.\n")


def ask(who: SignedIn, email: str, *, password: str, code: str, place: Place, locale: str) -> None:
    """Mail a link to the new address; one asked for before is void. A taken address looks the same to who asks.

    Args:
        code: of the second factor, if the account has one.
        locale: of the mail, for whoever did not choose.

    Raises:
        ProblemError: ``invalid_email``, ``same_address``, ``wrong_password``, ``wrong_code``, ``too_many_attempts``.
    """
    email = rules.check_email(email)
    if email == who.account.email:
        raise ProblemError(SAME_ADDRESS, field="email")
    confirm_password(who.account, password, place)
    guessing.reserve([("change", who.account.id)])
    confirm_code(who.account, code)
    token = rules.new_secret()
    with db.transaction() as session:
        account = session.get_one(Account, who.account.id, with_for_update=True, populate_existing=True)
        session.execute(delete(EmailChange).where(col(EmailChange.account_id) == account.id))
        language = account.locale or locale
        if (other := accounts.account_by_email(session, email)) is not None:
            mail.letter(session, email, other.locale or locale, zh=_KNOWN_ZH, en=_KNOWN_EN, url=settings().public_url)
        else:
            session.add(EmailChange(token_hash=rules.hash_secret(token), account_id=account.id, email=email, expires_at=utc_now() + LASTS))
            mail.letter(session, email, language, zh=_LINK_ZH, en=_LINK_EN, secret=True, name=account.display_name,
                        minutes=int(LASTS.total_seconds() // 60), link=f"{settings().public_url}/account/email/confirm?token={token}")
        mail.letter(session, account.email, language, zh=_ASKED_ZH, en=_ASKED_EN, name=account.display_name,
                    time=utc_now().astimezone(CITY), url=settings().public_url)


def show(session: Session, who: SignedIn, token: str) -> str:
    """The address that a link confirms. Raises ``link_void``, ``link_for_another``."""
    row = session.get(EmailChange, rules.hash_secret(token))
    if row is None or row.used_at is not None or row.expires_at <= utc_now():
        raise ProblemError(LINK_VOID)
    if row.account_id != who.account.id:
        raise ProblemError(LINK_FOR_ANOTHER)
    return row.email


def confirm(who: SignedIn, token: str, address: str) -> str:
    """Make the address that the link was mailed to the account's, and return it. Links mailed to the old one are void.

    Args:
        address: the network address, by which tries are counted.

    Raises:
        ProblemError: ``link_void``, ``link_for_another``, ``already_taken`` (somebody opened an account with it meanwhile),
            ``too_many_attempts``.
    """
    keys = [("link", address)]
    guessing.reserve(keys)
    with db.transaction() as session:
        show(session, who, token)
        account = session.get_one(Account, who.account.id, with_for_update=True, populate_existing=True)
        found = session.execute(
            update(EmailChange).where(col(EmailChange.token_hash) == rules.hash_secret(token), col(EmailChange.account_id) == account.id,
                                      col(EmailChange.used_at).is_(None), col(EmailChange.expires_at) > utc_now())
            .values(used_at=utc_now()).returning(col(EmailChange.email))).first()
        if found is None:
            raise ProblemError(LINK_VOID)
        old, account.email, account.email_verified_at = account.email, found[0], utc_now()
        try:
            with session.begin_nested():
                session.add(account)
                session.flush()
        except IntegrityError:
            raise ProblemError(TAKEN, field="email", value=found[0]) from None
        session.execute(delete(ResetLink).where(col(ResetLink.account_id) == account.id))
        guessing.forgive(session, [*keys, ("change", account.id)])
        trust.append(session, Tag.EMAIL_CHANGED, sessions.as_actor(session, who), account.id)
        mail.letter(session, old, account.locale or settings().default_locale, zh=_DONE_ZH, en=_DONE_EN, name=account.display_name,
                    time=utc_now().astimezone(CITY))
        return account.email
