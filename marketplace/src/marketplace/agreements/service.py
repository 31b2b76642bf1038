"""Use cases of agreements: authority with operator, operator with developer. Each part of their life has a module of its own.

draft → negotiating (numbered versions) → terms_agreed → noticed → signing → effective ⇄ suspended → lapsed | terminated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, or_, select

from marketplace import work
from marketplace.actor import Actor
from marketplace.agreements import renewal, rules, store
from marketplace.agreements.ending import resume, suspend, terminate
from marketplace.agreements.hooks import (
    when_broken_off,
    when_effective,
    when_ended,
    when_resumed,
    when_suspended,
)
from marketplace.agreements.models import Agreement, AgreementRenewal, AgreementSignature, AgreementVersion
from marketplace.agreements.negotiation import (
    accept,
    approve,
    cancel_development,
    counter,
    draft,
    edit,
    of_demand,
    open_development,
    propose,
    refuse,
    return_,
    withdraw,
)
from marketplace.agreements.rules import end_of_day, last_day, renewal_window
from marketplace.agreements.scope import (
    holds,
    mode_of,
    operation_for,
    operator_stands,
    require_for_demand,
    require_for_operator,
    require_in_force,
    resource_facts,
)
from marketplace.agreements.signing import sign
from marketplace.attachments import service as attachments
from marketplace.attachments.models import Attachment
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.notices import service as notices
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.trust import records
from marketplace.work import WorkItem
from shuyan.problems import ProblemError

__all__ = [
    "accept",
    "altered_records",
    "approve",
    "by_id",
    "cancel_development",
    "counter",
    "draft",
    "edit",
    "end_of_day",
    "file",
    "get_agreement",
    "holds",
    "last_day",
    "list_agreements",
    "may_draft",
    "mode_of",
    "of_demand",
    "open_development",
    "operation_for",
    "operator_stands",
    "page",
    "propose",
    "refuse",
    "renewal",
    "renewal_window",
    "require_for_demand",
    "require_for_operator",
    "require_in_force",
    "resource_facts",
    "resume",
    "return_",
    "sign",
    "suspend",
    "terminate",
    "terms_in_force",
    "when_broken_off",
    "when_effective",
    "when_ended",
    "when_resumed",
    "when_suspended",
    "withdraw",
]


@dataclass(frozen=True)
class Proposed:
    """A version of terms, and what it changes against the one before it: ``(term, before, after)``."""

    version: AgreementVersion
    changes: list[tuple[str, Any, Any]]


@dataclass(frozen=True)
class AgreementPage:
    """Everything that an agreement's page shows.

    Attributes:
        full: whether this reader may see more than what is public.
        terms: those that count.
        waiting: the terms that wait for signatures, if any do; of a renewal, newer than ``terms``.
        to_sign: digest that this reader's side has still to sign, "" for none.
        actions: what this reader may do now.
    """

    agreement: Agreement
    full: bool
    terms: rules.Terms
    versions: list[Proposed]
    signatures: list[AgreementSignature]
    renewals: list[AgreementRenewal]
    files: list[Attachment]
    waiting: AgreementVersion | None
    to_sign: str
    actions: list[str]


def get_agreement(session: Session, actor: Actor, agreement_id: str) -> Agreement:
    """One agreement that the actor may see at least the public part of. Raises ``not_found``."""
    row = session.get(Agreement, agreement_id)
    if row is None or not (rules.may_read(actor, row.grantor_id, row.grantee_id) or rules.is_public(row.kind, row.status)):
        raise ProblemError("not_found", what="agreement")
    return row


def list_agreements(session: Session, actor: Actor, *, kind: str | None = None, status: str | None = None, cursor: str | None = None,
                    limit: int = 20) -> Page[Agreement]:
    """Agreements that the actor may see, newest first: one's own; all for overseers; those publicly noticed for everybody."""
    query = select(Agreement).order_by(col(Agreement.id).desc()).limit(clamp(limit) + 1)
    if actor.party not in rules.OVERSEERS:
        public = (col(Agreement.kind) == "operation") & col(Agreement.status).in_(sorted(rules.PUBLIC_STATES))
        own = [] if actor.organisation_id is None else [
            col(Agreement.grantor_id) == actor.organisation_id, col(Agreement.grantee_id) == actor.organisation_id]
        query = query.where(or_(public, *own))
    for column, value in ((Agreement.kind, kind), (Agreement.status, status)):
        if value:
            query = query.where(col(column) == value)
    if cursor:
        query = query.where(col(Agreement.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))


def page(session: Session, actor: Actor, agreement_id: str) -> AgreementPage:
    """One agreement with its terms, their history, signatures and renewals, as far as this actor may see. Raises ``not_found``."""
    row = get_agreement(session, actor, agreement_id)
    full = rules.may_read(actor, row.grantor_id, row.grantee_id)
    found = store.versions(session, row.id)
    proposed = [Proposed(item, rules.differences(found[place - 1].terms, item.terms) if place else [])
                for place, item in enumerate(found)]
    renewals = renewal.of_agreement(session, row.id) if full else []
    signatures = store.signatures(session, row.id)
    waiting = _waiting(row, found, renewals)
    here = rules.side(actor, row.grantor_id, row.grantee_id)
    actions = _actions(row, actor, renewals, found) if full else []
    signed = waiting is not None and any(item.number == waiting.number and item.organisation_id == here for item in signatures)
    to_sign = waiting.digest if waiting is not None and "sign" in actions and not signed else ""
    if not to_sign and "sign" in actions:
        actions.remove("sign")
    files = [item for subject in (row.id, *(one.id for one in renewals)) for item in attachments.of_subject(session, subject)] if full else []
    return AgreementPage(row, full, store.terms_of(found[row.version - 1]), proposed if full else [], signatures, renewals, files,
                         waiting if full else None, to_sign, actions)


def _waiting(row: Agreement, found: list[AgreementVersion], renewals: list[AgreementRenewal]) -> AgreementVersion | None:
    if row.status == "signing":
        return found[row.version - 1]
    offered = next((one.version for one in renewals if one.status == "signing" and one.version is not None), None)
    return found[offered - 1] if offered is not None and row.status == "effective" else None


def _actions(row: Agreement, actor: Actor, renewals: list[AgreementRenewal], found: list[AgreementVersion]) -> list[str]:
    owner = rules.side(actor, row.grantor_id, row.grantee_id)
    out = list(dict.fromkeys(rules.LIVES[row.kind].possible(row.status, actor, owner=owner)))
    if "accept_terms" in out and found[row.version - 1].proposed_by == owner:
        out.remove("accept_terms")
    open_ = next((one for one in renewals if one.status in ("asked", "signing")), None)
    if open_ is not None:
        steps = rules.RENEWAL.possible(open_.status, actor, owner=owner)
        out += ["sign" if step == "sign" else f"{step}_renewal" for step in steps]
    elif row.kind == "operation" and row.status == "effective" and row.ends_at is not None and rules.ASK.held(actor, owner=row.grantee_id):
        try:
            rules.check_renewal_time(utc_now(), row.ends_at)
        except ProblemError:
            return out
        out.append("ask_renewal")
    return out


def file(session: Session, actor: Actor, agreement_id: str, file_id: str) -> Attachment:
    """A file of an agreement or of one of its renewals, with its bytes, for those who read everything of it. Raises ``not_found``."""
    row = get_agreement(session, actor, agreement_id)
    found = attachments.read(session, file_id)
    subjects = {row.id, *(one.id for one in renewal.of_agreement(session, row.id))}
    if found.subject not in subjects or not rules.may_read(actor, row.grantor_id, row.grantee_id):
        raise ProblemError("not_found", what="file")
    return found


def terms_in_force(session: Session, agreement: Agreement) -> rules.Terms:
    """The terms of an agreement that count."""
    return store.terms_of(store.version(session, agreement))


def by_id(session: Session, ids: Iterable[str]) -> dict[str, Agreement]:
    """The agreements with these ids; unknown ones are left out."""
    wanted = set(ids)
    return {row.id: row for row in session.exec(select(Agreement).where(col(Agreement.id).in_(wanted)))} if wanted else {}


def may_draft(actor: Actor) -> bool:
    """Whether this actor may draft an operation agreement."""
    return rules.DRAFT.held(actor)


def altered_records(session: Session) -> list[str]:
    """Agreements whose terms or signatures are not what both sides signed according to the audit log; sorted."""
    rows = {row.id: row for row in session.exec(select(Agreement))}
    terms: dict[tuple[str, int], str] = {}
    wrong: set[str] = set()
    for item in session.exec(select(AgreementVersion)):
        row = rows[item.agreement_id]
        terms[row.id, item.number] = item.digest
        if item.digest != rules.signed_digest(row.id, row.kind, row.grantor_id, row.grantee_id, item.number, item.terms,
                                              row.scenario_id, row.demand_id):
            wrong.add(row.id)
    signed = {(one.agreement_id, one.number, one.organisation_id): one.digest for one in session.exec(select(AgreementSignature))}
    logged = {(subject, data["number"], data["side"]): data["terms"] for subject, data in records.told(session, Tag.AGREEMENT_SIGNED)}
    wrong |= {key[0] for key in signed.keys() | logged.keys()
              if signed.get(key) != logged.get(key) or terms.get(key[:2]) != logged.get(key)}
    return sorted(wrong)


@work.source
def waiting(session: Session, actor: Actor) -> list[WorkItem]:
    """Drafts to hand over, terms to answer, to approve and to sign, renewals to decide: what this actor could do now."""
    if actor.organisation_id is None:
        return []
    query = select(Agreement).where(
        or_(col(Agreement.grantor_id) == actor.organisation_id, col(Agreement.grantee_id) == actor.organisation_id),
        or_(col(Agreement.status).in_(("draft", "negotiating", "terms_agreed", "signing")),
            (col(Agreement.status) == "effective") & (col(Agreement.kind) == "operation"))).order_by(col(Agreement.id)).limit(200)
    out = []
    for row in session.exec(query).all():
        item = _waits(session, actor, row)
        if item is not None:
            kind, since = item
            out.append(WorkItem(kind, row.id, row.title_zh, "agreement:agreement_id", row.grantee_id, since,
                                row.ends_at if kind.startswith("agreement.renewal") else notices.open_until(session, row.id),
                                row.title_en))
    return out


def _waits(session: Session, actor: Actor, row: Agreement) -> tuple[str, Any] | None:
    shown = page(session, actor, row.id)
    if shown.to_sign:
        since = row.changed_at if row.status == "signing" else shown.renewals[0].changed_at
        return "agreement.sign", since
    if "offer_renewal" in shown.actions:
        return "agreement.renewal", shown.renewals[0].created_at
    for action, kind in (("propose", "agreement.propose"), ("accept_terms", "agreement.answer"), ("approve", "agreement.approve")):
        if action in shown.actions:
            return kind, row.changed_at
    return None
