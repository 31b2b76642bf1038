"""Grants that are not to be used for now: told by the coordinator, or by this department itself.

A hold is not signed, for it can only stop: without any, what the signed grant and the revocation list say is all that counts.
What the coordinator tells is its complete list and takes the place of the one before; what the department holds itself, only
the department releases.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import problems
from shuyan.problems import ProblemError

_KEY = "holds_told"
_MOST = 100_000  # ids that are taken from the coordinator
_LONGEST = 64


@dataclass(frozen=True)
class Held:
    """A grant the department holds itself."""

    grant_id: str
    reason: str
    at_ms: int


class Holds:
    """The holds this node obeys; they outlive a restart."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state = state
        self._journal = journal
        self._told = frozenset(json.loads(state.get(_KEY) or "[]"))
        self._own = frozenset(one.grant_id for one in self.own())

    @property
    def told(self) -> frozenset[str]:
        """What the coordinator told last."""
        return self._told

    def tell(self, grant_ids: Iterable[str]) -> None:
        """Take the coordinator's complete list."""
        new = frozenset(id_ for id_ in list(grant_ids)[:_MOST] if 0 < len(id_) <= _LONGEST)
        if new == self._told:
            return
        with self._state.transaction():
            self._state.put(_KEY, json.dumps(sorted(new)))
            self._journal.append("holds:told", held=len(new), added=sorted(new - self._told)[:20],
                                 released=sorted(self._told - new)[:20])
        self._told = new

    def own(self) -> list[Held]:
        """What the department holds itself, oldest first."""
        return [Held(row["grant_id"], row["reason"], row["at_ms"])
                for row in self._state.all("SELECT * FROM grant_held ORDER BY at_ms, grant_id")]

    def hold(self, grant_id: str, reason: str) -> None:
        """Hold a grant here. Doing it again changes its reason.

        Raises:
            ProblemError: ``bad_params`` for an id or reason that is empty or too long.
        """
        if not 0 < len(grant_id) <= _LONGEST or not 0 < len(reason.strip()) <= 500:
            raise ProblemError(problems.BAD_PARAMS, where="reason" if 0 < len(grant_id) <= _LONGEST else "grant")
        with self._state.transaction():
            self._state.execute("INSERT INTO grant_held VALUES (?, ?, ?) ON CONFLICT (grant_id) DO UPDATE SET reason = excluded.reason",
                                (grant_id, reason.strip(), time.time_ns() // 1_000_000))
            self._journal.append("grant:held", grant=grant_id, reason=reason.strip())
        self._own |= {grant_id}

    def release(self, grant_id: str) -> bool:
        """Lift the department's own hold; whether there was one."""
        if grant_id not in self._own:
            return False
        with self._state.transaction():
            self._state.execute("DELETE FROM grant_held WHERE grant_id = ?", (grant_id,))
            self._journal.append("grant:released", grant=grant_id)
        self._own -= {grant_id}
        return True

    def held(self, grant_id: str) -> bool:
        """Whether a grant is held, by whomever."""
        return grant_id in self._told or grant_id in self._own

    def check(self, grant_id: str) -> None:
        """Let a grant pass, or not. Raises ``grant_held``."""
        if self.held(grant_id):
            raise ProblemError(problems.GRANT_HELD)
