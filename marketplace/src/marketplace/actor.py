"""Who acts: passed to every use case, so that authorisation is decided in the service and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Party = Literal[
    "data_authority", "source_department", "operator", "developer", "industry_department",
    "security_supervisor", "finance_department", "consumer", "public", "system",
]

ROLES: Final = ("admin", "handler", "reviewer", "finance", "auditor")
"""Roles of a membership: ``admin`` manages the organisation's people and programs and signs for it, ``handler`` prepares and
submits, ``reviewer`` decides, ``finance`` orders and pays, ``auditor`` reads. Every member reads what the organisation may."""


@dataclass(frozen=True)
class Actor:
    """A signed-in member, an API client, a node, or the system itself.

    ``scopes`` is ``None`` for a person (all of the roles' rights) and a set for a program's token. ``roles`` are those of
    the person's membership, ``None`` for programs and the system, which have none: see :data:`ROLES`. ``standing`` says
    whether the organisation is active: until its registration has taken effect, and while it is suspended, its people
    and programs can do only what says that it may be done before (:mod:`marketplace.lifecycle`).
    """

    party: Party
    organisation_id: str | None = None
    member_id: str | None = None
    client_id: str | None = None
    roles: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    standing: bool = True

    @property
    def label(self) -> str:
        """How the audit log names this actor: an identifier, never a person's name."""
        return self.member_id or self.client_id or self.organisation_id or self.party


PUBLIC = Actor("public")
SYSTEM = Actor("system")
