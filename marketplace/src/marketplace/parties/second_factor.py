"""Use cases of the second factor: adding a phone's codes to an account, recovery codes for when it is lost."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from sqlalchemy import delete, update
from sqlmodel import Session, col, func, select

from marketplace.actor import Actor
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.parties import alerts, rules, sealing, totp
from marketplace.parties.errors import FACTOR_REQUIRED, NO_ENROLMENT, WRONG_CODE
from marketplace.parties.memberships import memberships_of
from marketplace.parties.models import Account, RecoveryCode
from marketplace.parties.sessions import SignedIn, as_actor
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

RECOVERY_CODES: Final = 10


def begin(session: Session, account_id: str) -> str:
    """A new key in base 32, to be shown to its person; it counts once a code proves that a phone has it."""
    account = session.get_one(Account, account_id, with_for_update=True)
    key = sealing.unseal(account.totp_pending) if account.totp_pending else totp.new_key()
    account.totp_pending = sealing.seal(key)
    session.add(account)
    return key


def confirm(session: Session, who: SignedIn, code: str) -> list[str]:
    """Take the new key into use; returns the recovery codes, shown this once only.

    Raises:
        ProblemError: ``no_enrolment``, ``wrong_code``.
    """
    account = session.get_one(Account, who.account.id, with_for_update=True, populate_existing=True)
    if account.totp_pending is None:
        raise ProblemError(NO_ENROLMENT)
    step = totp.matching_step(sealing.unseal(account.totp_pending), tidy(code), utc_now())
    if step is None:
        raise ProblemError(WRONG_CODE, field="code")
    account.totp_sealed, account.totp_pending, account.totp_step = account.totp_pending, None, step
    session.add(account)
    trust.append(session, Tag.SECOND_FACTOR_ADDED, as_actor(session, who), account.id)
    return new_recovery_codes(session, account.id)


def required(session: Session, account_id: str) -> bool:
    """Whether the person must have a second factor: as the setting says, by the roles of their memberships."""
    wanted = settings().second_factor_for
    return wanted == "everybody" or (wanted == "admins" and any(
        "admin" in member.roles for member, _organisation in memberships_of(session, account_id)))


def remove(session: Session, who: SignedIn) -> None:
    """Sign in by password alone again. The use case that calls has asked for the password.

    Raises:
        ProblemError: ``second_factor_required``.
    """
    if required(session, who.account.id):
        raise ProblemError(FACTOR_REQUIRED)
    drop(session, as_actor(session, who), who.account.id)


def drop(session: Session, actor: Actor, account_id: str) -> None:
    """Take the second factor off an account, for one who may: see :func:`remove`, :mod:`.resets`, :mod:`.operating`."""
    account = session.get_one(Account, account_id, with_for_update=True, populate_existing=True)
    if account.totp_sealed is None:
        return
    account.totp_sealed, account.totp_pending = None, None
    session.add(account)
    session.execute(delete(RecoveryCode).where(col(RecoveryCode.account_id) == account.id))
    trust.append(session, Tag.SECOND_FACTOR_REMOVED, actor, account.id)
    alerts.tell(session, account, "second_factor")


def new_recovery_codes(session: Session, account_id: str) -> list[str]:
    """Ten codes of 80 random bits, each good once in place of the phone; earlier ones are void."""
    session.execute(delete(RecoveryCode).where(col(RecoveryCode.account_id) == account_id))
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(code_hash=_recovery_hash(account_id, code), account_id=account_id) for code in codes)
    return ["-".join(code[at:at + 4] for at in range(0, 16, 4)) for code in codes]


def recovery_codes_left(session: Session, account_id: str) -> int:
    """How many recovery codes are unused."""
    return session.exec(select(func.count()).select_from(RecoveryCode).where(
        RecoveryCode.account_id == account_id, col(RecoveryCode.used_at).is_(None))).one()


def accept(session: Session, account_id: str, given: str) -> bool:
    """Whether ``given`` is the phone's code or a recovery code; either is then used up, also among several at once."""
    account = session.get_one(Account, account_id)
    given = tidy(given)
    if account.totp_sealed and len(given) == totp.DIGITS and given.isascii() and given.isdigit():
        step = totp.matching_step(sealing.unseal(account.totp_sealed), given, utc_now(), account.totp_step)
        return step is not None and session.execute(
            update(Account).where(col(Account.id) == account_id, col(Account.totp_step) < step)
            .values(totp_step=step).returning(col(Account.id))).first() is not None
    return session.execute(
        update(RecoveryCode).where(col(RecoveryCode.code_hash) == _recovery_hash(account_id, given),
                                   col(RecoveryCode.used_at).is_(None))
        .values(used_at=utc_now()).returning(col(RecoveryCode.code_hash))).first() is not None


def tidy(code: str) -> str:
    """A code without what people type between its parts."""
    return "".join(code.split()).replace("-", "").lower()


def _recovery_hash(account_id: str, code: str) -> str:
    return rules.hash_secret(f"{account_id}\n{code}")
