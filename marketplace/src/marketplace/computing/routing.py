"""谁授权谁审核: whoever authorised the use from which a result comes decides whether it leaves the domain."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from marketplace.actor import Actor
from marketplace.computing.models import Job


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

    def complete(self, agreed: dict[str, str]) -> bool:
        """Whether everybody who must agree has; ``agreed`` is the party of each organisation that did."""
        return self.departments <= agreed.keys() and any(
            party == self.party and self.organisation_id in (None, organisation) for organisation, party in agreed.items())


def reviewers_of(session: Session, job: Job) -> Seats:
    """Who decides what leaves from ``job``, by the mode in which its grant was authorised."""
    return Seats("data_authority")
