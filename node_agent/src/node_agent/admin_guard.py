"""What a department's administrator does about the differencing guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node_agent.config import NodeDir
from node_agent.journal import Journal
from node_agent.state import State
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from node_agent.guard import Guard


class GuardAdmin:
    """The calls of ``shuyan.local.v1.NodeAdmin`` about the guard; see :class:`node_agent.admin.Admin`."""

    node_dir: NodeDir
    state: State
    journal: Journal
    _guard: Guard | None = None

    @property
    def guard(self) -> Guard:
        """The guard; loading NumPy takes a moment, so it happens when first asked for."""
        if self._guard is None:
            from node_agent.guard import Guard

            self._guard = Guard(self.state, self.journal, self.node_dir.config().guard.rules())
        return self._guard

    def ListGuard(self, _request: local_pb2.ListGuardRequest) -> local_pb2.ListGuardReply:
        """The questions whose rows are remembered."""
        return local_pb2.ListGuardReply(questions=[
            local_pb2.GuardedQuestion(
                at_ms=one.at_ms, grantee=one.grantee, grantee_name=one.grantee_name, resource=one.resource, app=one.app,
                share=one.share, sets=one.sets, times=one.times) for one in self.guard.history()])

    def ResetGuard(self, request: local_pb2.ResetGuardRequest) -> local_pb2.ResetGuardReply:
        """Forget what a grantee was answered about a resource."""
        return local_pb2.ResetGuardReply(questions=self.guard.reset(request.grantee, request.resource))
