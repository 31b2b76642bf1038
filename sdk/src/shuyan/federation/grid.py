"""The grid that jobs run on: Flower's public extension point, over nodes that answer with masked vectors only.

Every question goes to all participants, and what comes back is one sum. Strategies written for Flower run unchanged:
``send_and_receive`` returns a single message holding the sums, as if one node had all the data.

Progress codes, as given to the callback with round and planned rounds:
``round_started`` (departments), ``department_lost`` (node, reason), ``round_repeated`` (attempt, departments),
``round_opening`` (departments), ``round_finished`` (departments), ``rounds_resumed`` (kept) when a run goes on after
rounds kept from another, ``rounds_discarded`` (kept) when it cannot use them, and whatever the app adds (see the app's
module). Of rounds that are only repeated from what was kept, nothing is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

import rfc8785
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from shuyan.federation import _flower, masking, problems, ring
from shuyan.federation.apps.base import InstalledApp, Progress
from shuyan.federation.checks import holders, plan_noise
from shuyan.federation.egress import check_question
from shuyan.federation.privacy import noise
from shuyan.federation.privacy.noise import VectorNoise
from shuyan.federation.ring import Floats, Words
from shuyan.federation.rounds import RoundStore, StoredRound
from shuyan.federation.transport import NodeFailure, NodeLost, OpenRequest, TaskRequest, Transport
from shuyan.federation.vectors import COHORT, Segment, VectorSpec, layout
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, PrivacyTerms, grant_digest

_POLL_SECONDS: Final = 0.1
_OTHERS_SECONDS: Final = 1.0  # for other departments to say that they too must approve first; they say so before computing
_KEPT_WORDS: Final = 1 << 16  # of answers that are added up together; longer ones are as they come


class RunCancelled(Exception):
    """The run was cancelled while it was under way."""


class ApprovalsPending(NodeFailure):
    """Departments must approve this use of their data first; the run has ended, and a new one may be tried once they have.

    Attributes:
        approvals: the number of the approval by node id, empty where the node did not say it.
    """

    def __init__(self, failures: Sequence[NodeFailure]) -> None:
        super().__init__(failures[0].node_id, problems.APPROVAL_PENDING, failures[0].args_)
        self.approvals = {failure.node_id: str(failure.args_.get("approval", "")) for failure in failures}


class _Lost(Exception):
    """Some participants did not answer; the round has to be run again without them."""

    def __init__(self, failures: Sequence[NodeFailure]) -> None:
        self.failures = failures


@dataclass(frozen=True)
class Sum:
    """The sum of all participants' vectors.

    Attributes:
        cohort: rows the sum is about, over all participants; with noise, where the sums have noise.
        participants: node ids.
        noise: by vector, the noise on it; empty where sums are exact.
    """

    words: Mapping[str, Words] = field(repr=False)
    specs: Mapping[str, VectorSpec] = field(repr=False)
    cohort: int
    participants: tuple[str, ...]
    noise: Mapping[str, VectorNoise] = field(default_factory=dict)

    @property
    def vectors(self) -> dict[str, Floats]:
        """The sums as float64, each within one unit in the last place."""
        return {name: self[name] for name in self.words}

    def __getitem__(self, name: str) -> Floats:
        return ring.decode(self.words[name], self.specs[name].fraction_bits)

    def deviation(self, name: str) -> float:
        """The standard deviation of the noise on each element of a vector; nought where sums are exact."""
        return self.noise[name].deviation if name in self.noise else 0.0

    def integers(self, name: str) -> list[int]:
        """The exact sums as integers: multiples of 2^-fraction_bits."""
        return ring.integers(self.words[name])


def _silent(round_: int, rounds: int, code: str, /, **args: object) -> None:
    """No one is watching."""


class SecureGrid(Grid):  # type: ignore[misc]
    """One run's grid. Not for use by several threads at once; :meth:`cancel` may be called from any.

    Args:
        grant_jws: the grant as signed; nodes verify it themselves.
        params: the job's parameters as submitted, domains included.
        participants: node ids to ask; those not connected are left out of the first attempt.
        progress: told about every round.
        rounds: where finished rounds are kept; those it holds already are not asked again.
        round_seconds: how long one attempt may take.
        open_seconds: how long to wait for a lost node's self-mask; a round half opened cannot be repeated.

    Raises:
        ProblemError: ``bad_params``.
    """

    def __init__(
        self, transport: Transport, *, grant: Grant, grant_jws: str, run_id: str, app: InstalledApp,
        params: Mapping[str, Any], participants: Sequence[str], progress: Progress = _silent,
        rounds: RoundStore | None = None, round_seconds: float = 300.0, open_seconds: float = 60.0,
    ) -> None:
        self._watcher = progress
        self._store = rounds
        self._repeating = rounds is not None and rounds.load(1) is not None
        self.raw_params = dict(params)
        self.params = app.load().params(params)
        self._transport, self._grant, self._run_id, self._app = transport, grant, run_id, app
        self._grant_jws = grant_jws
        self._grant_digest = grant_digest(grant_jws)
        self._params_json = rfc8785.dumps(self.raw_params).decode()
        self._participants = tuple(sorted(set(participants)))
        self._minimum = max(3, grant.minimum_participants)
        self._lost: list[str] = []
        self._smallest: int | None = None
        self._spent = 0
        self._round_seconds, self._open_seconds = round_seconds, open_seconds
        self._round = 0
        self._rounds = 0
        self._cancelled = threading.Event()
        self._run = _flower.empty_run(run_id)
        self._replies: dict[str, Message] = {}

    # --- for apps ------------------------------------------------------------------------------------------------

    @property
    def participants(self) -> tuple[str, ...]:
        """The departments still taking part."""
        return self._participants

    @property
    def round(self) -> int:
        """The number of the last round begun, from 1."""
        return self._round

    @property
    def own_figures(self) -> bool:
        """Whether the grant lets results show what is one department's own figure."""
        return self._grant.own_figures

    @property
    def noisy(self) -> bool:
        """Whether the sums carry noise (release mode ``dp``): they are no exact counts, and may be negative."""
        return self._grant.release == "dp"

    @property
    def privacy(self) -> PrivacyTerms | None:
        """The grant's terms of differential privacy; None where answers are exact."""
        return self._grant.privacy

    @property
    def spent_nano(self) -> int:
        """What the run's questions so far cost at each department, in nano-ρ, however often they were asked before."""
        return self._spent

    def sole_values(self, resource: str) -> dict[str, frozenset[str]]:
        """By column, the declared values of a dimension that fewer than two departments have: groups of these are one
        department's own, and shown only with :attr:`own_figures`."""
        return {entry.column: frozenset(entry.values) for entry in self._grant.sole_values if entry.resource == resource}

    @property
    def minimum_cohort(self) -> int:
        """The grant's minimum cohort; what is about fewer rows must not be in a result."""
        return self._grant.minimum_cohort

    @property
    def smallest_cohort(self) -> int:
        """The fewest rows that any sum of this run was about, as the nodes counted them; 0 before the first."""
        return self._smallest or 0

    def plan(self, rounds: int) -> None:
        """Say how many rounds are to be expected in all, for progress."""
        self._rounds = rounds

    def progress(self, round_: int, rounds: int, code: str, /, **args: object) -> None:
        """Report progress, unless it is of a round told by an earlier run."""
        if not self._repeating:
            self._watcher(round_, rounds, code, **args)

    def tell(self, code: str, **args: object) -> None:
        """Report progress under the current round."""
        self.progress(self._round, max(self._rounds, self._round), code, **args)

    def secure_sum(
        self, message_type: str, *, expect: Mapping[str, int], config: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Floats] | None = None,
    ) -> Sum:
        """Ask every participant one question and return the sum of the answers.

        Args:
            message_type: the action, ``query.tally`` for instance.
            expect: how many elements each answered vector has.
            config: small values for the handler.
            arrays: arrays for the handler.

        Raises:
            ProblemError: ``departments_lost`` naming them, ``participants_too_few`` if there never were enough,
                ``round_lost``, or the question itself is out of bounds.
            NodeFailure: a department refused.
            ApprovalsPending: departments have to approve it first.
            RunCancelled: the run was cancelled.
        """
        return self._ask(message_type, _flower.question_content(config, arrays, expect), dict(expect))

    def cancel(self) -> None:
        """Stop the run: the question under way ends with :class:`RunCancelled`."""
        self._cancelled.set()
        self._transport.cancel(self._run_id)

    # --- one round -----------------------------------------------------------------------------------------------

    def _ask(self, message_type: str, content: RecordDict, expect: Mapping[str, int]) -> Sum:
        self._stop_if_cancelled()
        self._round += 1
        specs = check_question(self._app.manifest, message_type, expect, max_values=self._grant.max_output_values,
                               participants=max(3, len(self._participants)))
        segments = layout(specs, expect)
        self._noise(message_type, expect, self._participants)  # what cannot be answered is not asked
        outgoing = _flower.Outgoing(content, message_type, self._run_id, self._round)
        question = self._question(outgoing, message_type) if self._store is not None else ""
        if self._repeating and (kept := self._kept(question, segments)) is not None:
            return self._sum(kept, specs, message_type, expect)
        attempt = 1
        connected = self._transport.connected()
        self._drop([NodeLost(node) for node in self._participants if node not in connected])
        self.tell("round_started", departments=len(self._participants))
        while True:
            try:
                total = self._collect(outgoing, segments, attempt)
                break
            except _Lost as lost:
                self._drop(lost.failures)
                attempt += 1
                self.tell("round_repeated", attempt=attempt, departments=len(self._participants))
        words = masking.unmask_sum(total, segments, self._open(attempt))
        cohort = ring.integers(words.pop(COHORT))[0]
        finished = StoredRound(question, self._participants, cohort, words)
        if self._store is not None:
            self._store.save(self._round, finished)
        self.tell("round_finished", departments=len(self._participants))
        return self._sum(finished, specs, message_type, expect)

    def _sum(self, finished: StoredRound, specs: Mapping[str, VectorSpec], message_type: str,
             expect: Mapping[str, int]) -> Sum:
        self._participants = finished.participants
        self._smallest = finished.cohort if self._smallest is None else min(self._smallest, finished.cohort)
        planned = self._noise(message_type, expect, finished.participants)
        self._spent += noise.cost(planned)
        return Sum(finished.words, specs, finished.cohort, finished.participants, planned)

    def _noise(self, message_type: str, expect: Mapping[str, int], participants: Sequence[str]) -> dict[str, VectorNoise]:
        """The noise that every department adds by itself; nothing where answers are exact."""
        if self._grant.privacy is None:
            return {}
        app = self._app.load()
        return plan_noise(app, self.params, message_type, expect, self._grant.privacy,
                          participants=max(3, len(participants)),
                          departments=holders(self._grant, app.tables(self.params)))

    def _question(self, outgoing: _flower.Outgoing, message_type: str) -> str:
        """The digest by which the nodes know this question, whichever run puts it."""
        content = _flower.read_question(outgoing.to_node(1, "")).content_digest
        return masking.question_digest(
            grant_digest=self._grant_digest, app_name=self._app.name, app_digest=self._app.digest,
            purpose=self._grant.purpose, params_json=self._params_json, message_type=message_type, content_digest=content)

    def _kept(self, question: str, segments: Sequence[Segment]) -> StoredRound | None:
        """This round as it was kept; ``None`` from the first round on that was not."""
        if self._store is None:
            return None
        kept = self._store.load(self._round)
        wanted = {segment.name: (segment.limbs, segment.length) for segment in segments if segment.name != COHORT}
        if kept is not None and kept.question == question and wanted == {name: words.shape for name, words in kept.words.items()}:
            return kept
        self._repeating = False
        if kept is not None:  # another version of an app, or one that rolls dice: what follows would not fit either
            self._store.discard(self._round)
            self.tell("rounds_discarded", kept=self._round - 1)
        if self._round > 1:
            self.tell("rounds_resumed", kept=self._round - 1)
        return None

    def _drop(self, failures: Sequence[NodeFailure]) -> None:
        lost = {failure.node_id for failure in failures}
        for failure in failures:
            self.tell("department_lost", node=failure.node_id, reason=failure.code)
        self._lost += sorted(lost)
        self._participants = tuple(node for node in self._participants if node not in lost)
        if len(self._participants) >= self._minimum:
            return
        self._transport.cancel(self._run_id)
        if not self._lost:
            raise ProblemError(problems.PARTICIPANTS_TOO_FEW, minimum=self._minimum)
        names = {node.node_id: node.name for node in self._grant.nodes}
        raise ProblemError(problems.DEPARTMENTS_LOST, left=len(self._participants), minimum=self._minimum,
                           lost=[names.get(node, node) for node in self._lost]) from (failures[0] if failures else None)

    def _collect(self, outgoing: _flower.Outgoing, segments: Sequence[Segment], attempt: int) -> dict[str, Words]:
        """All participants' masked answers, added up as they come."""
        asked = {
            self._transport.submit(self._request(outgoing, node, number, attempt)): node
            for number, node in enumerate(self._participants, start=2)
        }
        size = sum(segment.words for segment in segments)
        answers: list[dict[str, Words]] = []
        lost: list[NodeFailure] = []

        def take(future: Future[Any], node: str) -> None:
            try:
                words = _flower.read_masked(future.result().flower_message, segments)
            except NodeFailure as failure:
                if not failure.retryable:
                    raise
                lost.append(failure)
            except ValueError:
                raise NodeFailure(node, problems.OUTPUT_UNDECLARED) from None
            else:
                answers.append(words)
                if len(answers) * size > _KEPT_WORDS:
                    answers[:] = [masking.sum_masked(answers, segments)]

        self._gather(asked, self._round_seconds, take, partial(NodeFailure, code=problems.TASK_EXPIRED), lost)
        if lost:
            raise _Lost(lost)
        return masking.sum_masked(answers, segments)

    def _open(self, attempt: int) -> list[bytes]:
        """Every participant's self-mask seed."""
        self.tell("round_opening", departments=len(self._participants))
        asked = {
            self._transport.open(OpenRequest(self._task_id(node, attempt), node, self._run_id, self._round, attempt)): node
            for node in self._participants
        }
        seeds: list[bytes] = []
        lost: list[NodeFailure] = []

        def take(future: Future[Any], node: str) -> None:
            try:
                seeds.append(future.result().self_mask_seed)
            except NodeFailure as failure:
                if not failure.retryable:
                    raise
                lost.append(failure)

        self._gather(asked, self._open_seconds, take, NodeLost, lost)
        if lost:
            # Others may have opened already, and they open no second attempt: the run has to begin anew.
            for failure in lost:
                self.tell("department_lost", node=failure.node_id, reason=failure.code)
            self._transport.cancel(self._run_id)
            raise ProblemError(problems.ROUND_LOST) from lost[0]
        return seeds

    def _gather(
        self, asked: Mapping[Future[Any], str], seconds: float, take: Callable[[Future[Any], str], None],
        late: Callable[[str], NodeFailure], lost: list[NodeFailure],
    ) -> None:
        """Take every answer as it comes; ends at the first refusal, at cancellation, or when time is up."""
        pending = set(asked)
        # Each answer wakes this thread once; to wait for a set of futures is to sign up with all of them again for each.
        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        for asked_now in asked:
            asked_now.add_done_callback(ended.put)
        deadline = time.monotonic() + seconds
        unapproved: list[NodeFailure] = []
        try:
            while pending:
                self._stop_if_cancelled()
                with suppress(Empty):
                    future = ended.get(timeout=_POLL_SECONDS)
                    pending.discard(future)
                    try:
                        take(future, asked[future])
                    except NodeFailure as failure:
                        if failure.code != problems.APPROVAL_PENDING:
                            raise
                        unapproved.append(failure)
                        deadline = min(deadline, time.monotonic() + _OTHERS_SECONDS)
                if pending and ended.empty() and time.monotonic() > deadline:
                    if not unapproved:
                        lost.extend(late(asked[future]) for future in pending)
                    break
            if unapproved:
                raise ApprovalsPending(unapproved)
        except NodeFailure as failure:
            self._stop_if_cancelled(failure)
            self._transport.cancel(self._run_id)
            raise

    def _request(self, outgoing: _flower.Outgoing, node: str, number: int, attempt: int) -> TaskRequest:
        task_id = self._task_id(node, attempt)
        return TaskRequest(
            task_id=task_id, node_id=node, run_id=self._run_id, round=self._round, attempt=attempt, grant=self._grant_jws,
            grant_digest=self._grant_digest, app_name=self._app.name, app_digest=self._app.digest,
            purpose=self._grant.purpose, participants=self._participants,
            flower_message=outgoing.to_node(number, task_id), params_json=self._params_json,
            deadline_ms=int(self._round_seconds * 1000),
        )

    def _task_id(self, node: str, attempt: int) -> str:
        return f"{self._run_id}/{self._round}/{attempt}/{node}"

    def _stop_if_cancelled(self, cause: BaseException | None = None) -> None:
        if self._cancelled.is_set():
            raise RunCancelled from cause

    # --- flwr.serverapp.Grid -------------------------------------------------------------------------------------

    def set_run(self, run: _flower.Run) -> None:
        """Set the Flower run shown by :attr:`run`."""
        self._run = run

    @property
    def run(self) -> _flower.Run:
        """The Flower run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message; which node it names makes no difference, since every question goes to all."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Flower's numbers of the participants; they hold for the current round only."""
        return range(2, 2 + len(self._participants))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the messages, which must all put the same question, as one secure sum.

        Raises:
            ValueError: different questions in one round; a sum of answers to different questions means nothing.
        """
        batch = list(messages)
        if not batch:
            return []
        first = batch[0]
        if any(message.content is not first.content and message.content != first.content for message in batch) or any(
            message.metadata.message_type != first.metadata.message_type for message in batch
        ):
            raise ValueError("all messages of a round must put the same question")
        expect = _flower.expected(first.content)
        result = self._ask(first.metadata.message_type, first.content, expect)
        key = f"{self._run_id}/{self._round}"
        self._replies[key] = _flower.sum_reply(first, result.vectors, result.cohort, len(result.participants))
        return [key]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to pushed messages; each is given out once."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Put one question to all participants and return a single message with the sums; no messages, no round."""
        return self.pull_messages(self.push_messages(messages))
