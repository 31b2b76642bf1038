"""The one state machine: states, who may do what in which, and which audit event it leaves.

Each thing with a life (job, product version, order, egress review …) declares a :class:`Lifecycle`. The same table
decides the checks in services, the buttons on a page and the diagram in the docs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from marketplace.actor import Actor
from marketplace.events import Tag
from shuyan.problems import ProblemError


@dataclass(frozen=True)
class Transition:
    """``action`` leads from any of ``sources`` to ``target``; ``parties`` may do it.

    ``own`` asks that the actor's organisation own the subject; ``scope`` is what a program's token needs.
    """

    action: str
    sources: frozenset[str]
    target: str
    parties: frozenset[str]
    event: Tag | None = None
    own: bool = False
    scope: str | None = None


@dataclass(frozen=True)
class Lifecycle:
    """A declared life. ``initial`` is where a new subject starts; ``final`` states have no way out."""

    name: str
    initial: str
    transitions: tuple[Transition, ...]
    final: frozenset[str] = field(default_factory=frozenset)

    @property
    def states(self) -> list[str]:
        seen = {self.initial: None}
        for transition in self.transitions:
            seen.update(dict.fromkeys([*sorted(transition.sources), transition.target]))
        return list(seen)

    def check(self, action: str, state: str, actor: Actor, *, owner: str | None = None) -> Transition:
        """The transition for ``action`` from ``state``.

        Raises:
            ProblemError: ``not_allowed`` if this actor may never do it here, ``wrong_state`` if the state forbids it.
        """
        candidates = [t for t in self.transitions if t.action == action]
        allowed = [t for t in candidates if may(t, actor, owner)]
        if not allowed:
            raise ProblemError("not_allowed")
        for transition in allowed:
            if state in transition.sources:
                return transition
        raise ProblemError("wrong_state", state=state, action=action)

    def possible(self, state: str, actor: Actor, *, owner: str | None = None) -> list[str]:
        """The actions this actor may take now: the buttons of a page."""
        return [t.action for t in self.transitions if state in t.sources and may(t, actor, owner)]


def may(transition: Transition, actor: Actor, owner: str | None) -> bool:
    """Whether ``actor`` may ever take ``transition`` on a subject owned by organisation ``owner``."""
    if actor.party not in transition.parties:
        return False
    if transition.own and (owner is None or actor.organisation_id != owner):
        return False
    if actor.scopes is not None and actor.party != "system":
        return transition.scope is not None and transition.scope in actor.scopes
    return True


def transition(action: str, sources: str | Iterable[str], target: str, parties: str | Iterable[str],
               event: Tag | None = None, *, own: bool = False, scope: str | None = None) -> Transition:
    """Shorthand for declaring a :class:`Transition`."""
    return Transition(
        action,
        frozenset([sources] if isinstance(sources, str) else sources),
        target,
        frozenset([parties] if isinstance(parties, str) else parties),
        event, own, scope,
    )
