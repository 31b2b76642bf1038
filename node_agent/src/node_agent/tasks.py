"""What is remembered of tasks: answers, so that each is given once and repeated unchanged, and openings."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field

from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import opening, problems
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2

_KEEP_TASKS_MS = 7 * 86_400_000
_KEEP_ANSWERS_MS = 3_600_000
_RESEND_MS = 600_000


def request_digest(request: link_pb2.TaskRequest) -> str:
    """What makes two requests the same: everything but the grant's text, which its digest stands for."""
    copy = link_pb2.TaskRequest()
    copy.CopyFrom(request)
    copy.grant = ""
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()


@dataclass(frozen=True)
class Answered:
    """A task that was answered with a masked vector."""

    task_id: str
    run_id: str
    round: int
    attempt: int
    grant_digest: str
    question: str
    participants: tuple[str, ...]
    seed: bytes = field(repr=False)


class TaskBook:
    """The durable record of tasks. Everything here is written in one commit with its journal entry."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state = state
        self._journal = journal

    def earlier(self, task_id: str, digest: str) -> link_pb2.TaskReply | None:
        """The answer given to this task before, if any.

        Raises:
            ProblemError: ``task_replayed``: the same id, other content; ``already_opened``: its run is over, and the
                answer was forgotten with it.
        """
        row = self._state.one("SELECT request_digest, reply FROM task WHERE task_id = ?", (task_id,))
        if row is None:
            return None
        if row["request_digest"] != digest:
            raise ProblemError(problems.TASK_REPLAYED)
        if row["reply"] is None:
            raise ProblemError(problems.ALREADY_OPENED)
        return link_pb2.TaskReply.FromString(row["reply"])

    def foresee(self, run_id: str, round_: int, attempt: int, question: str, participants: tuple[str, ...]) -> None:
        """Refuse now what could not be opened later, and what would answer one attempt twice.

        Raises:
            ProblemError: ``already_opened``, ``question_answered_with_others``, ``task_replayed``.
        """
        last = self._state.one("SELECT max(round) AS round FROM opening WHERE run_id = ?", (run_id,))
        if last is not None and last["round"] is not None and round_ <= last["round"]:
            raise ProblemError(problems.ALREADY_OPENED)
        if self._state.one("SELECT 1 FROM task WHERE run_id = ? AND round = ? AND attempt = ? AND answered",
                           (run_id, round_, attempt)):
            raise ProblemError(problems.TASK_REPLAYED)
        opening.check_opening(attempt=attempt, participants=participants, opened_attempt=None,
                              answered_with=self._answered_with(question))

    def record_answer(self, answered: Answered, digest: str, reply: link_pb2.TaskReply, **journal: object) -> None:
        """Keep an answer and its self-mask seed; it may leave once this returns.

        Raises:
            ProblemError: ``task_replayed``: the attempt was answered under another task id meanwhile.
        """
        with self._state.transaction():
            taken = self._state.one("SELECT 1 FROM task WHERE run_id = ? AND round = ? AND attempt = ? AND answered",
                                    (answered.run_id, answered.round, answered.attempt))
            if taken:
                raise ProblemError(problems.TASK_REPLAYED)
            self._insert(answered, digest, reply, 1)
            self._journal.append("task:answered", task=answered.task_id, run=answered.run_id, round=answered.round,
                                 attempt=answered.attempt, question=answered.question,
                                 participants=list(answered.participants), **journal)

    def record_failure(self, request: link_pb2.TaskRequest, digest: str, reply: link_pb2.TaskReply) -> None:
        """Keep a refusal or failure, so that it too is repeated unchanged."""
        failed = Answered(request.task_id, request.run_id, request.round, request.attempt, request.grant_digest, "",
                          tuple(request.participants), b"")
        with self._state.transaction():
            self._insert(failed, digest, reply, 0)
            self._journal.append("task:failed", task=request.task_id, run=request.run_id, round=request.round,
                                 attempt=request.attempt, code=reply.failure.code,
                                 arguments=dict(reply.failure.args))

    def _insert(self, task: Answered, digest: str, reply: link_pb2.TaskReply, answered: int) -> None:
        self._state.execute(
            "INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (task.task_id, digest, task.run_id, task.round, task.attempt, task.grant_digest, task.question,
             json.dumps(task.participants), reply.SerializeToString(), task.seed, answered, _now_ms()))

    def find_answered(self, request: link_pb2.OpenRequest) -> Answered:
        """The answered task that an opening speaks of.

        Raises:
            ProblemError: ``task_unknown``, also when its run is over and the seed was dropped.
        """
        row = self._state.one("SELECT * FROM task WHERE task_id = ? AND answered", (request.task_id,))
        if row is None or row["seed"] is None or (row["run_id"], row["round"], row["attempt"]) != (
                request.run_id, request.round, request.attempt):
            raise ProblemError(problems.TASK_UNKNOWN)
        return Answered(row["task_id"], row["run_id"], row["round"], row["attempt"], row["grant_digest"],
                        row["question"], tuple(json.loads(row["participants"])), row["seed"])

    def open(self, task: Answered) -> bytes:
        """Record the opening of a task's attempt and return its seed, which may leave once this returns.

        Opening the same attempt again gives the same seed and writes nothing.

        Raises:
            ProblemError: ``already_opened``, ``question_answered_with_others``.
        """
        with self._state.transaction():
            row = self._state.one("SELECT attempt FROM opening WHERE run_id = ? AND round = ?",
                                  (task.run_id, task.round))
            opening.check_opening(
                attempt=task.attempt, participants=task.participants,
                opened_attempt=None if row is None else row["attempt"], answered_with=self._answered_with(task.question))
            if row is None:
                self._state.execute("INSERT INTO opening VALUES (?, ?, ?, ?, ?)",
                                    (task.run_id, task.round, task.attempt, task.task_id, _now_ms()))
                self._state.execute("INSERT OR IGNORE INTO question VALUES (?, ?)",
                                    (task.question, json.dumps(task.participants)))
                self._journal.append("round:opened", task=task.task_id, run=task.run_id, round=task.round,
                                     attempt=task.attempt, question=task.question)
        return task.seed

    def _answered_with(self, question: str) -> tuple[str, ...] | None:
        row = self._state.one("SELECT participants FROM question WHERE digest = ?", (question,))
        return None if row is None else tuple(json.loads(row["participants"]))

    def undelivered(self) -> list[link_pb2.NodeFrame]:
        """Answers and seeds of the last minutes that the coordinator may not have received.

        A node learns that an answer arrived when its round is opened, and that a seed did when the next round begins
        or the run ends. Both are safe to send twice.
        """
        since = _now_ms() - _RESEND_MS
        replies = self._state.all(
            "SELECT t.reply FROM task t WHERE t.at_ms > ? AND t.reply IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM opening o WHERE o.run_id = t.run_id AND o.round >= t.round) ORDER BY t.at_ms LIMIT 200",
            (since,))
        seeds = self._state.all(
            "SELECT t.task_id, t.seed FROM opening o JOIN task t ON t.task_id = o.task_id WHERE o.at_ms > ?"
            " AND t.reply IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM task n WHERE n.run_id = o.run_id AND n.round > o.round) ORDER BY o.at_ms LIMIT 200",
            (since,))
        frames = [link_pb2.NodeFrame(task_reply=link_pb2.TaskReply.FromString(row["reply"])) for row in replies]
        return frames + [link_pb2.NodeFrame(open_reply=link_pb2.OpenReply(task_id=row["task_id"],
                                                                          self_mask_seed=row["seed"]))
                         for row in seeds]

    def forget(self, run_id: str) -> None:
        """The run is over: its answers need not be repeated any more. What was opened is never forgotten."""
        with self._state.transaction(wait=False):
            self._state.execute("UPDATE task SET reply = NULL, seed = NULL WHERE run_id = ? AND answered", (run_id,))

    def prune(self) -> None:
        """Drop answers and seeds of an hour ago, tasks of a week ago; openings and questions stay for good."""
        with self._state.transaction():
            self._state.execute("UPDATE task SET reply = NULL, seed = NULL WHERE answered AND reply IS NOT NULL"
                                " AND at_ms < ?", (_now_ms() - _KEEP_ANSWERS_MS,))
            self._state.execute("DELETE FROM task WHERE at_ms < ?", (_now_ms() - _KEEP_TASKS_MS,))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
