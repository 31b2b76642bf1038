"""What a department's administrator does about privacy budgets."""

from __future__ import annotations

from node_agent.budget import Budgets
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2


class BudgetAdmin:
    """The calls of ``shuyan.local.v1.NodeAdmin`` about budgets; see :class:`node_agent.admin.Admin`."""

    budgets: Budgets

    def ListBudgets(self, request: local_pb2.ListBudgetsRequest) -> local_pb2.ListBudgetsReply:
        """Budgets of resources, grantees and grants."""
        return local_pb2.ListBudgetsReply(budgets=self.budgets.overview(request.resource))

    def SetBudget(self, request: local_pb2.SetBudgetRequest) -> link_pb2.Budget:
        """Set or take back a cap."""
        return self.budgets.set(
            request.resource, request.grantee, cap_nano=request.cap_nano if request.HasField("cap_nano") else None,
            renewal=request.renewal, remove=request.remove)

    def BudgetHistory(self, request: local_pb2.BudgetHistoryRequest) -> local_pb2.BudgetHistoryReply:
        """What was charged."""
        return local_pb2.BudgetHistoryReply(charges=self.budgets.history(request.resource, request.grantee, request.limit))
