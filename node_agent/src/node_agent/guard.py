"""The differencing guard's memory: what was answered about which rows, and opened among whom; never forgotten by itself.

The rules are those of :mod:`shuyan.federation.differencing`. A question's row sets are remembered in the commit that
lets its answer leave, and among whom it was opened in the commit that lets the seed leave.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import problems
from shuyan.federation.differencing import (
    Asked,
    Basis,
    GuardRules,
    Opened,
    check_departments,
    check_rows,
    opened_now,
)
from shuyan.federation.rowsets import RowSet
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

_DAY_MS = 86_400_000
_KEEP_TASKS_MS = 7 * _DAY_MS
_SHARE_STEP = 0.05

Sets = dict[str, list[RowSet]]


@dataclass(frozen=True)
class Memory:
    """What is to be remembered of a question once it is answered.

    Attributes:
        new: by resource, row sets not known before.
        state: of the guard when they were checked.
    """

    asked: Asked
    grant: Grant
    app: str
    minimum: int
    new: Mapping[str, list[RowSet]] = field(repr=False)
    state: int = 0


@dataclass(frozen=True)
class Remembered:
    """Questions answered about the same rows, for the administrator; of the rows, only a rounded share."""

    at_ms: int
    grantee: str
    grantee_name: str
    resource: str
    app: str
    share: float
    sets: int
    times: int


class Guard:
    """One node's guard; used by the agent's event loop only, but for :meth:`check`."""

    def __init__(self, state: State, journal: Journal, rules: GuardRules | None = None) -> None:
        self._state = state
        self._journal = journal
        self.rules = rules or GuardRules()
        self._known: dict[tuple[str, str], list[RowSet]] = {}
        self._changes = 0

    def earlier(self, asked: Asked) -> tuple[Sets, int]:
        """By resource, the row sets answered before, and the guard's state; checks among whom is asked.

        Raises:
            ProblemError: ``participants_differ``; ``guard_full`` when too many questions were refused today.
        """
        scope = asked.basis.scope
        for resource in asked.sets:
            check_departments(asked.basis, resource, self._opened(scope, resource), self.rules)
        known = {resource: self._sets(scope, resource) for resource in asked.sets}
        refused = self._state.one("SELECT count(*) AS n FROM guard_refusal WHERE scope = ? AND at_ms > ?",
                                  (scope, _now_ms() - _DAY_MS))
        if refused is not None and refused["n"] >= self.rules.max_refusals and any(
                one.digest() not in {rows.digest() for rows in known[resource]}
                for resource, sets in asked.sets.items() for one in sets.values()):
            raise ProblemError(problems.GUARD_FULL)
        return known, self._changes

    def check(self, asked: Asked, known: Sets, minimum: int) -> Sets:
        """By resource, the row sets that are new and may be answered; touches no state, so it may run in a thread.

        Raises:
            ProblemError: ``differencing_refused``, ``guard_full``.
        """
        return {resource: check_rows(sets, known[resource], minimum, self.rules)
                for resource, sets in asked.sets.items()}

    def refused(self, asked: Asked, problem: ProblemError, *, task: str, question: str) -> None:
        """Journal a refusal; those for being too close are counted."""
        with self._state.transaction():
            if problem.code == problems.DIFFERENCING_REFUSED:
                self._state.execute("INSERT INTO guard_refusal VALUES (?, ?)", (asked.basis.scope, _now_ms()))
            self._journal.append("guard:refused", task=task, question=question, scope=asked.basis.scope,
                                 code=problem.code, resources=sorted(asked.sets))

    @contextmanager
    def remembering(self, memory: Memory | None, task_id: str) -> Iterator[None]:
        """Remember a question in one commit with what is written inside; without a memory there is only that.

        It does not wait for the disk: a masked answer tells nothing before its seed leaves, and the seed is only found
        where this commit is, and leaves after one that waits.

        Raises:
            ProblemError: ``differencing_refused``, ``guard_full``, when another question was answered meanwhile.
        """
        try:
            with self._state.transaction(wait=False):
                if memory is not None:
                    self._remember(task_id, memory)
                yield
        except BaseException:
            self.refresh()
            raise

    @contextmanager
    def opening(self, task_id: str) -> Iterator[None]:
        """Remember among whom a task is opened in one commit with what is written inside.

        Raises:
            ProblemError: ``participants_differ``.
        """
        with self._state.transaction():
            yield
            self._open(task_id)

    def _remember(self, task_id: str, memory: Memory) -> None:
        basis, now = memory.asked.basis, _now_ms()
        new = memory.new
        if self._changes != memory.state:
            known, _ = self.earlier(memory.asked)
            new = self.check(memory.asked, known, memory.minimum)
        for resource, sets in memory.asked.sets.items():
            for rows in new[resource]:
                self._state.execute(
                    "INSERT OR IGNORE INTO guard_set VALUES (?, ?, ?, ?, ?)",
                    (basis.scope, resource, rows.digest(), rows.stored(), now))
            largest = max(sets.values(), key=lambda rows: (rows.universe == 0, rows.count))
            share = 1.0 if largest.whole else round(largest.count / largest.universe / _SHARE_STEP) * _SHARE_STEP
            self._state.execute(
                "INSERT INTO guard_question VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT"
                " (scope, resource, grantee, app, rows) DO UPDATE SET at_ms = excluded.at_ms, times = times + 1",
                (basis.scope, resource, memory.grant.grantee, memory.app, json.dumps(basis.rows[resource]), now,
                 memory.grant.grantee_name, share, len(sets)))
        self._state.execute("INSERT OR REPLACE INTO guard_task VALUES (?, ?, ?)",
                            (task_id, _written(basis), now))
        self._state.execute("DELETE FROM guard_task WHERE at_ms < ?", (now - _KEEP_TASKS_MS,))
        self._state.execute("DELETE FROM guard_refusal WHERE at_ms < ?", (now - _DAY_MS,))
        for resource, added in new.items():
            loaded = self._known.get((basis.scope, resource))
            if loaded is not None:  # a new list: another task may be comparing with the old one in a thread
                self._known[basis.scope, resource] = [*loaded, *added]
            self._changes += bool(added)

    def _open(self, task_id: str) -> None:
        row = self._state.one("SELECT basis FROM guard_task WHERE task_id = ?", (task_id,))
        if row is None:
            return
        basis = _basis(json.loads(row["basis"]))
        for resource in basis.rows:
            check_departments(basis, resource, self._opened(basis.scope, resource), self.rules)
        for resource, entries in opened_now(basis).items():
            for one in entries:
                self._state.execute(
                    "INSERT OR IGNORE INTO guard_opened VALUES (?, ?, ?, ?, ?, ?)",
                    (basis.scope, resource, one.rows, json.dumps(sorted(one.columns)), json.dumps(one.participants),
                     one.run_id if self.rules.participants == "run" else ""))
        self._state.execute("DELETE FROM guard_task WHERE task_id = ?", (task_id,))

    def history(self, after_ms: int = 0) -> list[Remembered]:
        """Remembered questions, the latest first."""
        rows = self._state.all("SELECT * FROM guard_question WHERE at_ms > ? ORDER BY at_ms DESC, rowid DESC", (after_ms,))
        return [Remembered(row["at_ms"], row["grantee"], row["grantee_name"], row["resource"], row["app"],
                           row["share"], row["sets"], row["times"]) for row in rows]

    def reset(self, grantee: str, resource: str) -> int:
        """Forget everything about a grantee's questions on a resource; how many questions that were.

        With it goes the protection against differences between what was answered and what will be.
        """
        with self._state.transaction():
            rows = self._state.all("SELECT scope FROM guard_question WHERE grantee = ? AND resource = ?", (grantee, resource))
            for scope in {row["scope"] for row in rows}:
                for table in ("guard_set", "guard_opened"):
                    self._state.execute(f"DELETE FROM {table} WHERE scope = ? AND resource = ?", (scope, resource))  # noqa: S608
                self._state.execute("DELETE FROM guard_refusal WHERE scope = ?", (scope,))
            self._state.execute("DELETE FROM guard_question WHERE grantee = ? AND resource = ?", (grantee, resource))
            self._journal.append("guard:reset", grantee=grantee, resource=resource, questions=len(rows))
        self.refresh()
        return len(rows)

    def refresh(self) -> None:
        """Forget what was read: it may have been changed by another connection."""
        self._known.clear()
        self._changes += 1

    def _sets(self, scope: str, resource: str) -> list[RowSet]:
        key = (scope, resource)
        if key not in self._known:
            self._known[key] = [RowSet.restored(row["rows"]) for row in self._state.all(
                "SELECT rows FROM guard_set WHERE scope = ? AND resource = ? ORDER BY at_ms, digest", key)]
        return self._known[key]

    def _opened(self, scope: str, resource: str) -> list[Opened]:
        return [Opened(row["run_id"], row["rows"], frozenset(json.loads(row["columns"])),
                       tuple(json.loads(row["participants"])))
                for row in self._state.all("SELECT * FROM guard_opened WHERE scope = ? AND resource = ?", (scope, resource))]


def _written(basis: Basis) -> str:
    # Not asdict, which copies everything first.
    return json.dumps({"scope": basis.scope, "run_id": basis.run_id, "participants": basis.participants,
                       "columns": dict(basis.columns), "rows": dict(basis.rows), "own_figures": basis.own_figures})


def _basis(data: dict[str, object]) -> Basis:
    columns, rows = (dict(part) if isinstance(part, dict) else {} for part in (data["columns"], data["rows"]))
    people = data["participants"]
    return Basis(str(data["scope"]), str(data["run_id"]), tuple(people) if isinstance(people, list) else (),
                 {name: tuple(value) for name, value in columns.items()},
                 {name: tuple(value) for name, value in rows.items()}, bool(data["own_figures"]))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
