"""Use cases of operator selection: call (:mod:`.calling`), panel (:mod:`.judging`), decision (:mod:`.deciding`), and looking.

draft → applying → scoring → ranked → negotiating → concluded → noticed → selected, with an operation agreement drafted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from marketplace import work
from marketplace.actor import Actor
from marketplace.attachments import service as attachments
from marketplace.attachments.models import Attachment
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.selection import rules, store
from marketplace.selection.calling import apply, cancel, draft, edit, publish, set_aside, withdraw
from marketplace.selection.deciding import approve, conclude, negotiate, next_candidate, return_
from marketplace.selection.judging import dismiss_expert, member_by_email, name_expert, names, own_seat, score
from marketplace.selection.models import Selection, SelectionApplication, SelectionExpert, SelectionScore
from marketplace.work import WorkItem
from shuyan.problems import ProblemError

__all__ = [
    "apply", "approve", "cancel", "conclude", "dismiss_expert", "draft", "edit", "file", "get_selection", "list_selections", "may_draft",
    "member_by_email", "name_expert", "names", "negotiate", "next_candidate", "page", "publish", "return_", "score", "set_aside", "withdraw",
]


@dataclass(frozen=True)
class Shown:
    """An application as this reader may see it. ``scores`` are all of them once the ranking stands, one's own before that."""

    application: SelectionApplication
    files: list[Attachment]
    scores: list[SelectionScore]
    own: bool
    actions: list[str]


@dataclass(frozen=True)
class SelectionPage:
    """Everything that a selection's page shows this reader.

    Attributes:
        applied: how many applications came in and stand.
        scored: experts who have scored everything.
        seat: the reader's own place on the panel.
        ranking: empty until it stands.
    """

    selection: Selection
    applications: list[Shown]
    experts: list[SelectionExpert]
    applied: int
    scored: int
    seat: SelectionExpert | None
    ranking: list[dict[str, Any]]
    actions: list[str]


def may_draft(actor: Actor) -> bool:
    """Whether this actor may draft a notice."""
    return rules.DRAFT.held(actor)


def get_selection(session: Session, actor: Actor, selection_id: str) -> Selection:
    """One selection; published ones are public. Raises ``not_found``."""
    return store.find(session, actor, selection_id)


def list_selections(session: Session, actor: Actor, *, status: str | None = None, cursor: str | None = None, limit: int = 20
                    ) -> Page[Selection]:
    """Selections, newest first; drafts for those who oversee."""
    query = select(Selection).order_by(col(Selection.id).desc()).limit(clamp(limit) + 1)
    if actor.party not in rules.OVERSEERS:
        query = query.where(col(Selection.published_at).is_not(None))
    if status:
        query = query.where(Selection.status == status)
    if cursor:
        query = query.where(col(Selection.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))


def page(session: Session, actor: Actor, selection_id: str) -> SelectionPage:
    """One selection as this actor may see it. Applications stay sealed from the authority until the deadline. Raises ``not_found``."""
    row = store.find(session, actor, selection_id)
    settled = row.status in rules.SETTLED
    seat, panel, given = own_seat(session, actor, row.id), store.experts(session, row.id), store.scores(session, row.id)
    found = store.applications(session, row.id)
    standing = [one for one in found if one.status != "withdrawn"]
    overseer = actor.party in rules.OVERSEERS
    shown = [_show(session, actor, row, one, seat, given, settled) for one in found if _sees(actor, row, one, seat)]
    complete = {one.id for one in panel if {score.application_id for score in given if score.expert_id == one.id}
                >= {one.id for one in found if one.status == "submitted"}}
    actions = list(dict.fromkeys(rules.SELECTION.possible(row.status, actor, owner=row.organisation_id)))
    if row.status == "applying" and rules.APPLY.held(actor) and not any(one.organisation_id == actor.organisation_id for one in found):
        actions.append("apply")
    return SelectionPage(row, shown, panel if overseer else [], len(standing), len(complete) if row.status == "scoring" else len(panel),
                         seat, row.ranking if settled else [], actions)


def _sees(actor: Actor, row: Selection, one: SelectionApplication, seat: SelectionExpert | None) -> bool:
    if actor.organisation_id is not None and one.organisation_id == actor.organisation_id:
        return True
    sealed = row.status in ("draft", "applying")
    return not sealed and one.status != "withdrawn" and (actor.party in rules.OVERSEERS or seat is not None)


def _show(session: Session, actor: Actor, row: Selection, one: SelectionApplication, seat: SelectionExpert | None,
          given: list[SelectionScore], settled: bool) -> Shown:
    own = one.organisation_id == actor.organisation_id
    scores = [score for score in given if score.application_id == one.id and
              ((settled and not own) or (seat is not None and score.expert_id == seat.id))]
    owner = row.organisation_id if actor.party == "data_authority" else one.organisation_id
    actions = [step for step in rules.APPLICATION.possible(one.status, actor, owner=owner)
               if (step == "withdraw" and row.status == "applying") or (step == "set_aside" and row.status == "scoring")]
    if seat is not None and row.status == "scoring" and one.status == "submitted" and rules.SCORE.held(actor) and not own:
        actions.append("score")
    return Shown(one, attachments.of_subject(session, one.id), scores, own, actions)


def file(session: Session, actor: Actor, application_id: str, file_id: str) -> Attachment:
    """A file of an application, with its bytes, for those who see the application. Raises ``not_found``."""
    one = session.get(SelectionApplication, application_id)
    if one is not None:
        row = store.find(session, actor, one.selection_id)
        if _sees(actor, row, one, own_seat(session, actor, row.id)):
            found = attachments.read(session, file_id)
            if found.subject == application_id:
                return found
    raise ProblemError("not_found", what="file")


@work.source
def waiting(session: Session, actor: Actor) -> list[WorkItem]:
    """Notices to publish, applications to score, terms to negotiate and to approve."""
    if actor.organisation_id is None:
        return []
    out: list[WorkItem] = []
    query = select(Selection).where(col(Selection.status).in_(("draft", "scoring", "ranked", "negotiating", "concluded")))
    for row in session.exec(query.order_by(col(Selection.id)).limit(100)).all():
        kind = None
        possible = rules.SELECTION.possible(row.status, actor, owner=row.organisation_id)
        for action, named in (("publish", "selection.publish"), ("negotiate", "selection.negotiate"), ("conclude", "selection.conclude"),
                              ("approve", "selection.approve")):
            if action in possible:
                kind = named
                break
        if row.status == "scoring":
            seat = own_seat(session, actor, row.id)
            if seat is not None and rules.SCORE.held(actor) and _unscored(session, row, seat):
                kind = "selection.score"
        if kind is not None:
            out.append(WorkItem(kind, row.id, row.title_zh, "selection:selection_id", row.organisation_id, row.changed_at,
                                title_en=row.title_en))
    return out


def _unscored(session: Session, row: Selection, seat: SelectionExpert) -> bool:
    done = {one.application_id for one in store.scores(session, row.id) if one.expert_id == seat.id}
    return any(one.id not in done for one in store.applications(session, row.id, "submitted"))
