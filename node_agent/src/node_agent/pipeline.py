"""The one way a task can be answered: every stage takes what only the stage before it makes.

*verify grant → local policy and approval → privacy budget → run in the worker → egress check → noise → mask → journal →
reply*. Noise is of grants with differential privacy only; what they ask again is not computed again but given again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import rfc8785
import structlog

from node_agent.approvals import Approvals
from node_agent.budget import Budgets, Spending
from node_agent.config import Config
from node_agent.grants import Grants
from node_agent.programs import Programs
from node_agent.resources import Registered, Resources
from node_agent.tasks import Answered, TaskBook, request_digest
from node_agent.worker.host import Table, Work, WorkerFailureError
from node_agent.worker.pool import Workers
from shuyan.federation import problems
from shuyan.federation.transport import TaskRequest
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant
from shuyan.trust.keys import b64url_decode
from shuyan_protos.link.v1 import link_pb2

if TYPE_CHECKING:
    from node_agent.guard import Guard, Memory
    from shuyan.federation.checks import CheckedTask
    from shuyan.federation.masking import AgreementKey
    from shuyan.federation.ring import Words
    from shuyan.federation.schema import Column

FORBIDDEN_GRADE = 4  # core data: no grant makes it available

# Vectors longer than this are masked in a thread, so that heartbeats go on meanwhile.
_LONG_VECTOR = 20_000
_REMEMBERED_RUNS = 10_000
_MANY_ROWS = 10_000_000  # of remembered sets: they are compared in a thread
_MAX_ID = 200
_MAX_PARAMS = 1024 * 1024

_log = structlog.get_logger("node.pipeline")


@dataclass(frozen=True)
class _Verified:
    """A task within a grant that holds now, asked of a registered resource."""

    request: TaskRequest
    grant: Grant
    task: CheckedTask
    resources: tuple[Registered, ...]
    deadline: float  # time.monotonic()


@dataclass(frozen=True)
class _Admitted:
    """The department lets it happen."""

    verified: _Verified
    minimum_cohort: int


@dataclass(frozen=True)
class _Budgeted:
    admitted: _Admitted
    spending: Spending


@dataclass(frozen=True)
class _Computed:
    """What the worker returned: plain, unchecked; it lives in this process only."""

    budgeted: _Budgeted
    answer: bytes = field(repr=False)


@dataclass(frozen=True)
class _Checked:
    """Declared, finite, bounded, about enough rows: ring elements, not yet masked."""

    computed: _Computed
    words: dict[str, Words] = field(repr=False)
    rows: bytes = field(repr=False)


@dataclass(frozen=True)
class _Guarded:
    """About rows that no earlier answer comes too close to; with noise there is nothing to be remembered."""

    checked: _Checked
    memory: Memory | None = field(repr=False)


@dataclass(frozen=True)
class _Noisy:
    """Ring elements that may be part of a sum: exact ones, or with this department's share of the noise."""

    budgeted: _Budgeted
    words: dict[str, Words] = field(repr=False)
    memory: Memory | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Masked:
    noisy: _Noisy
    flower_message: bytes = field(repr=False)
    seed: bytes = field(repr=False)


class TaskPipeline:
    """Answers tasks. There is no other code that turns a request into a reply.

    Args:
        node_id: this node.
        config: local policy and limits.
        grants, programs, resources, approvals, budgets: what the stages ask.
        salt: what decides which rows of a unit are left out, where contributions are bounded.
        worker: where apps run.
        tasks: the durable record.
        agreement: this node's X25519 key with its cached pairwise secrets.
        guard: what was answered about which rows.
    """

    def __init__(self, *, node_id: str, config: Config, grants: Grants, programs: Programs, resources: Resources,
                 approvals: Approvals, budgets: Budgets, salt: Callable[[], str], worker: Workers, tasks: TaskBook,
                 agreement: AgreementKey, guard: Guard) -> None:
        self._node_id = node_id
        self._config = config
        self._grants = grants
        self._programs = programs
        self._resources = resources
        self._approvals = approvals
        self._budgets = budgets
        self._salt = salt
        self._worker = worker
        self._tasks = tasks
        self._agreement = agreement
        self._differencing = guard
        self._underway: dict[str, tuple[str, asyncio.Future[link_pb2.TaskReply]]] = {}
        self._computing: dict[str, tuple[str, str]] = {}  # task id -> (run id, grant id)
        self._cancelled: set[str] = set()

    @property
    def running(self) -> int:
        """Tasks being answered now."""
        return len(self._underway)

    async def cancel(self, run_id: str) -> None:
        """Stop work on a run at once; its tasks answer ``run_cancelled``."""
        self._cancelled.add(run_id)
        if len(self._cancelled) > _REMEMBERED_RUNS:
            self._cancelled.clear()
        await self._worker.cancel(run_id)

    async def revoked(self, grant_ids: Callable[[str], bool]) -> None:
        """Grants were revoked or held: stop their tasks."""
        for run_id, grant_id in list(self._computing.values()):
            if grant_ids(grant_id):
                await self._worker.cancel(run_id)

    async def answer(self, request: link_pb2.TaskRequest) -> link_pb2.TaskReply:
        """The reply to a task: masked, or a failure by code. A task id is answered once; then the answer is repeated."""
        if not (0 < len(request.task_id) <= _MAX_ID and 0 < len(request.run_id) <= _MAX_ID
                and len(request.params_json) <= _MAX_PARAMS):
            return _failure(request.task_id[:_MAX_ID], ProblemError(problems.BAD_PARAMS, where="task_id"))
        digest = request_digest(request)
        underway = self._underway.get(request.task_id)
        if underway is not None:
            if underway[0] != digest:
                return _failure(request.task_id, ProblemError(problems.TASK_REPLAYED))
            return await asyncio.shield(underway[1])
        try:
            earlier = self._tasks.earlier(request.task_id, digest)
        except ProblemError as problem:
            return _failure(request.task_id, problem)
        if earlier is not None:
            return earlier
        future: asyncio.Future[link_pb2.TaskReply] = asyncio.get_running_loop().create_future()
        self._underway[request.task_id] = (digest, future)
        try:
            reply = await self._answer(request, digest)
            future.set_result(reply)
        finally:
            del self._underway[request.task_id]
            future.cancel()
        return reply

    async def _answer(self, request: link_pb2.TaskRequest, digest: str) -> link_pb2.TaskReply:
        try:
            verified = self._verify(request)
            admitted = self._admit(verified)
            budgeted = self._spend(admitted)
            if budgeted.spending.stored is None:
                computed = await self._compute(budgeted)
                checked = self._check_egress(computed)
                guarded = await self._guard(checked)
                noisy = await self._noise(guarded)
            else:
                noisy = _Noisy(budgeted, dict(budgeted.spending.stored))
            masked = await self._mask(noisy)
            return self._record(masked, digest)
        except ProblemError as problem:
            reply = _failure(request.task_id, problem)
            self._programs.failed(request.app_name, request.app_digest, problem.code)
        except Exception:
            _log.exception("task failed", task=request.task_id)
            reply = _failure(request.task_id, ProblemError(problems.INTERNAL))
        self._tasks.record_failure(request, digest, reply)
        return reply

    def _verify(self, request: link_pb2.TaskRequest) -> _Verified:
        """Stage 1: the grant holds now, and the task is within it."""
        from shuyan.federation import _flower
        from shuyan.federation.checks import check_task

        started = time.monotonic()
        if request.run_id in self._cancelled:
            raise ProblemError(problems.RUN_CANCELLED)
        grant = self._grants.usable(request.grant, request.grant_digest)
        asked = TaskRequest(
            task_id=request.task_id, node_id=self._node_id, run_id=request.run_id, round=request.round,
            attempt=request.attempt, grant=request.grant, grant_digest=request.grant_digest,
            app_name=request.app_name, app_digest=request.app_digest, purpose=request.purpose,
            participants=tuple(request.participants), flower_message=request.flower_message,
            params_json=request.params_json, deadline_ms=request.deadline_ms)
        _check_canonical(request.params_json)
        try:
            question = _flower.read_question(request.flower_message)
        except ValueError:
            raise ProblemError(problems.BAD_PARAMS, field="flower_message", where="flower_message") from None
        registered = self._resources.by_name
        task = check_task(asked, question, grant, self._node_id, self._programs.installed,
                          {name: item.schema for name, item in registered.items()})
        limit = min(self._config.worker.task_seconds, float(task.app.manifest.limits.seconds))
        if request.deadline_ms:
            limit = min(limit, request.deadline_ms / 1000)
        return _Verified(asked, grant, task, tuple(registered[name] for name in task.tables), started + limit)

    def _admit(self, verified: _Verified) -> _Admitted:
        """Stage 2: the department's own policy: grade, allow-list, approval, and that it could be opened later."""
        request, task = verified.request, verified.task
        for item in verified.resources:
            if item.resource.grade >= FORBIDDEN_GRADE:
                raise ProblemError(problems.GRANT_WIDENED, what=item.resource.name)
        self._programs.require(request.app_name, request.app_digest)
        self._tasks.foresee(request.run_id, request.round, request.attempt, task.question, request.participants)
        for item in verified.resources:
            if item.resource.approval != "automatic":
                self._approvals.check(
                    verified.grant, grant_digest=request.grant_digest, resource=item.resource.name,
                    app_name=request.app_name, app_digest=request.app_digest, params_json=request.params_json)
        return _Admitted(verified, max(verified.grant.minimum_cohort, self._config.policy.minimum_cohort))

    def _spend(self, admitted: _Admitted) -> _Budgeted:
        """Stage 3: the privacy budget. What is asked again is paid for, and answered as before."""
        from shuyan.federation.privacy import noise

        grant, task, request = admitted.verified.grant, admitted.verified.task, admitted.verified.request
        if task.noise is None:
            return _Budgeted(admitted, Spending("exact"))
        charged = self._budgets.charge(task.question, grant, tuple(task.tables), noise.cost(task.noise), request.app_name)
        stored = None if charged else self._budgets.stored(task.question, request.participants)
        return _Budgeted(admitted, Spending("dp", charged, stored))

    async def _compute(self, budgeted: _Budgeted) -> _Computed:
        """Stage 4: the app runs in the worker, on the granted columns."""
        from shuyan.federation.own import OwnFigures

        verified = budgeted.admitted.verified
        request = verified.request
        tables = tuple(self._table(item, verified) for item in verified.resources)
        self._computing[request.task_id] = (request.run_id, verified.grant.jti)
        try:
            answer = await self._worker.run(Work(
                run_id=request.run_id, app=request.app_name, tables=tables, params_json=request.params_json,
                flower_message=request.flower_message, max_values=verified.grant.max_output_values,
                package=self._programs.package(request.app_name), app_digest=request.app_digest,
                memory_mb=verified.task.app.manifest.limits.memory_mb, grant=request.grant_digest, own=OwnFigures.of(verified.grant).to_wire()), verified.deadline)
        except WorkerFailureError as failure:
            self._grants.usable("", request.grant_digest)  # revoked meanwhile is why it was stopped
            raise ProblemError(failure.code) from None
        finally:
            del self._computing[request.task_id]
        return _Computed(budgeted, answer)

    def _check_egress(self, computed: _Computed) -> _Checked:
        """Stage 5: what came back is what was declared, and the grant still holds."""
        from shuyan.federation import egress
        from shuyan.federation.answers import PlainAnswer

        admitted = computed.budgeted.admitted
        request, task = admitted.verified.request, admitted.verified.task
        self._grants.usable("", request.grant_digest)
        if request.run_id in self._cancelled:
            raise ProblemError(problems.RUN_CANCELLED)
        try:
            plain = PlainAnswer.from_bytes(computed.answer)
        except ValueError:
            raise ProblemError(problems.OUTPUT_UNDECLARED) from None
        # With noise, whether few or many rows are there must not show: a refusal would be an exact answer to that.
        minimum = admitted.minimum_cohort if task.noise is None else 0
        return _Checked(computed, egress.check_output(task.specs, task.expect, plain.vectors, plain.cohort,
                                                      minimum_cohort=minimum), plain.rows)

    async def _guard(self, checked: _Checked) -> _Guarded:
        """Stage 6, for exact answers: the rows, and the departments, are not too close to those of earlier answers."""
        admitted = checked.computed.budgeted.admitted
        verified = admitted.verified
        request, task, minimum = verified.request, verified.task, admitted.minimum_cohort
        if task.noise is not None:
            return _Guarded(checked, None)
        from node_agent.guard import Memory
        from shuyan.federation.differencing import Asked

        guard = self._differencing
        asked = Asked.under(verified.grant, guard.rules, run_id=request.run_id, participants=request.participants,
                            columns=task.tables, rows=checked.rows)
        try:
            known, state = guard.earlier(asked)
            if sum(rows.universe for sets in known.values() for rows in sets) > _MANY_ROWS:
                new = await asyncio.to_thread(guard.check, asked, known, minimum)
            else:
                new = guard.check(asked, known, minimum)
        except ProblemError as problem:
            guard.refused(asked, problem, task=request.task_id, question=task.question)
            raise
        return _Guarded(checked, Memory(asked, verified.grant, request.app_name, minimum, new, state))

    async def _noise(self, guarded: _Guarded) -> _Noisy:
        """Stage 7, for grants with differential privacy: this department's share of the noise, kept before it is used."""
        from shuyan.federation.privacy.noise import add_noise

        checked = guarded.checked
        budgeted = checked.computed.budgeted
        verified = budgeted.admitted.verified
        request, planned = verified.request, verified.task.noise
        if planned is None:
            return _Noisy(budgeted, checked.words, guarded.memory)
        # An element takes about 10 µs, and the sampler a second to load when it is first needed.
        await asyncio.to_thread(add_noise, checked.words, planned)
        return _Noisy(budgeted, self._budgets.keep(verified.task.question, request.participants, checked.words,
                                                   verified.grant.exp))

    async def _mask(self, noisy: _Noisy) -> _Masked:
        """Stage 8: masks from the keys in the grant, never from keys the coordinator hands out."""
        from shuyan.federation import _flower
        from shuyan.federation.masking import MaskContext, mask_vectors

        verified = noisy.budgeted.admitted.verified
        request, task = verified.request, verified.task
        context = MaskContext(request.run_id, request.round, request.attempt, request.participants, task.question)
        peers = {node.node_id: _decoded(node.agreement_key) for node in verified.grant.nodes}

        def mask() -> tuple[bytes, bytes]:
            masked = mask_vectors(noisy.words, task.segments, context, self._node_id, self._agreement, peers)
            return _flower.masked_reply(request.flower_message, masked.words), masked.seed

        if sum(task.expect.values()) > _LONG_VECTOR:
            message, seed = await asyncio.to_thread(mask)
        else:
            message, seed = mask()
        return _Masked(noisy, message, seed)

    def _record(self, masked: _Masked, digest: str) -> link_pb2.TaskReply:
        """Stage 9: the journal, the answer, its rows and the seed in one commit; then it may leave."""
        with self._differencing.remembering(masked.noisy.memory, masked.noisy.budgeted.admitted.verified.request.task_id):
            return self._record_answer(masked, digest)

    def _record_answer(self, masked: _Masked, digest: str) -> link_pb2.TaskReply:
        budgeted = masked.noisy.budgeted
        verified = budgeted.admitted.verified
        request, task = verified.request, verified.task
        reply = link_pb2.TaskReply(task_id=request.task_id, flower_message=masked.flower_message)
        self._tasks.record_answer(
            Answered(request.task_id, request.run_id, request.round, request.attempt, request.grant_digest,
                     task.question, request.participants, masked.seed),
            digest, reply, grant=verified.grant.jti, app=request.app_name, app_digest=request.app_digest,
            resources={name: list(columns) for name, columns in task.tables.items()}, values=sum(task.expect.values()),
            minimum_cohort=budgeted.admitted.minimum_cohort, budget=budgeted.spending.mode,
            charged_nano=budgeted.spending.charged_nano)
        return reply

    def _table(self, item: Registered, verified: _Verified) -> Table:
        """What the worker reads; the unit's column is for bounding only and not among the task's."""
        name, unit, terms = item.resource.name, None, verified.grant.privacy
        if terms is not None:
            unit = {"column": asdict(verified.task.units[name]), "max_rows": terms.max_rows_per_unit,
                    "max_groups": terms.max_groups_per_unit, "salt": self._salt()}
        return Table(name=name, kind=item.kind, location=item.location, unit=unit,
                     columns=tuple(_described(item.schema[column]) for column in verified.task.tables[name]))


class Opening:
    """The end of a round: one self-mask, of one attempt, among one set of departments; then never again."""

    def __init__(self, grants: Grants, tasks: TaskBook, guard: Guard) -> None:
        self._grants = grants
        self._tasks = tasks
        self._differencing = guard

    def answer(self, request: link_pb2.OpenRequest) -> link_pb2.OpenReply:
        """The seed, recorded and journalled before it is returned, or a failure by code."""
        try:
            task = self._tasks.find_answered(request)
            self._grants.usable("", task.grant_digest)
            with self._differencing.opening(request.task_id):
                seed = self._tasks.open(task)
            return link_pb2.OpenReply(task_id=request.task_id, self_mask_seed=seed)
        except ProblemError as problem:
            return link_pb2.OpenReply(task_id=request.task_id, failure=_as_failure(problem))


@lru_cache(maxsize=1024)  # shared: only ever written out
def _described(column: Column) -> dict[str, Any]:
    return asdict(column)


@lru_cache(maxsize=1024)
def _decoded(key: str) -> bytes:
    return b64url_decode(key)


@lru_cache(maxsize=16)  # of those that pass; every round of a run brings the same
def _check_canonical(params_json: str) -> None:
    """One question has one spelling: other white space must not make it a new one."""
    try:
        if rfc8785.dumps(json.loads(params_json)).decode() == params_json:
            return
    except (ValueError, RecursionError):
        pass
    raise ProblemError(problems.BAD_PARAMS, field="params", where="params")


def _as_failure(problem: ProblemError) -> link_pb2.Failure:
    arguments = {name: str(value)[:200] for name, value in problem.args_.items()}
    return link_pb2.Failure(code=problem.code, args=arguments, retryable=problem.code in problems.RETRYABLE)


def _failure(task_id: str, problem: ProblemError) -> link_pb2.TaskReply:
    return link_pb2.TaskReply(task_id=task_id, failure=_as_failure(problem))
