"""What other domains do when an agreement takes effect, is suspended, goes on, ends, or never comes about.

A hook runs in the same transaction, and locks and changes its own rows. What it has to append to the audit log it returns as
a function, which is called once every hook has its locks: the head of the log is locked last, or transactions would wait
for each other in a circle (see :func:`marketplace.trust.service.append`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlmodel import Session

from marketplace.agreements.models import Agreement

Afterwards = Callable[[], object]
Hook = Callable[[Session, Agreement], Afterwards | None]

EFFECTIVE: Final[dict[str, list[Hook]]] = {"operation": [], "development": []}
SUSPENDED: Final[dict[str, list[Hook]]] = {"operation": [], "development": []}
RESUMED: Final[dict[str, list[Hook]]] = {"operation": [], "development": []}
ENDED: Final[dict[str, list[Hook]]] = {"operation": [], "development": []}
BROKEN_OFF: Final[dict[str, list[Hook]]] = {"operation": [], "development": []}


def when_effective(kind: str) -> Callable[[Hook], Hook]:
    """Register what happens once both sides have signed an agreement of this kind."""
    return _register(EFFECTIVE, kind)


def when_suspended(kind: str) -> Callable[[Hook], Hook]:
    """Register what happens once an agreement of this kind is suspended."""
    return _register(SUSPENDED, kind)


def when_resumed(kind: str) -> Callable[[Hook], Hook]:
    """Register what happens once a suspended agreement of this kind is in force again."""
    return _register(RESUMED, kind)


def when_broken_off(kind: str) -> Callable[[Hook], Hook]:
    """Register what happens once it is clear that an agreement of this kind will not come about: a side broke off, the draft was
    thrown away, or it was not signed in time. ``reason`` says why."""
    return _register(BROKEN_OFF, kind)


def when_ended(kind: str) -> Callable[[Hook], Hook]:
    """Register what happens once an agreement of this kind has lapsed or was terminated; ``status`` says which."""
    return _register(ENDED, kind)


def _register(table: dict[str, list[Hook]], kind: str) -> Callable[[Hook], Hook]:
    def register(hook: Hook) -> Hook:
        if hook not in table[kind]:
            table[kind].append(hook)
        return hook
    return register


def run(session: Session, table: dict[str, list[Hook]], agreement: Agreement) -> Afterwards:
    """Call the hooks of an agreement's kind now; what they want done afterwards, in order, is called later."""
    return together([hook(session, agreement) for hook in table[agreement.kind]])


def together(todo: Sequence[Afterwards | None]) -> Afterwards:
    """All of them as one, in order; of a hook that has nothing to append there is ``None``."""
    def append() -> None:
        for one in todo:
            if one is not None:
                one()

    return append
