"""Which agreement covers what, now: asked before demands are taken, grants signed, jobs run and products sold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.agreements import errors, rules
from marketplace.agreements.models import Agreement, AgreementVersion
from marketplace.catalogue import service as catalogue
from shuyan.problems import ProblemError


def mode_of(agreement: Agreement) -> rules.Mode:
    """``overall``, ``field`` or ``scenario``: who reviews a demand (Guizhou measures, part 2, section 4)."""
    mode: rules.Mode = agreement.mode  # type: ignore[assignment]
    return mode


def holds(agreement: Agreement, at: dt.datetime) -> bool:
    """Whether an agreement is in force at ``at`` (aware). The clock decides, not whether its deadline has fired yet."""
    return (agreement.status == "effective" and agreement.effective_at is not None and agreement.ends_at is not None
            and agreement.effective_at <= at < agreement.ends_at)


def resource_facts(session: Session, ids: Iterable[str]) -> list[dict[str, str]]:
    """``{id, sector, organisation_id, title}`` of data resources. Raises ``not_found``."""
    wanted = list(dict.fromkeys(ids))
    found = catalogue.resources_by_id(session, wanted)
    if len(found) < len(wanted):
        raise ProblemError("not_found", what="resource")
    return [{"id": row.id, "sector": row.sector, "organisation_id": row.organisation_id, "title": row.title}
            for row in (found[one] for one in wanted)]


def operation_for(session: Session, *, operator_id: str | None = None, resources: Iterable[Mapping[str, Any]],
                  at: dt.datetime) -> Agreement:
    """The operation agreement in force at ``at`` that covers every one of ``resources``.

    Args:
        operator_id: of this operator only.
        resources: ``{id, sector, organisation_id}`` each, and ``title`` to name it by; none asks for any agreement in force.

    Raises:
        ProblemError: ``agreement_missing``, or ``agreement_expired`` where one did cover it once; both name the resource.
    """
    wanted = list(resources)
    query = select(Agreement, AgreementVersion).join(
        AgreementVersion, (col(AgreementVersion.agreement_id) == col(Agreement.id))
        & (col(AgreementVersion.number) == col(Agreement.version))).where(
        Agreement.kind == "operation", col(Agreement.status).in_(("effective", "suspended", "lapsed", "terminated"))
    ).order_by(col(Agreement.effective_at).desc(), col(Agreement.id))
    if operator_id is not None:
        query = query.where(Agreement.grantee_id == operator_id)
    found = [(row, rules.Terms.model_validate(version.terms)) for row, version in session.exec(query)]
    standing = [(row, terms) for row, terms in found if holds(row, at)]
    for row, terms in standing:
        if all(_covered(terms, item) for item in wanted):
            return row
    for item in wanted or [{}]:
        if not any(_covered(terms, item) for _, terms in standing):
            code = errors.EXPIRED if any(_covered(terms, item) for _, terms in found) else errors.MISSING
            raise ProblemError(code, resource=_name(item))
    raise ProblemError(errors.MISSING, resource=_name(wanted[-1]))  # each is covered, but by no single agreement


def _covered(terms: rules.Terms, item: Mapping[str, Any]) -> bool:
    if not item:
        return True
    return rules.covers(terms, resource_id=item["id"], sector=item["sector"], organisation_id=item["organisation_id"])


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("title") or item.get("id") or "–")


def require_in_force(session: Session, agreement_id: str, at: dt.datetime, *, lock: bool = True) -> Agreement:
    """The agreement, which is in force together with the one it rests on.

    Locked, both cannot end until this transaction is over: a lapse, a termination and whatever asks here exclude each other,
    one of them is first and the other sees it. Whoever also locks a product or a grant does so after this.

    Args:
        lock: ``False`` in a transaction that only reads.

    Raises:
        ProblemError: ``not_found``, ``agreement_not_in_force``.
    """
    how: Any = {"read": True} if lock else None
    seen = session.get(Agreement, agreement_id)
    if seen is None:
        raise ProblemError("not_found", what="agreement")
    # the agreement it rests on first, as its end does
    ids = [one for one in (seen.operation_id, agreement_id) if one is not None]
    chain = [session.get_one(Agreement, one, with_for_update=how, populate_existing=lock) for one in ids]
    if not all(holds(one, at) for one in chain):
        raise ProblemError(errors.NOT_IN_FORCE)
    return chain[-1]


def require_for_demand(session: Session, demand_id: str, at: dt.datetime, *, lock: bool = True) -> Agreement | None:
    """As :func:`require_in_force` for the development agreement about a demand; ``None`` if there never was one.

    Raises:
        ProblemError: ``agreement_not_in_force``, also while it is not signed by both.
    """
    row = session.exec(select(Agreement).where(Agreement.demand_id == demand_id).order_by(
        (col(Agreement.status) == "effective").desc(), col(Agreement.id).desc())).first()
    return None if row is None else require_in_force(session, row.id, at, lock=lock)


def operator_stands(session: Session, operator_id: str, other_than: str) -> bool:
    """Whether an operator has another operation agreement in force."""
    return session.exec(select(Agreement.id).where(
        Agreement.kind == "operation", Agreement.grantee_id == operator_id, Agreement.status == "effective",
        Agreement.id != other_than)).first() is not None


def require_for_operator(session: Session, operator_id: str, at: dt.datetime, *, lock: bool = True) -> Agreement | None:
    """As :func:`require_in_force` for an operator's newest operation agreement; ``None`` if it never had one in force.

    Raises:
        ProblemError: ``agreement_not_in_force``.
    """
    row = session.exec(select(Agreement).where(
        Agreement.kind == "operation", Agreement.grantee_id == operator_id, col(Agreement.effective_at).is_not(None)).order_by(
        (col(Agreement.status) == "effective").desc(), col(Agreement.ends_at).desc(), col(Agreement.id).desc())).first()
    return None if row is None else require_in_force(session, row.id, at, lock=lock)
