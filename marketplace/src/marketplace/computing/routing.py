"""谁授权谁审核: whoever authorised the use from which a result comes decides whether it leaves the domain.

The one rule for both: the result of a job, and what is made of it, version by version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing import texts
from marketplace.computing.errors import NOT_SEATED
from marketplace.computing.models import EgressOpinion, EgressReview, Job, JobOutput
from marketplace.computing.nodes import nodes_by_id
from marketplace.db import utc_now
from marketplace.deadlines import service as deadlines
from marketplace.ids import new_id
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.settings import settings
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError

OVERDUE: Final = "egress.overdue"


@dataclass(frozen=True)
class Seats:
    """Who decides on an egress.

    Attributes:
        party: that authorised the use: ``data_authority``, or ``industry_department`` where it was authorised by field.
        organisation_id: which of that party; None where every organisation of the party is the one.
        departments: source departments that reviewed the demand themselves, and whose consent is needed beside.
    """

    party: str
    organisation_id: str | None = None
    departments: frozenset[str] = frozenset()

    def seated(self, actor: Actor) -> bool:
        """Whether ``actor``'s organisation has a say."""
        if actor.party == self.party:
            return self.organisation_id in (None, actor.organisation_id)
        return actor.party == "source_department" and actor.organisation_id in self.departments

    def passed_on(self, agreed: Iterable[str]) -> Seats:
        """The seats once the time is over: the data authority decides in the place of whoever is not in ``agreed``."""
        return Seats("data_authority", None, self.departments & set(agreed))

    def require(self, actor: Actor) -> None:
        """Raises ``not_reviewer_of_grant`` for an organisation that has no say."""
        if not self.seated(actor):
            raise ProblemError(NOT_SEATED)

    def complete(self, agreed: Mapping[str, str]) -> bool:
        """Whether everybody who must agree has; ``agreed`` is the party of each organisation that did."""
        return self.departments <= agreed.keys() and any(
            party == self.party and self.organisation_id in (None, organisation) for organisation, party in agreed.items())

    def organisations(self, session: Session) -> list[str]:
        """Every organisation that may decide, who leads first."""
        leads = [self.organisation_id] if self.organisation_id else [
            row.id for row in parties.list_organisations(session, kind=self.party, limit=50)]
        return [*leads, *sorted(self.departments)]


def reviewers_of(session: Session, job: Job) -> Seats:
    """Who decides what leaves from ``job``: who authorised its grant, and of the source departments that reviewed the list
    themselves those whose data is in the result."""
    return seats_of_jobs(session, [job])[job.id]


def seats_of_jobs(session: Session, jobs: Sequence[Job]) -> dict[str, Seats]:
    """The same of several jobs, by id; a few queries, however many there are."""
    authorised = authorisation.authorised(session, [job.grant_id for job in jobs])
    computed = {job.id: job.reused_from or job.id for job in jobs}
    participants = {job_id: list(found) for job_id, found in session.exec(select(JobOutput.job_id, JobOutput.participants).where(
        col(JobOutput.job_id).in_(set(computed.values()))))}
    nodes = nodes_by_id(session, {one for found in participants.values() for one in found})
    out = {}
    for job in jobs:
        who, found = authorised[job.grant_id], participants.get(computed[job.id])
        inside = who.departments if found is None else who.departments & {nodes[one].organisation_id for one in found if one in nodes}
        out[job.id] = Seats(who.party, who.organisation_id, inside)
    return out


def ask(session: Session, review: EgressReview, job: Job) -> None:
    """Ask everybody who decides on a candidate output for their opinion, and tell them."""
    seats = reviewers_of(session, job)
    asked = [(seats.party, seats.organisation_id), *(("source_department", one) for one in sorted(seats.departments))]
    due = after_workdays(utc_now(), settings().egress_days)
    opinions = [EgressOpinion(id=new_id("egop"), review_id=review.id, party=party, organisation_id=organisation, due_at=due)
                for party, organisation in asked]
    session.add_all(opinions)
    session.flush()
    for one in opinions:
        if one.party != "data_authority":  # it has nobody to pass it on to
            deadlines.put(session, OVERDUE, one.id, due)
    for organisation in seats.organisations(session):
        notices.tell(session, organisation, texts.ASKED, review.id, role="reviewer", title=job.title or job.id)


def opinions_of(session: Session, review_id: str, *, lock: bool = False) -> list[EgressOpinion]:
    """Who was asked about a candidate output and what they said, who leads first."""
    query = select(EgressOpinion).where(EgressOpinion.review_id == review_id).order_by(col(EgressOpinion.id))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return sorted(session.exec(query), key=lambda one: (one.party == "source_department", one.organisation_id or ""))


def seat_of(opinions: list[EgressOpinion], actor: Actor) -> EgressOpinion | None:
    """The opinion that ``actor``'s organisation was asked for, if it was."""
    return next((one for one in opinions if one.party == actor.party and one.organisation_id in (None, actor.organisation_id)), None)
