"""Telling a person by mail what was changed about how one signs in to their account, so that they notice if it was not they."""

from __future__ import annotations

from typing import Final, Literal

from sqlmodel import Session

from marketplace.clock import CITY
from marketplace.db import utc_now
from marketplace.notices import mail
from marketplace.parties.models import Account
from marketplace.settings import settings

Change = Literal["password", "second_factor", "identity"]

_CHANGES: Final[dict[Change, tuple[str, str]]] = {
    "password": ("密码已修改", "the password was changed"),
    "second_factor": ("两步验证已停用", "the second factor was turned off"),
    "identity": ("已关联统一身份认证账号", "an external identity was linked"),
}
_ZH: Final = (
    "账户安全提醒：{what_zh}",
    "{name}，您好：\n\n您的数堰账户于 {time:%Y-%m-%d %H:%M}（北京时间）发生变更：{what_zh}。\n\n"
    "如非您本人操作，请立即重设密码，结束其他登录，并联系运营机构：\n\n{url}/reset\n")
_EN: Final = (
    "Your account: {what_en}",
    "Hello {name},\n\n{what_en} at {time:%Y-%m-%d %H:%M} (UTC+8).\n\n"
    "If it was not you, set a new password at once, end other sessions, and tell the operator:\n\n{url}/reset\n")


def tell(session: Session, account: Account, change: Change) -> None:
    """Write the mail; it is sent with whatever made the change."""
    zh, en = _CHANGES[change]
    mail.letter(session, account.email, account.locale or settings().default_locale, zh=_ZH, en=_EN, name=account.display_name,
                time=utc_now().astimezone(CITY), what_zh=zh, what_en=en, url=settings().public_url)
