"""The one state machine: states, who may do what in which, and which audit event it leaves.

Each thing with a life (job, product version, order, egress review …) declares a :class:`Lifecycle`. The same table
decides the checks in services, the buttons on a page and the diagram in the docs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from marketplace.actor import Actor
from marketplace.errors import NO_STANDING, SCOPE_MISSING
from marketplace.events import Tag
from shuyan.problems import ProblemError

DECIDE_OR_HANDLE: Final = frozenset({"handler", "reviewer"})
"""Roles for what nothing more is said of; what binds or decides says ``reviewer`` or ``admin`` alone."""


@dataclass(frozen=True)
class Transition:
    """``action`` leads from any of ``sources`` to ``target``; ``parties`` may do it.

    ``own`` asks that the actor's organisation own the subject; ``scope`` is what a program's token needs; ``roles`` are
    those of which a person needs one. ``before_active`` lets an organisation do it that is not active yet, or any more.
    """

    action: str
    sources: frozenset[str]
    target: str
    parties: frozenset[str]
    event: Tag | None = None
    own: bool = False
    scope: str | None = None
    roles: frozenset[str] = DECIDE_OR_HANDLE
    before_active: bool = False


@dataclass(frozen=True)
class Power:
    """An act that no state stands in the way of: proposing, inviting, publishing.

    The same in small as a :class:`Transition`; ``name`` is ``subject.act``.
    """

    name: str
    parties: frozenset[str]
    own: bool = False
    scope: str | None = None
    roles: frozenset[str] = DECIDE_OR_HANDLE
    before_active: bool = False

    def held(self, actor: Actor, *, owner: str | None = None) -> bool:
        """Whether ``actor`` may do this to something that organisation ``owner`` owns."""
        return may(self, actor, owner)

    def require(self, actor: Actor, *, owner: str | None = None) -> None:
        """Raises ``not_signed_in``, ``scope_missing`` (a program's token lacks it), ``standing_required``, ``not_allowed``."""
        if self.held(actor, owner=owner):
            return
        if actor.party == "public":
            raise ProblemError("not_signed_in")
        if actor.scopes is not None and self.scope is not None and may(self, replace(actor, scopes=None), owner):
            raise ProblemError(SCOPE_MISSING, scope=self.scope)
        if not actor.standing and may(self, replace(actor, standing=True), owner):
            raise ProblemError(NO_STANDING)
        raise ProblemError("not_allowed")

    def acting(self, actor: Actor, *, owner: str | None = None) -> str:
        """The organisation that acts, which may. Raises as :meth:`require`."""
        self.require(actor, owner=owner)
        if actor.organisation_id is None:
            raise ProblemError("not_allowed")
        return actor.organisation_id


@dataclass(frozen=True)
class Lifecycle:
    """A declared life. ``initial`` is where a new subject starts; ``final`` states have no way out.

    ``way`` are the states of the ordinary course, in order, for pictures: it decides nothing.
    """

    name: str
    initial: str
    transitions: tuple[Transition, ...]
    final: frozenset[str] = field(default_factory=frozenset)
    way: tuple[str, ...] = ()

    @property
    def states(self) -> list[str]:
        seen = {self.initial: None}
        for transition in self.transitions:
            seen.update(dict.fromkeys([*sorted(transition.sources), transition.target]))
        return list(seen)

    def check(self, action: str, state: str, actor: Actor, *, owner: str | None = None) -> Transition:
        """The transition for ``action`` from ``state``.

        Raises:
            ProblemError: ``not_allowed`` if this actor may never do it here, ``standing_required`` if not while the
                organisation is not active, ``wrong_state`` if the state forbids it.
        """
        candidates = [t for t in self.transitions if t.action == action]
        allowed = [t for t in candidates if may(t, actor, owner)]
        if not allowed:
            if not actor.standing and any(may(t, replace(actor, standing=True), owner) for t in candidates):
                raise ProblemError(NO_STANDING)
            raise ProblemError("not_allowed")
        for transition in allowed:
            if state in transition.sources:
                return transition
        raise ProblemError("wrong_state", state=state, action=action)

    def possible(self, state: str, actor: Actor, *, owner: str | None = None) -> list[str]:
        """The actions this actor may take now: the buttons of a page."""
        return [t.action for t in self.transitions if state in t.sources and may(t, actor, owner)]


def may(transition: Transition | Power, actor: Actor, owner: str | None) -> bool:
    """Whether ``actor`` may ever take ``transition`` on a subject owned by organisation ``owner``."""
    if actor.party not in transition.parties or not (actor.standing or transition.before_active):
        return False
    if transition.own and (owner is None or actor.organisation_id != owner):
        return False
    if actor.roles is not None and not actor.roles & transition.roles:
        return False
    if actor.scopes is not None and actor.party != "system":
        return transition.scope is not None and transition.scope in actor.scopes
    return True


def transition(action: str, sources: str | Iterable[str], target: str, parties: str | Iterable[str],
               event: Tag | None = None, *, own: bool = False, scope: str | None = None,
               roles: str | Iterable[str] = DECIDE_OR_HANDLE, before_active: bool = False) -> Transition:
    """Shorthand for declaring a :class:`Transition`."""
    return Transition(
        action,
        _set(sources), target, _set(parties), event, own, scope, _set(roles), before_active,
    )


def power(name: str, parties: str | Iterable[str], *, own: bool = False, scope: str | None = None,
          roles: str | Iterable[str] = DECIDE_OR_HANDLE, before_active: bool = False) -> Power:
    """Shorthand for declaring a :class:`Power`."""
    return Power(name, _set(parties), own, scope, _set(roles), before_active)


def _set(names: str | Iterable[str]) -> frozenset[str]:
    return frozenset([names] if isinstance(names, str) else names)
