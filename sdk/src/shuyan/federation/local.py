"""A federation in one process: an authority, nodes and a transport, with the same grants, checks and masks.

For tests and for developers' sandboxes. Nothing here is less strict than on a real node, except that the app runs in
this process instead of a worker, and that openings are remembered in memory only.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shuyan.federation import _flower, problems
from shuyan.federation.apps.base import InstalledApp, installed
from shuyan.federation.checks import CheckedTask, check_task
from shuyan.federation.differencing import Asked, Basis, GuardRules, MemoryGuard
from shuyan.federation.egress import check_output
from shuyan.federation.failures import code_for
from shuyan.federation.grid import SecureGrid
from shuyan.federation.inputs import Inputs, TableSource
from shuyan.federation.masking import AgreementKey, MaskContext, mask_vectors
from shuyan.federation.opening import OpenBook
from shuyan.federation.own import OwnFigures
from shuyan.federation.privacy import noise
from shuyan.federation.privacy.bounding import Bounding
from shuyan.federation.privacy.ledger import MemoryLedger
from shuyan.federation.privacy.noise import VectorNoise
from shuyan.federation.ring import Words
from shuyan.federation.schema import Schema
from shuyan.federation.transport import (
    NodeFailure,
    NodeLost,
    OpenReply,
    OpenRequest,
    TaskReply,
    TaskRequest,
    Transport,
)
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedApp, GrantedResource, ParticipantKeys, sign_grant, verify_grant
from shuyan.trust.keys import b64url, b64url_decode

R = TypeVar("R")
_KEPT_RUNS = 8


@dataclass(frozen=True)
class LocalResource:
    """A table of one local node: a schema, and what reads given columns of it."""

    schema: Schema
    paths: tuple[str, ...] = ()
    kind: Literal["csv", "parquet"] = "csv"
    columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]] | None = field(default=None, repr=False)

    @classmethod
    def files(cls, paths: Sequence[Path], kind: Literal["csv", "parquet"], schema: Schema) -> LocalResource:
        """A table in files."""
        return cls(schema, tuple(str(path) for path in paths), kind)

    @classmethod
    def arrays(cls, arrays: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]], schema: Schema) -> LocalResource:
        """A table in memory."""
        return cls(schema, columns=arrays)

    def source(self, name: str, columns: Sequence[str], bounding: Bounding | None = None) -> TableSource:
        """How given columns of it are read."""
        if self.columns is None:
            return replace(TableSource.of_files(name, self.paths, self.kind, self.schema, columns), bounding=bounding)
        return TableSource.of_arrays(name, self.columns, self.schema, columns, bounding=bounding)


@dataclass
class _Task:
    request: TaskRequest
    checked: CheckedTask
    reply: TaskReply
    seed: bytes


@dataclass
class LocalNode:
    """One department. :meth:`answer` and :meth:`open` follow the sequence of :mod:`shuyan.federation`."""

    node_id: str
    resources: Mapping[str, LocalResource]
    authority: Ed25519PublicKey
    apps: Mapping[str, InstalledApp]
    key: AgreementKey = field(default_factory=AgreementKey.generate)
    book: OpenBook = field(default_factory=OpenBook)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    guard: MemoryGuard = field(default_factory=MemoryGuard)
    _asked: dict[str, Basis] = field(default_factory=dict, repr=False)
    _tasks: dict[str, _Task] = field(default_factory=dict)
    _inputs: dict[tuple[str, str], Inputs] = field(default_factory=dict)
    _verified: dict[str, Grant] = field(default_factory=dict, repr=False)

    def answer(self, request: TaskRequest) -> TaskReply:
        """Answer one task.

        Raises:
            ProblemError: why not.
        """
        known = self._tasks.get(request.task_id)
        if known is not None:
            if known.request != request:
                raise ProblemError(problems.TASK_REPLAYED)
            return known.reply
        grant = self._grant(request)
        try:
            question = _flower.read_question(request.flower_message)
        except ValueError:
            raise ProblemError(problems.BAD_PARAMS, field="flower_message", where="flower_message") from None
        schemas = {name: resource.schema for name, resource in self.resources.items()}
        task = check_task(request, question, grant, self.node_id, self.apps, schemas)
        self.book.check(request.run_id, request.round, request.attempt, task.question, request.participants)
        words = self._exact(request, task, grant) if task.noise is None else self._noisy(request, task, grant, task.noise)
        context = MaskContext(request.run_id, request.round, request.attempt, request.participants, task.question)
        peers = {node.node_id: b64url_decode(node.agreement_key) for node in grant.nodes}
        masked = mask_vectors(words, task.segments, context, self.node_id, self.key, peers)
        reply = TaskReply(request.task_id, self.node_id, _flower.masked_reply(request.flower_message, masked.words))
        self._tasks[request.task_id] = _Task(request, task, reply, masked.seed)
        return reply

    def open(self, request: OpenRequest) -> OpenReply:
        """Reveal a self-mask seed, once per round.

        Raises:
            ProblemError: why not.
        """
        task = self._tasks.get(request.task_id)
        asked = (request.run_id, request.round, request.attempt)
        if task is None or (task.request.run_id, task.request.round, task.request.attempt) != asked:
            raise ProblemError(problems.TASK_UNKNOWN)
        self.book.check(*asked, task.checked.question, task.request.participants)
        if request.task_id in self._asked:
            self.guard.open(self._asked.pop(request.task_id))
        self.book.open(*asked, task.checked.question, task.request.participants)
        return OpenReply(request.task_id, self.node_id, task.seed)

    def _exact(self, request: TaskRequest, task: CheckedTask, grant: Grant) -> dict[str, Words]:
        return self._compute(request, task, grant, grant.minimum_cohort)

    def _noisy(
        self, request: TaskRequest, task: CheckedTask, grant: Grant, planned: Mapping[str, VectorNoise]
    ) -> dict[str, Words]:
        self.ledger.charge(task.question, grant, tuple(task.tables), noise.cost(planned))
        words = self.ledger.stored(task.question, request.participants)
        if words is None:
            # Whether few or many rows are there must not show, so it decides nothing.
            words = self._compute(request, task, grant, 0)
            noise.add_noise(words, planned)
            words = self.ledger.keep(task.question, request.participants, words)
        return words

    def _compute(self, request: TaskRequest, task: CheckedTask, grant: Grant, minimum_cohort: int) -> dict[str, Words]:
        try:
            plain = _flower.answer(task.app, request.flower_message, task.params, self._read(request, task, grant),
                                   OwnFigures.of(grant))
        except Exception as error:
            raise ProblemError(code_for(error)) from error
        words = check_output(task.specs, task.expect, plain.vectors, plain.cohort, minimum_cohort=minimum_cohort)
        if task.noise is None:
            asked = Asked.under(
                grant, self.guard.rules, run_id=request.run_id, participants=request.participants, columns=task.tables,
                rows=plain.rows)
            self.guard.answer(asked, minimum_cohort)
            self._asked[request.task_id] = asked.basis
        return words

    def _grant(self, request: TaskRequest) -> Grant:
        grant = self._verified.get(request.grant)
        if grant is None:  # once a grant: every round brings it again
            self._verified.clear()
            grant = self._verified[request.grant] = verify_grant(request.grant, self.authority)
        now = time.time()
        if now < grant.nbf:
            raise ProblemError(problems.GRANT_NOT_YET_VALID)
        if now >= grant.exp:
            raise ProblemError(problems.GRANT_EXPIRED)
        mine = b64url(self.key.public)
        if not any(node.node_id == self.node_id and node.agreement_key == mine for node in grant.nodes):
            raise ProblemError(problems.GRANT_OTHER_NODE)
        return grant

    def _read(self, request: TaskRequest, task: CheckedTask, grant: Grant) -> Inputs:
        key = (request.run_id, repr((task.tables, task.units, grant.privacy)))
        if key not in self._inputs:
            bounding = {name: Bounding(column, grant.privacy.max_rows_per_unit, self.salt, grant.privacy.max_groups_per_unit)
                        for name, column in task.units.items() if grant.privacy is not None}
            self._inputs[key] = Inputs.from_tables(
                [self.resources[name].source(name, columns, bounding.get(name)) for name, columns in task.tables.items()],
                in_place=task.app.in_place)
            while len(self._inputs) > _KEPT_RUNS:
                self._inputs.pop(next(iter(self._inputs))).close()
        return self._inputs[key]

    def close(self) -> None:
        """Forget all data read."""
        for inputs in self._inputs.values():
            inputs.close()
        self._inputs.clear()


class LocalTransport(Transport):
    """Carries requests to nodes in this process, each node in a thread of its own.

    Attributes:
        carried: everything that passed, in order, if recording: what a coordinator gets to see.
        offline: ids of nodes that cannot be reached.
    """

    def __init__(self, nodes: Sequence[LocalNode], *, record: bool = False) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self._threads = {node.node_id: ThreadPoolExecutor(1, thread_name_prefix=node.node_id) for node in nodes}
        self._record = record
        self.carried: list[object] = []
        self.offline: set[str] = set()
        self.cancelled: set[str] = set()

    def connected(self) -> set[str]:
        return set(self._nodes) - self.offline

    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        return self._carry(request, self._nodes[request.node_id].answer)

    def open(self, request: OpenRequest) -> Future[OpenReply]:
        return self._carry(request, self._nodes[request.node_id].open)

    def cancel(self, run_id: str) -> None:
        self.cancelled.add(run_id)

    def _carry(self, request: Any, handle: Callable[[Any], R]) -> Future[R]:
        if self._record:
            self.carried.append(request)
        return self._threads[request.node_id].submit(self._deliver, request, handle)

    def _deliver(self, request: Any, handle: Callable[[Any], R]) -> R:
        node_id: str = request.node_id
        if node_id in self.offline:
            raise NodeLost(node_id)
        if request.run_id in self.cancelled:
            raise NodeFailure(node_id, problems.RUN_CANCELLED)
        try:
            reply = handle(request)
        except ProblemError as error:
            raise NodeFailure(node_id, error.code, error.args_) from None
        if self._record:
            self.carried.append(reply)
        return reply

    def close(self) -> None:
        """Stop the threads and drop all data."""
        for thread in self._threads.values():
            thread.shutdown()
        for node in self._nodes.values():
            node.close()


class LocalFederation:
    """Departments, an authority that grants what they have, and a coordinator, in one process.

    Args:
        resources: by node id, then by resource name.
        record: keep everything the transport carries.
        grant: fields of the grant other than the defaults (everything granted, for an hour, cohort 10).
        guard: the rules of every node's differencing guard.
        apps: those there are; the installed ones by default.
    """

    def __init__(
        self, resources: Mapping[str, Mapping[str, LocalResource]], *, record: bool = False,
        grant: Mapping[str, Any] | None = None, guard: GuardRules | None = None, apps: Mapping[str, InstalledApp] | None = None,
    ) -> None:
        self._authority = Ed25519PrivateKey.generate()
        self.apps = installed() if apps is None else dict(apps)
        self.nodes = {
            node_id: LocalNode(node_id, tables, self._authority.public_key(), self.apps,
                               guard=MemoryGuard(guard or GuardRules()))
            for node_id, tables in resources.items()
        }
        self.transport = LocalTransport(list(self.nodes.values()), record=record)
        self.grant = self._everything().model_copy(update=dict(grant or {}))
        self.grant_jws = self.sign(self.grant)
        self._runs = 0

    def sign(self, grant: Grant) -> str:
        """A grant signed by this federation's authority."""
        return sign_grant(grant, self._authority)

    def grid(self, app: str, params: Mapping[str, Any], **options: Any) -> SecureGrid:
        """A grid for one run over all departments; ``domains`` are filled in from the nodes if missing."""
        self._runs += 1
        return SecureGrid(self.transport, grant=self.grant, grant_jws=self.grant_jws, run_id=f"local-{self._runs}",
                          app=self.apps[app], params=self._with_domains(app, params),
                          **{"participants": tuple(self.nodes), **options})

    def run(self, app: str, params: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Run an app and return the result's content."""
        return self.apps[app].load().run(self.grid(app, params, **options))

    def _with_domains(self, app: str, params: Mapping[str, Any]) -> dict[str, Any]:
        prepare = self.apps[app].load().prepare
        if prepare is not None and not params.get("schemas"):
            schemas: dict[str, list[Schema]] = {}
            for node in self.nodes.values():
                for name, resource in node.resources.items():
                    schemas.setdefault(name, []).append(resource.schema)
            sole = {(entry.resource, entry.column): frozenset(entry.values) for entry in self.grant.sole_values}
            return prepare(params, schemas, sole, self.grant.release == "dp")
        if self.grant.privacy is not None and "bounds" in self.apps[app].load().params_model.model_fields:
            params = {"bounds": self._bounds(params.get("resource", "")), **params}
        if "domains" in params or prepare is not None:
            return dict(params)
        named = {*params.get("features", ()), params.get("target"), *(name for dims in params.get("group_by", ()) for name in dims)}
        domains: dict[str, dict[str, None]] = {}
        for node in self.nodes.values():
            found = node.resources.get(params.get("resource", ""))
            for name, column in (found.schema if found else {}).items():
                if name in named and column.domain:
                    domains.setdefault(name, {}).update(dict.fromkeys(column.domain))
        return {**params, "domains": {name: sorted(values) for name, values in domains.items()}}

    def _bounds(self, resource: str) -> dict[str, list[float]]:
        """The widest bounds that the departments declare, of columns for which all of them do."""
        bounds: dict[str, list[float]] = {}
        columns = [node.resources[resource].schema for node in self.nodes.values() if resource in node.resources]
        for name in set().union(*columns):
            known = [(schema[name].lower, schema[name].upper) for schema in columns if name in schema]
            lower, upper = [low for low, _ in known if low is not None], [high for _, high in known if high is not None]
            if len(lower) == len(upper) == len(columns):
                bounds[name] = [min(lower), max(upper)]
        return bounds

    def _everything(self) -> Grant:
        now = int(time.time())
        granted = [
            GrantedResource(resource_id=f"{node_id}.{name}", node_id=node_id, name=name,
                            columns=tuple(column for column in table.schema if not table.schema[column].identifier))
            for node_id, node in self.nodes.items() for name, table in node.resources.items()
        ]
        keys = [
            ParticipantKeys(node_id=node_id, name=node_id, signing_key=b64url(node.key.public),
                            agreement_key=b64url(node.key.public))
            for node_id, node in self.nodes.items()
        ]
        return Grant(
            iss="local", jti="local", iat=now, nbf=now - 60, exp=now + 3600, scenario="local", scenario_title="local",
            purpose="local", grantee="local", grantee_name="local", resources=tuple(granted),
            apps=tuple(GrantedApp(name=app.name, digest=app.digest) for app in self.apps.values()), nodes=tuple(keys),
            minimum_cohort=10, minimum_participants=3, output_forms=("statistics", "model"),
        )

    def __enter__(self) -> LocalFederation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything."""
        self.transport.close()
