"""How a kind of subject is made and acted on through its domain's service, for the matrix test.

An adapter makes one subject; the matrix puts it into every state in turn. An act gets the service to do it as this actor;
what else the service may find wrong (a missing price, a missing signature) does not matter: only whether it was let in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session
from tests.factories.market import City

from marketplace.actor import Actor

Act = Callable[[Session, Actor, Any], object]


@dataclass(frozen=True)
class Adapter:
    """One lifecycle's subjects.

    Attributes:
        make: a subject in any state; returns its table row.
        acts: by action, what does it. Actions of the system alone are left out.
        state: the attribute that holds the state.
        owner: the organisation that a party's ``own`` means: for most the one it belongs to, for agreements the party's side.
        before: sets what else a state implies (a version listed has a code …).
    """

    make: Callable[[Session, City], Any]
    acts: dict[str, Act]
    state: str = "status"
    owner: Callable[[Session, Any, str], str] = lambda _session, row, _party: str(row.organisation_id)
    before: Callable[[Session, Any, str], None] = lambda _session, _row, _state: None
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Actions that something else carries out, and what."""
    shut: frozenset[str] = frozenset()
    """Further problems by which the service keeps everybody out in some state."""


def noted(act: Callable[[Session, Actor, str, str], object]) -> Act:
    """An act that takes the subject's id and a note."""
    return lambda session, actor, row: act(session, actor, row.id, "说明")


def plain(act: Callable[[Session, Actor, str], object]) -> Act:
    """An act that takes the subject's id."""
    return lambda session, actor, row: act(session, actor, row.id)
