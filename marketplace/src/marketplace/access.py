"""Small checks every service shares: which organisation acts, and whether a program's token reaches this far."""

from __future__ import annotations

from marketplace.actor import Actor
from marketplace.errors import SCOPE_MISSING
from shuyan.problems import ProblemError


def require_scope(actor: Actor, scope: str) -> None:
    """Raises ``scope_missing`` for a program whose token lacks ``scope``; people have all of their roles' rights."""
    if actor.scopes is not None and scope not in actor.scopes:
        raise ProblemError(SCOPE_MISSING, scope=scope)


def require_party(actor: Actor, *parties: str) -> None:
    """Raises ``not_allowed`` unless the actor's organisation is of one of these kinds (or the system acts)."""
    if actor.party not in parties and actor.party != "system":
        raise ProblemError("not_allowed")


def require_organisation(actor: Actor) -> str:
    """The organisation that acts.

    Raises:
        ProblemError: ``not_signed_in`` for the public.
    """
    if actor.organisation_id is None:
        raise ProblemError("not_signed_in")
    return actor.organisation_id
