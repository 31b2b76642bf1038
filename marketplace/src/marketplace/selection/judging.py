"""The panel: experts without a stake score every application alone; once all have, there is a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from marketplace.actor import SYSTEM, Actor
from marketplace.agreements.rules import check_note
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.selection import errors, rules, store, texts
from marketplace.selection.models import Selection, SelectionApplication, SelectionExpert, SelectionScore
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


def name_expert(session: Session, actor: Actor, selection_id: str, member_id: str) -> SelectionExpert:
    """Put a member of any organisation on the panel.

    Raises:
        ProblemError: ``not_found``, ``not_allowed``, ``wrong_state``, ``expert_unknown``, ``expert_conflict`` (their organisation
            has applied, or they drafted the notice), ``expert_named``.
    """
    row = store.find(session, actor, selection_id, lock=True)
    store.check(row, "name_expert", actor)
    member = parties.get_member(session, member_id)
    if member is None:
        raise ProblemError(errors.NOT_EXPERT, field="member_id")
    applicants = {one.organisation_id for one in store.applications(session, row.id, "submitted")}
    own = {found.organisation_id for found, _ in parties.memberships_of(session, member.account_id)} | {member.organisation_id}
    if own & applicants or parties.same_person(session, member_id, row.drafted_by):
        raise ProblemError(errors.CONFLICT, field="member_id")
    made = SelectionExpert(id=new_id("expert"), selection_id=row.id, member_id=member_id, organisation_id=member.organisation_id)
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        raise ProblemError(errors.NAMED, field="member_id") from None
    store.tell(session, row, member.organisation_id, texts.NAMED)
    trust.append(session, Tag.EXPERT_NAMED, actor, made.id, related=[row.id])
    return made


def dismiss_expert(session: Session, actor: Actor, selection_id: str, expert_id: str) -> None:
    """Take an expert off the panel who has scored nothing. Raises ``not_found``, ``not_allowed``, ``wrong_state``, ``expert_scored``."""
    row = store.find(session, actor, selection_id, lock=True)
    store.check(row, "dismiss_expert", actor)
    expert = session.get(SelectionExpert, expert_id)
    if expert is None or expert.selection_id != row.id:
        raise ProblemError("not_found", what="expert")
    if any(one.expert_id == expert_id for one in store.scores(session, row.id)):
        raise ProblemError(errors.SCORED)
    session.delete(expert)
    trust.append(session, Tag.EXPERT_DISMISSED, actor, expert.id, related=[row.id])
    rank_if_complete(session, row)


def own_seat(session: Session, actor: Actor, selection_id: str) -> SelectionExpert | None:
    """The actor's place on the panel, if they have one."""
    if actor.member_id is None:
        return None
    return session.exec(select(SelectionExpert).where(SelectionExpert.selection_id == selection_id,
                                                      SelectionExpert.member_id == actor.member_id)).first()


def score(session: Session, actor: Actor, application_id: str, points: Mapping[str, Any], comment: str = "") -> SelectionScore:
    """Score one application against every published criterion; until the ranking an expert may change their own score.

    The last score that was missing makes the ranking.

    Raises:
        ProblemError: ``not_found`` (also for whoever is not on the panel), ``not_allowed``, ``wrong_state``, ``expert_conflict``,
            ``score_invalid``, ``agreement_note_invalid``.
    """
    rules.SCORE.require(actor)
    application = session.get(SelectionApplication, application_id)
    if application is None or own_seat(session, actor, application.selection_id) is None:
        raise ProblemError("not_found", what="application")
    row = session.get_one(Selection, application.selection_id, with_for_update=True, populate_existing=True)
    seat = own_seat(session, actor, row.id)
    session.refresh(application)
    if seat is None:
        raise ProblemError("not_found", what="application")
    if row.status != "scoring" or application.status != "submitted":
        raise ProblemError("wrong_state", state=row.status if application.status == "submitted" else application.status, action="score")
    if application.organisation_id == actor.organisation_id:
        raise ProblemError(errors.CONFLICT)
    given, comment = rules.check_points(points, row.criteria), check_note(comment, "comment")
    made = session.exec(select(SelectionScore).where(SelectionScore.application_id == application_id,
                                                     SelectionScore.expert_id == seat.id)).first()
    if made is None:
        made = SelectionScore(id=new_id("score"), selection_id=row.id, application_id=application_id, expert_id=seat.id, points=given)
    made.points, made.comment, made.scored_at = given, comment, utc_now()
    session.add(made)
    trust.append(session, Tag.SCORE_GIVEN, actor, made.id, related=[row.id, application_id])
    rank_if_complete(session, row)
    return made


def rank_if_complete(session: Session, row: Selection) -> None:
    """Make the ranking once a panel that is large enough has scored everything. The selection is locked."""
    if row.status != "scoring":
        return
    session.flush()
    applied = store.applications(session, row.id, "submitted")
    panel = {one.id for one in store.experts(session, row.id)}
    given: dict[str, dict[str, dict[str, int]]] = {one.id: {} for one in applied}
    for one in store.scores(session, row.id):
        if one.application_id in given and one.expert_id in panel:
            given[one.application_id][one.expert_id] = one.points
    if len(panel) < rules.MINIMUM_EXPERTS or any(set(found) != panel for found in given.values()):
        return
    places = rules.rank([rules.Rated(one.id, one.submitted_at, tuple(given[one.id].values())) for one in applied], row.criteria)
    who = {one.id: one.organisation_id for one in applied}
    ranking: list[dict[str, Any]] = [
        {"application_id": place.application_id, "organisation_id": who[place.application_id], "total": rules.shown(place.total),
         "parts": [rules.shown(part) for part in place.parts]} for place in places]
    store.move(session, row, rules.SELECTION.check("rank", row.status, SYSTEM).target, ranking=ranking)
    for organisation_id in sorted({row.organisation_id, *who.values()}):
        store.tell(session, row, organisation_id, texts.RANKED)
    trust.append(session, Tag.SELECTION_RANKED, SYSTEM, row.id, related=[one["application_id"] for one in ranking],
                 data={"ranking": [one["application_id"] for one in ranking]})


def member_by_email(session: Session, email: str) -> str:
    """The membership of the person with this address: the only one, or the first. Raises ``expert_unknown``."""
    account = parties.account_by_email(session, email)
    found = parties.memberships_of(session, account.id) if account is not None else []
    if not found:
        raise ProblemError(errors.NOT_EXPERT, field="email")
    return found[0][0].id


def names(session: Session, member_ids: Iterable[str]) -> dict[str, str]:
    """Display names of members, for those who may see the panel."""
    found = {one: parties.get_member(session, one) for one in set(member_ids)}
    return {one: parties.get_account(session, member.account_id).display_name for one, member in found.items() if member is not None}
