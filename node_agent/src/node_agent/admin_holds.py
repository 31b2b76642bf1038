"""What the administrator can do about grants: see those that came, hold one here, release it."""

from __future__ import annotations

from collections.abc import Callable

from node_agent.authority import Authority
from node_agent.config import NodeDir
from node_agent.holds import Holds
from node_agent.state import State
from shuyan.problems import ProblemError
from shuyan_protos.local.v1 import local_pb2


class HoldAdmin:
    """The calls of ``shuyan.local.v1.NodeAdmin`` about grants; see :class:`node_agent.admin.Admin`."""

    node_dir: NodeDir
    state: State
    holds: Holds
    on_change: Callable[[str], None]

    def ListGrants(self, _request: local_pb2.ListGrantsRequest) -> local_pb2.ListGrantsReply:
        """The grants under which something was asked here, and those that are held."""
        own = {one.grant_id: one for one in self.holds.own()}
        reply, seen = local_pb2.ListGrantsReply(), set[str]()
        authority = Authority(self.node_dir.keys / "authority.pub")
        for row in self.state.all("SELECT jws FROM grant_seen ORDER BY digest"):
            try:
                grant = authority.grant(row["jws"])
            except ProblemError:  # of an earlier version
                continue
            seen.add(grant.jti)
            reply.grants.append(local_pb2.SeenGrant(
                grant_id=grant.jti, scenario=grant.scenario_title, grantee=grant.grantee_name, expires_at_ms=grant.exp * 1000,
                held_here=grant.jti in own, held_by_market=grant.jti in self.holds.told,
                reason=own[grant.jti].reason if grant.jti in own else ""))
        for grant_id in sorted((own.keys() | self.holds.told) - seen):
            reply.grants.append(local_pb2.SeenGrant(
                grant_id=grant_id, held_here=grant_id in own, held_by_market=grant_id in self.holds.told,
                reason=own[grant_id].reason if grant_id in own else ""))
        return reply

    def HoldGrant(self, request: local_pb2.HoldGrantRequest) -> local_pb2.HoldGrantReply:
        """Take no task under a grant any more, and stop those under way."""
        self.holds.hold(request.grant_id, request.reason)
        self.on_change("holds")
        return local_pb2.HoldGrantReply(changed=True)

    def ReleaseGrant(self, request: local_pb2.HoldGrantRequest) -> local_pb2.HoldGrantReply:
        """Lift the department's own hold."""
        return local_pb2.HoldGrantReply(changed=self.holds.release(request.grant_id))
