"""Use cases of accounts: a person's address, name, password and preferences, whichever organisations they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlmodel import Session, select

from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.parties import passwords, rules
from marketplace.parties.errors import BAD_TIME_ZONE, WRONG_CREDENTIALS
from marketplace.parties.models import Account
from marketplace.parties.organisations import insert
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from marketplace.parties.sessions import SignedIn

# OWASP's argon2id setting for servers with little memory: 19 MiB, two passes
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_nobody_hash = _hasher.hash(rules.new_secret())


def open_account(session: Session, *, email: str, display_name: str, password: str | None,
                 locale: str | None = None, verified: bool = False) -> Account:
    """A new account; ``verified`` says that the use case that calls has seen that the address is the person's own.

    Raises:
        ProblemError: ``invalid_email``, ``invalid_name``, ``weak_password``, ``common_password``, ``already_taken``.
    """
    email = rules.check_email(email)
    hashed = _hasher.hash(passwords.check(password, email)) if password is not None else None
    row = Account(id=new_id("acct"), email=email, display_name=rules.check_name(display_name), password_hash=hashed, locale=locale,
                  email_verified_at=utc_now() if verified else None)
    insert(session, row, "email", row.email)
    return row


def account_by_email(session: Session, email: str) -> Account | None:
    """The account with this address, or ``None``."""
    return session.exec(select(Account).where(Account.email == rules.normal_email(email))).first()


def get_account(session: Session, account_id: str) -> Account:
    """Raises ``not_found``."""
    row = session.get(Account, account_id)
    if row is None:
        raise ProblemError("not_found", what="account")
    return row


def verify(account: Account | None, password: str) -> bool:
    """Whether ``password`` is the account's. An unknown account, or one without a password, costs the same work."""
    known = account is not None and account.password_hash is not None
    try:
        _hasher.verify(account.password_hash if account and account.password_hash else _nobody_hash, passwords.normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return known


def authenticate(session: Session, email: str, password: str) -> Account:
    """The account with this address and password. No guessing is counted here: see :mod:`.sign_in`.

    Raises:
        ProblemError: ``wrong_credentials``, whichever of the two was wrong.
    """
    account = account_by_email(session, email)
    if not verify(account, password) or account is None:
        raise ProblemError(WRONG_CREDENTIALS)
    return account


def refresh_hash(session: Session, account_id: str, password: str) -> None:
    """Hash a password anew that was just verified, if it was hashed with older parameters."""
    account = session.get(Account, account_id, with_for_update=True)
    if account and account.password_hash and _hasher.check_needs_rehash(account.password_hash) and verify(account, password):
        account.password_hash = _hasher.hash(passwords.normal(password))
        session.add(account)


def store_password(session: Session, account: Account, password: str) -> None:
    """Give an account a new password. Raises ``weak_password``, ``common_password``."""
    account.password_hash = _hasher.hash(passwords.check(password, account.email))
    session.add(account)


def change_profile(session: Session, who: SignedIn, *, display_name: str, locale: str, time_zone: str) -> Account:
    """The person's own name, language (``zh`` or ``en``) and time zone (IANA name; "" is the browser's).

    Raises:
        ProblemError: ``invalid_name``, ``invalid_time_zone``.
    """
    account = session.get_one(Account, who.account.id, with_for_update=True, populate_existing=True)
    if time_zone and time_zone not in available_timezones():
        raise ProblemError(BAD_TIME_ZONE, field="time_zone", value=time_zone[:40])
    account.display_name = rules.check_name(display_name)
    account.locale = locale if locale in ("zh", "en") else None
    account.time_zone = time_zone or None
    session.add(account)
    return account
