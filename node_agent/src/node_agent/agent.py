"""The agent: everything of one node wired together, and what it does with each frame of the coordinator."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from node_agent import __version__, errors
from node_agent.admin import Admin
from node_agent.authority import Authority
from node_agent.checkpoints import Checkpoints
from node_agent.config import Identity, NodeDir
from node_agent.grants import Grants
from node_agent.keys import NodeKeys
from node_agent.link import PROTOCOL_VERSIONS, Credentials, Link
from node_agent.pipeline import Opening, TaskPipeline
from node_agent.revocations import Revocations
from node_agent.tasks import TaskBook
from node_agent.worker.host import Limits
from node_agent.worker.pool import Workers
from shuyan import confinement
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2

if TYPE_CHECKING:
    from shuyan.federation.apps import InstalledApp

_PRUNE_SECONDS = 3600.0
_IDLE_RUN_SECONDS = 120.0

# A decision is told again: one made at once may reach the coordinator before it has written down that a job waits.
_TELL_AGAIN_SECONDS = (0.0, 2.0, 30.0)

_TELL_BUDGETS_SECONDS = 1.0

_log = structlog.get_logger("node.agent")


class Agent:
    """One running node.

    Args:
        node_dir: an enrolled node's directory, locked by the caller.
        apps: the installed apps; None: those found by entry point.
        worker_apps: see :class:`~node_agent.worker.host.Worker`.

    Raises:
        ProblemError: ``not_enrolled``, ``key_invalid``, ``node_config_invalid``.
    """

    def __init__(self, node_dir: NodeDir, *, apps: Mapping[str, InstalledApp] | None = None,
                 worker_apps: Mapping[str, str] | None = None) -> None:
        from shuyan.federation.masking import AgreementKey

        identity = node_dir.identity()
        if identity is None:
            raise ProblemError(errors.NOT_ENROLLED)
        self.identity: Identity = identity
        self.admin = Admin(node_dir, apps=apps)
        self.admin.on_change = self._changed
        self.admin.live = self.live
        state, journal = self.admin.state, self.admin.journal
        keys = NodeKeys.load(node_dir)
        config = node_dir.config()
        authority = Authority(node_dir.keys / "authority.pub")
        self.revocations = Revocations(state, journal, authority)
        self.checkpoints = Checkpoints(state, journal, identity.node_id, keys.signing)
        self.tasks = TaskBook(state, journal)
        self.worker = Workers(Limits(config.worker.memory_mb, config.worker.file_mb, spill_mb=config.worker.spill_mb,
                                     threads=config.worker.threads), node_dir.scratch, node_dir.worker_log, worker_apps, required=config.worker.sandbox == "required",
                              sources=self._sources)
        self._layers: tuple[str, ...] | None = None
        grants = Grants(state, authority, self.revocations, identity.node_id, keys, self.admin.holds)
        self.pipeline = TaskPipeline(
            node_id=identity.node_id, config=config, grants=grants, programs=self.admin.programs,
            resources=self.admin.resources, approvals=self.admin.approvals, budgets=self.admin.budgets,
            salt=self.admin.budgets.bounding_salt, worker=self.worker,
            tasks=self.tasks, agreement=AgreementKey(keys.agreement), guard=self.admin.guard)
        self.opening = Opening(grants, self.tasks, self.admin.guard)
        chain = (node_dir.keys / "tls.crt").read_bytes()
        self.link = Link(identity.coordinator_address,
                         Credentials((node_dir.keys / "ca.pem").read_bytes(), keys.tls_pem(), chain), self, journal)
        self._background: set[asyncio.Task[Any]] = set()
        self._telling_budgets = False
        self._refresh_hours = config.measure.refresh_hours
        self._tried_ms: dict[str, int] = {}
        self._measuring = False

    async def run(self) -> None:
        """Serve until cancelled."""
        self.admin.journal.append("node:started", version=__version__)
        self.worker.warm()
        self._spawn(self._look_at_the_sandbox())
        link = asyncio.create_task(self.link.run())
        try:
            pruned = -math.inf
            while True:
                if time.monotonic() - pruned >= _PRUNE_SECONDS:
                    self.tasks.prune()
                    self.admin.budgets.prune()
                    pruned = time.monotonic()
                self._measure_what_is_due()
                await asyncio.sleep(_IDLE_RUN_SECONDS / 4)
                await self.worker.forget_idle(_IDLE_RUN_SECONDS)
        finally:
            link.cancel()
            for task in list(self._background):
                task.cancel()
            await asyncio.gather(link, *self._background, return_exceptions=True)
            await self.worker.stop()
            self.admin.journal.append("node:stopped")

    def _measure_what_is_due(self) -> None:
        """Begin to measure the resources whose figures are older than the settings allow."""
        hours = self._refresh_hours
        now, limit = time.time_ns() // 1_000_000, hours * 3_600_000
        due = [name for name, item in self.admin.resources.by_name.items()
               if hours and now - max(item.resource.profile.measured_at_ms, self._tried_ms.get(name, 0)) >= limit]
        if due and not self._measuring:
            self._measuring = True
            self._tried_ms |= dict.fromkeys(due, now)
            self._spawn(self._measure_again(due))

    async def _measure_again(self, names: Sequence[str]) -> None:
        def measure() -> None:
            admin = Admin(self.admin.node_dir)
            try:
                for name in names:
                    with contextlib.suppress(ProblemError):  # withdrawn meanwhile
                        admin.resources.measure_again(name)
            finally:
                admin.close()

        try:
            await asyncio.to_thread(measure)
            self.admin.changed_elsewhere()
        finally:
            self._measuring = False

    async def _look_at_the_sandbox(self) -> None:
        """Write down which layers there are to shut a process in."""
        self._layers = await asyncio.to_thread(confinement.layers_here)
        self.admin.journal.append("node:sandbox", layers=list(self._layers), sufficient=confinement.sufficient(self._layers))
        if not confinement.sufficient(self._layers):
            _log.warning("no sandbox for developers' apps here", layers=self._layers)

    def _sources(self) -> Iterator[tuple[str, str]]:
        """What the workers will be asked to read."""
        for item in self.admin.resources.by_name.values():
            with contextlib.suppress(ProblemError):
                yield item.kind, item.location

    # --- what the link asks ---

    def hello(self) -> link_pb2.Hello:
        """The first frame of a connection."""
        return link_pb2.Hello(
            protocol_versions=PROTOCOL_VERSIONS, software_version=__version__,
            revocations_number=self.revocations.number, checkpoint_size=self.checkpoints.size,
            apps=self.admin.programs.frame())

    async def connected(self) -> None:
        """Send the resources, and again whatever may not have arrived."""
        await self.link.send(resources=self.admin.resources.frame())
        for frame in self.tasks.undelivered():
            await self.link.send_frame(frame)
        await self._tell_decisions()
        await self._tell_budgets()

    def cut_off(self, code: str) -> None:
        """The coordinator said goodbye for good: nothing asked before is answered after."""
        _log.error("cut off by the coordinator", code=code)
        for task in list(self._background):
            task.cancel()

    def received(self, frame: link_pb2.CoordinatorFrame) -> None:
        """Dispatch one frame; a fault of ours in one must not cost the link."""
        try:
            self._dispatch(frame)
        except Exception:
            _log.exception("frame not handled", kind=frame.WhichOneof("body"))

    def _dispatch(self, frame: link_pb2.CoordinatorFrame) -> None:
        kind = frame.WhichOneof("body")
        if kind == "task_request":
            self._spawn(self._task(frame.task_request))
        elif kind == "open_request":
            self._spawn(self.link.send(open_reply=self.opening.answer(frame.open_request)))
        elif kind == "cancel":
            self._spawn(self._end_run(frame.cancel.run_id))
        elif kind == "revocations":
            self._spawn(self._revocations(frame.revocations.list))
        elif kind == "holds":
            self.admin.holds.tell(frame.holds.grant_ids)
            self._spawn(self._obey_holds(frame.holds.number))
        elif kind == "checkpoint":
            cosignature = self.checkpoints.cosign(frame.checkpoint)
            if cosignature is not None:
                self._spawn(self.link.send(cosignature=cosignature))
        elif kind == "resources_accepted":
            self.admin.resources.accepted(dict(frame.resources_accepted.resource_ids))

    async def _task(self, request: link_pb2.TaskRequest) -> None:
        # An answer that cannot be sent now is in the record, and sent when the link is back.
        await self.link.send(task_reply=await self.pipeline.answer(request))

    async def _end_run(self, run_id: str) -> None:
        await self.pipeline.cancel(run_id)
        self.tasks.forget(run_id)
        await self.worker.forget(run_id)

    async def _revocations(self, jws: str) -> None:
        if self.revocations.accept(jws):
            await self.pipeline.revoked(self.revocations.revoked)
        await self.link.send(revocations_seen=link_pb2.RevocationsSeen(number=self.revocations.number))

    async def _obey_holds(self, number: int) -> None:
        await self._stop_held()
        if number:  # a coordinator that does not number them does not know the answer either
            await self.link.send(holds_seen=link_pb2.HoldsSeen(number=number))

    async def _stop_held(self) -> None:
        await self.pipeline.revoked(self.admin.holds.held)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_logged(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- what the administrator's service asks ---

    def _changed(self, what: str) -> None:
        """Tell the coordinator what changed. Apps go with the next Hello, so dial again for them."""
        if what == "resources":
            self._spawn(self.link.send(resources=self.admin.resources.frame()))
        elif what == "approvals":
            self._spawn(self._repeat_decisions())
        elif what == "budgets":
            self._spawn(self._tell_budgets_soon())
        elif what == "holds":
            self._spawn(self._stop_held())
        elif what == "apps":
            self.link.redial()

    async def _repeat_decisions(self) -> None:
        for seconds in _TELL_AGAIN_SECONDS:
            await asyncio.sleep(seconds)
            await self._tell_decisions()

    async def _tell_decisions(self) -> None:
        decided = self.admin.approvals.frame()
        if decided.decisions:
            await self.link.send(approvals_decided=decided)

    async def _tell_budgets_soon(self) -> None:
        """One frame for many charges: a job of many rounds charges each of them."""
        if self._telling_budgets:
            return
        self._telling_budgets = True
        await asyncio.sleep(_TELL_BUDGETS_SECONDS)
        self._telling_budgets = False
        await self._tell_budgets()

    async def _tell_budgets(self) -> None:
        if self.admin.budgets.used():
            await self.link.send(budgets=self.admin.budgets.frame())

    def live(self) -> dict[str, Any]:
        """What only the running agent knows, for the status."""
        known = {} if self._layers is None else {"sandbox": self._layers}
        return known | {"state": "revoked" if self.link.state == "revoked" else
                "connected" if self.link.state == "connected" else "connecting",
                "last_contact_ms": self.link.last_contact_ms, "running_tasks": self.pipeline.running,
                "revocations_number": self.revocations.number, "revocations_current": self.revocations.current}


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await work
        except Exception:
            _log.exception("background work failed")
