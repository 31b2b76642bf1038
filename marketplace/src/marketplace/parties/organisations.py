"""Use cases of organisations: registering them, and telling which is which."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, col, select

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import rules
from marketplace.parties.errors import TAKEN
from marketplace.parties.models import Organisation
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def register_organisation(session: Session, actor: Actor, *, kind: str, name_zh: str, name_en: str,
                          credit_code: str | None = None, organisation_id: str | None = None,
                          status: str = "active") -> Organisation:
    """Register one organisation; the operator, the authority or the system may. One that registers itself begins as ``pending``.

    Raises:
        ProblemError: ``not_allowed``, ``unknown_party``, ``bad_credit_code``, ``already_taken``.
    """
    if actor.party not in ("system", "operator", "data_authority") or actor.scopes is not None:
        raise ProblemError("not_allowed")
    rules.check_kind(kind)
    code = rules.check_credit_code(credit_code) if credit_code else None
    if code and session.exec(select(Organisation.id).where(Organisation.credit_code == code)).first():
        raise ProblemError(TAKEN, field="credit_code", value=code)
    row = Organisation(id=organisation_id or new_id("org"), kind=kind, name_zh=name_zh, name_en=name_en,
                       credit_code=code, status=status)
    insert(session, row, "organisation_id", row.id)
    trust.append(session, Tag.ORGANISATION_REGISTERED, actor, row.id, data={"kind": kind})
    return row


def get_organisation(session: Session, organisation_id: str) -> Organisation:
    """Raises ``not_found`` for an unknown organisation."""
    row = session.get(Organisation, organisation_id)
    if row is None:
        raise ProblemError("not_found", what="organisation")
    return row


def set_status(session: Session, organisation_id: str, status: str) -> Organisation:
    """Change an organisation's standing, its row locked; :mod:`marketplace.registration` has decided that it may be."""
    row = lock_organisation(session, organisation_id)
    row.status = status
    session.add(row)
    return row


def set_credit_code(session: Session, organisation_id: str, code: str | None) -> None:
    """Give an organisation its credit code, or free it for another. Raises ``already_taken``."""
    row = lock_organisation(session, organisation_id)
    if code and session.exec(select(Organisation.id).where(Organisation.credit_code == code, Organisation.id != row.id)).first():
        raise ProblemError(TAKEN, field="credit_code", value=code)
    row.credit_code = code
    insert(session, row, "credit_code", code or "")


def lock_organisation(session: Session, organisation_id: str) -> Organisation:
    """One organisation, its row locked. Raises ``not_found``."""
    row = session.exec(select(Organisation).where(Organisation.id == organisation_id).with_for_update()
                       .execution_options(populate_existing=True)).first()
    if row is None:
        raise ProblemError("not_found", what="organisation")
    return row


def of_kinds(session: Session, kinds: Iterable[str], *, lock: bool = False) -> list[Organisation]:
    """Every organisation of these kinds, by id; with ``lock`` their rows are locked."""
    query = select(Organisation).where(col(Organisation.kind).in_(list(kinds))).order_by(col(Organisation.id))
    return list(session.exec(query.with_for_update() if lock else query))


def organisations_by_id(session: Session, ids: Iterable[str]) -> dict[str, Organisation]:
    """The organisations with these ids; unknown ones are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(Organisation).where(col(Organisation.id).in_(wanted)))}


def organisations_of_kind(session: Session, kind: str) -> list[str]:
    """The ids of all active organisations of a kind."""
    return list(session.exec(select(Organisation.id).where(Organisation.kind == kind, Organisation.status == "active")
                             .order_by(col(Organisation.id))))


def list_organisations(session: Session, *, kind: str | None = None, after: str | None = None,
                       limit: int = 50) -> list[Organisation]:
    """Organisations by id, of one ``kind`` if given, after the id ``after``."""
    query = select(Organisation).order_by(col(Organisation.id)).limit(limit)
    if kind:
        query = query.where(Organisation.kind == kind)
    if after:
        query = query.where(col(Organisation.id) > after)
    return list(session.exec(query))


def insert(session: Session, row: SQLModel, field: str, value: str) -> None:
    """Add a row whose name must be new. Raises ``already_taken``; the rest of the transaction goes on."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise ProblemError(TAKEN, field=field, value=value) from None
