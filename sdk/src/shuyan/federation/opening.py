"""When a node may reveal a self-mask seed: the rule that keeps a sum from being taken apart.

A node opens at most one attempt of a round, and answers one question with one set of departments only. Both facts must
be on disk before the seed leaves the node. What this cannot see is a *different* question that overlaps an earlier one
(the same sums with one more column, asked of fewer departments): budgets and the department's approval deal with that.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from shuyan.federation import problems
from shuyan.problems import ProblemError


def check_opening(
    *, attempt: int, participants: tuple[str, ...], opened_attempt: int | None, answered_with: tuple[str, ...] | None
) -> None:
    """Decide on an opening, given what was opened before.

    Args:
        opened_attempt: the attempt of this (run, round) that was opened already, if any; opening it again is a repeat.
        answered_with: the participants with whom this question was opened before, in whatever run, if it was.

    Raises:
        ProblemError: ``already_opened`` or ``question_answered_with_others``.
    """
    if opened_attempt is not None and opened_attempt != attempt:
        raise ProblemError(problems.ALREADY_OPENED)
    if answered_with is not None and answered_with != participants:
        raise ProblemError(problems.QUESTION_ANSWERED_WITH_OTHERS)


@dataclass
class OpenBook:
    """The two facts, kept in memory: for local federations and tests. A node keeps them in its database."""

    _attempts: dict[tuple[str, int], int] = field(default_factory=dict)
    _answered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, run_id: str, round_: int, attempt: int, question: str, participants: tuple[str, ...]) -> None:
        """Raise what an opening would raise now; to be asked before computing, so that no work is done in vain."""
        check_opening(attempt=attempt, participants=participants, opened_attempt=self._attempts.get((run_id, round_)),
                      answered_with=self._answered.get(question))

    def open(self, run_id: str, round_: int, attempt: int, question: str, participants: tuple[str, ...]) -> None:
        """Check and record in one step."""
        with self._lock:
            self.check(run_id, round_, attempt, question, participants)
            self._attempts[run_id, round_] = attempt
            self._answered[question] = participants
