"""The administrator's calls about marginals: measure, look, approve, take back."""

from __future__ import annotations

from collections.abc import Callable

from node_agent.marginals import Marginals
from shuyan_protos.local.v1 import local_pb2


class MarginalsAdmin:
    """Part of :class:`node_agent.admin.Admin`; raises :class:`~shuyan.problems.ProblemError` as that does."""

    marginals: Marginals
    on_change: Callable[[str], None]

    def MeasureMarginals(self, request: local_pb2.MeasureMarginalsRequest) -> local_pb2.ResourceMarginals:
        """Measure with noise; nothing leaves yet."""
        return self.marginals.measure(request.name, request.epsilon, list(request.columns))

    def ShowMarginals(self, request: local_pb2.MarginalsRequest) -> local_pb2.ResourceMarginals:
        """What waits and what was approved."""
        return self.marginals.show(request.name)

    def ApproveMarginals(self, request: local_pb2.ApproveMarginalsRequest) -> local_pb2.ResourceMarginals:
        """Have the market told."""
        found = self.marginals.approve(request.name, request.declared if request.HasField("declared") else None)
        self.on_change("resources")
        return found

    def WithdrawMarginals(self, request: local_pb2.MarginalsRequest) -> local_pb2.ResourceMarginals:
        """Have the market told nothing any more."""
        found = self.marginals.withdraw(request.name)
        self.on_change("resources")
        return found
