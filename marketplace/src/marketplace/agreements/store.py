"""Rows of agreements: finding and locking them, writing a version of terms, telling the sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.agreements import rules
from marketplace.agreements.models import Agreement, AgreementRenewal, AgreementSignature, AgreementVersion
from marketplace.attachments import service as attachments
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.rules import SECTORS
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from shuyan.problems import ProblemError


def locked(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """The agreement, locked for a change. Raises ``not_found`` for those who may not read it."""
    row = session.get(Agreement, agreement_id, with_for_update=True, populate_existing=True)
    if row is None or not rules.may_read(actor, row.grantor_id, row.grantee_id):
        raise ProblemError("not_found", what="agreement")
    return row


def check(row: Agreement, action: str, actor: Actor) -> str:
    """The state that ``action`` leads to. Raises ``not_allowed``, ``wrong_state``."""
    owner = rules.side(actor, row.grantor_id, row.grantee_id)
    return rules.LIVES[row.kind].check(action, row.status, actor, owner=owner).target


def move(session: Session, row: Agreement, status: str, **changes: Any) -> None:
    """Bring the row into a state, now."""
    for name, value in changes.items():
        setattr(row, name, value)
    row.status, row.changed_at = status, utc_now()
    session.add(row)


def version(session: Session, row: Agreement, number: int | None = None) -> AgreementVersion:
    """The terms with this number, the ones that count by default. Raises ``not_found``."""
    found = session.exec(select(AgreementVersion).where(AgreementVersion.agreement_id == row.id,
                                                        AgreementVersion.number == (number or row.version))).first()
    if found is None:
        raise ProblemError("not_found", what="version")
    return found


def versions(session: Session, agreement_id: str) -> list[AgreementVersion]:
    """All terms ever proposed, oldest first."""
    return list(session.exec(select(AgreementVersion).where(AgreementVersion.agreement_id == agreement_id)
                             .order_by(col(AgreementVersion.number))))


def signatures(session: Session, agreement_id: str, number: int | None = None) -> list[AgreementSignature]:
    """Signatures, oldest first; of one version's terms if ``number`` is given."""
    query = select(AgreementSignature).where(AgreementSignature.agreement_id == agreement_id).order_by(col(AgreementSignature.id))
    if number is not None:
        query = query.where(AgreementSignature.number == number)
    return list(session.exec(query))


def open_renewal(session: Session, agreement_id: str) -> AgreementRenewal | None:
    """The request for renewal that is being dealt with, locked, if there is one."""
    return session.exec(select(AgreementRenewal).where(
        AgreementRenewal.agreement_id == agreement_id, col(AgreementRenewal.status).in_(("asked", "signing"))).with_for_update()).first()


def terms_of(row: AgreementVersion) -> rules.Terms:
    """A version's terms."""
    return rules.Terms.model_validate(row.terms)


def compose(session: Session, actor: Actor, row: Agreement, proposal: rules.Proposal) -> dict[str, Any]:
    """The terms as they are kept: files attached and named by digest, sectors, resources and departments known.

    Raises:
        ProblemError: ``agreement_terms_invalid``, ``not_found`` (a file that is neither the agreement's nor an own upload).
    """
    from marketplace.agreements.errors import TERMS_INVALID

    known = catalogue.resources_by_id(session, proposal.resources)
    departments = parties.organisations_by_id(session, proposal.departments)
    for name, wrong in (("sectors", set(proposal.sectors) - set(SECTORS)), ("resources", set(proposal.resources) - set(known)),
                        ("departments", {one for one in proposal.departments
                                         if one not in departments or departments[one].kind != "source_department"})):
        if wrong:
            raise ProblemError(TERMS_INVALID, field=name, name=name)
    here = {item.id: item for item in attachments.of_subject(session, row.id)}
    wanted = [one for one in (proposal.plan, proposal.text) if one is not None]
    fresh = [one for one in wanted if one not in here]
    if fresh:
        here |= {item.id: item for item in attachments.attach(session, actor, fresh, row.id)}
    files = {name: None if value is None else rules.File(id=value, name=here[value].name, digest=here[value].digest)
             for name, value in (("plan", proposal.plan), ("text", proposal.text))}
    values = proposal.model_dump() | {name: None if file is None else file.model_dump() for name, file in files.items()}
    return rules.Terms.model_validate(values).model_dump(mode="json")


def add_version(session: Session, actor: Actor, row: Agreement, number: int, terms: Mapping[str, Any], *, proposed_by: str,
                note: str = "") -> AgreementVersion:
    """Write down terms under a number."""
    signed = rules.signed_digest(row.id, row.kind, row.grantor_id, row.grantee_id, number, terms, row.scenario_id, row.demand_id)
    made = AgreementVersion(id=new_id("terms"), agreement_id=row.id, number=number, terms=dict(terms), digest=signed,
                            proposed_by=proposed_by, author=actor.label, note=note)
    session.add(made)
    session.flush()
    return made


def last_number(session: Session, agreement_id: str) -> int:
    """The number of the newest terms."""
    return max((item.number for item in versions(session, agreement_id)), default=0)


def other_side(row: Agreement, organisation_id: str) -> str:
    return row.grantee_id if organisation_id == row.grantor_id else row.grantor_id


def tell(session: Session, row: Agreement, organisation_ids: str | tuple[str, ...], kind: str, *, role: str | None = None,
         **params: Any) -> None:
    """Tell one side or both; the sentence names the agreement in both languages' own title."""
    for organisation_id in (organisation_ids,) if isinstance(organisation_ids, str) else organisation_ids:
        notices.tell(session, organisation_id, kind, row.id, role=role, title_zh=row.title_zh,
                     title_en=row.title_en, **params)
