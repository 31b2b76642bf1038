"""Use cases of signing in. Each step counts the attempt first, in a transaction of its own (:mod:`.guessing`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from sqlmodel import Session

from marketplace import db
from marketplace.parties import accounts, guessing, rules, second_factor, sessions
from marketplace.parties.errors import SIGN_IN_EXPIRED, WRONG_CODE, WRONG_CREDENTIALS
from marketplace.parties.guessing import Key
from marketplace.parties.models import Account
from marketplace.parties.sessions import SignedIn
from marketplace.settings import settings
from shuyan.problems import ProblemError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where somebody signs in from: network address, User-Agent, and the mark of a browser known to the account."""

    address: str
    device: str = ""
    known: str | None = None


Stage = Literal["full", "second_factor", "enrol"]


@dataclass(frozen=True)
class Step:
    """How far signing in has come: the account, and the browser's token for what comes next.

    ``stage`` is ``full``, ``second_factor`` (a code is owed) or ``enrol`` (a second factor must be set up first).
    """

    account: Account
    token: str
    stage: Stage


def _keys(email: str, place: Place) -> list[Key]:
    target = ("known", place.known) if place.known else ("account", rules.normal_email(email))
    return [target, ("address", place.address)]


def with_password(email: str, password: str, place: Place) -> Step:
    """The first step: a session, half-way if the account has a second factor or must have one.

    Unknown addresses, wrong passwords and accounts without one cost the same work and are told alike.

    Raises:
        ProblemError: ``wrong_credentials``, ``too_many_attempts``.
    """
    keys = _keys(email, place)
    guessing.reserve(keys)
    with db.reading() as session:
        account = accounts.account_by_email(session, email)
    if not accounts.verify(account, password) or account is None:
        raise ProblemError(WRONG_CREDENTIALS)
    with db.transaction() as session:
        guessing.forgive(session, keys)
        accounts.refresh_hash(session, account.id, password)
    return _begin(account, place)


def _begin(account: Account, place: Place, *, asked: bool = False) -> Step:
    with db.transaction() as session:
        stage: Stage = "full"
        if not asked and account.totp_sealed:
            stage = "second_factor"
        elif not asked and second_factor.required(session, account.id):
            stage = "enrol"
        _row, token = sessions.begin(session, account.id, address=place.address, device=place.device, stage=stage)
    return Step(account, token, stage)


def with_code(token: str, code: str, place: Place) -> Step:
    """The second step: a session with a new token in place of the one that was half-way.

    Raises:
        ProblemError: ``sign_in_expired``, ``wrong_code``, ``too_many_attempts``.
    """
    return _second_step(token, "second_factor", place, lambda session, found: _accept(session, found.account, code))[0]


def _accept(session: Session, account: Account, code: str) -> None:
    if not second_factor.accept(session, account.id, code):
        raise ProblemError(WRONG_CODE, field="code")


def with_new_factor(token: str, code: str, place: Place) -> tuple[Step, list[str]]:
    """The second step for whom has to set a second factor up: a session, and the recovery codes, shown this once only.

    Raises:
        ProblemError: ``sign_in_expired``, ``no_enrolment``, ``wrong_code``, ``too_many_attempts``.
    """
    return _second_step(token, "enrol", place, lambda session, found: second_factor.confirm(session, found, code))


def _second_step(token: str, stage: Stage, place: Place, prove: Callable[[Session, SignedIn], T]) -> tuple[Step, T]:
    """A full session in place of one at ``stage``, once ``prove`` has raised nothing, and what it returned."""
    with db.reading() as session:
        found = sessions.find(session, token)
    if found is None or found.stage != stage:
        raise ProblemError(SIGN_IN_EXPIRED)
    keys = [("code", found.account.id)]
    guessing.reserve(keys)
    with db.transaction() as session:
        proved = prove(session, found)
        sessions.end(session, found.account.id, found.session_id)
        guessing.forgive(session, keys)
        _row, fresh = sessions.begin(session, found.account.id, address=place.address, device=place.device)
    return Step(found.account, fresh, "full"), proved


def for_new(account: Account, place: Place) -> Step:
    """A session for a person who has just opened this account."""
    return _begin(account, place)


def for_external(account: Account, place: Place) -> Step:
    """A session for a person whom the external provider vouches for, which may be trusted to ask for a second factor."""
    return _begin(account, place, asked=settings().oidc_trusts_second_factor)


def confirm_password(account: Account, password: str, place: Place) -> None:
    """Ask a signed-in person for the password once more before something that matters, if they have one.

    Raises:
        ProblemError: ``wrong_password``, ``too_many_attempts``.
    """
    if account.password_hash is None:
        return
    keys = _keys(account.email, replace(place, known=f"signed in {account.id}"))
    guessing.reserve(keys)
    if not accounts.verify(account, password):
        raise ProblemError("wrong_password", field="current")
    with db.transaction() as session:
        guessing.forgive(session, keys)


def confirm_code(account: Account, code: str) -> None:
    """Ask a signed-in person for a code of the second factor, or a recovery code, besides, if they have one.

    Raises:
        ProblemError: ``wrong_code``, ``too_many_attempts``.
    """
    if not account.totp_sealed:
        return
    keys = [("code", account.id)]
    guessing.reserve(keys)
    with db.transaction() as session:
        _accept(session, account, code)
        guessing.forgive(session, keys)
