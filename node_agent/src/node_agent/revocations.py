"""The data authority's list of revoked grants: verified, kept, never replaced by an older one."""

from __future__ import annotations

import time

from node_agent.authority import Authority
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import problems
from shuyan.problems import ProblemError
from shuyan.trust.grants import RevocationList

_KEY = "revocations"


class Revocations:
    """The newest list this node has seen. Without one that is current, no task is taken."""

    def __init__(self, state: State, journal: Journal, authority: Authority) -> None:
        self._state = state
        self._journal = journal
        self._authority = authority
        self._list: RevocationList | None = None
        self._jws = state.get(_KEY)
        if self._jws:
            self._adopt(authority.revocations(self._jws))

    @property
    def number(self) -> int:
        """The number of the list held, 0 if none."""
        return self._list.number if self._list else 0

    def _adopt(self, new: RevocationList) -> None:
        self._list = new
        self._revoked = frozenset(item.jti for item in new.revoked)

    def accept(self, jws: str) -> bool:
        """Take a list from the coordinator; False when it was refused, which the journal then says.

        A list is refused when its signature is wrong, when its number is lower than that of the list held, or when it
        has the same number and other content: the authority never signs two.
        """
        try:
            new = self._authority.revocations(jws)
        except ProblemError as problem:
            self._journal.append("revocations:refused", code=problem.code)
            return False
        if jws == self._jws:
            return True
        if self._list is not None and new.number <= self._list.number:
            self._journal.append("revocations:refused", code="rollback", number=new.number, held=self._list.number)
            return False
        with self._state.transaction():
            self._state.put(_KEY, jws)
            self._journal.append("revocations:accepted", number=new.number, revoked=len(new.revoked))
        self._jws = jws
        self._adopt(new)
        return True

    @property
    def current(self) -> bool:
        """Whether a list is held that is not past its next update."""
        return self._list is not None and time.time() < self._list.next_update

    def revoked(self, grant_id: str) -> bool:
        """Whether the list held names the grant."""
        return self._list is not None and grant_id in self._revoked

    def check(self, grant_id: str, now: float | None = None) -> None:
        """Let a grant pass, or not.

        Raises:
            ProblemError: ``grant_revoked``, ``revocations_stale``.
        """
        if self.revoked(grant_id):
            raise ProblemError(problems.GRANT_REVOKED)
        if self._list is None or (time.time() if now is None else now) >= self._list.next_update:
            raise ProblemError(problems.REVOCATIONS_STALE)
