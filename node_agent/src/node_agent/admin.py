"""What a department's administrator can do, as one service: behind the local socket, or directly when no agent runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from node_agent import __version__
from node_agent.admin_apps import AppAdmin
from node_agent.admin_budget import BudgetAdmin
from node_agent.admin_data import DataAdmin
from node_agent.admin_guard import GuardAdmin
from node_agent.admin_holds import HoldAdmin
from node_agent.admin_marginals import MarginalsAdmin
from node_agent.approvals import Approvals
from node_agent.budget import Budgets
from node_agent.config import NodeDir
from node_agent.holds import Holds
from node_agent.journal import Journal
from node_agent.keys import NodeKeys, certificate_expiry
from node_agent.marginals import Marginals
from node_agent.packages import Packages
from node_agent.programs import Programs, installed
from node_agent.resources import Resources
from node_agent.sources import Sources
from node_agent.state import State
from node_agent.views import Views, node_salt
from shuyan import confinement
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from shuyan.federation.apps import InstalledApp

MAX_JOURNAL_PAGE = 1000


class Admin(AppAdmin, BudgetAdmin, DataAdmin, GuardAdmin, HoldAdmin, MarginalsAdmin):
    """One method for each call of ``shuyan.local.v1.NodeAdmin``; requests and replies are its messages.

    Every method raises :class:`~shuyan.problems.ProblemError` for what the administrator did wrong.
    """

    def __init__(self, node_dir: NodeDir, *, apps: Mapping[str, InstalledApp] | None = None) -> None:
        self.node_dir = node_dir
        self._apps = apps
        self.state = State(node_dir.database)
        self.journal = Journal(self.state)
        self.sources = Sources(self.state, self.journal, lambda: node_salt(node_dir.view_salt))
        self.resources = Resources(self.state, self.journal, self.sources,
                                   lambda: node_dir.config().risk.maximum_share_below_5)
        self.views = Views(self.state, self.journal, self.sources)
        self.approvals = Approvals(self.state, self.journal)
        self.holds = Holds(self.state, self.journal)
        self.budgets = Budgets(self.state, self.journal, lambda: node_dir.config().budget)
        self.budgets.on_change = lambda: self.on_change("budgets")
        self.marginals = Marginals(self.state, self.journal, self.resources, self.budgets)
        self._programs: Programs | None = None
        self.on_change: Callable[[str], None] = lambda _what: None
        self.live: Callable[[], dict[str, Any]] = dict

    @property
    def programs(self) -> Programs:
        """The allow-list; loading the apps takes a moment, so it happens when first asked for."""
        if self._programs is None:
            apps = installed() if self._apps is None else self._apps
            packages = Packages(self.state, self.journal, self.node_dir.path / "apps", frozenset(apps))
            self._programs = Programs(self.state, self.journal, apps, packages, self.node_dir.config().policy.app_failures)
        return self._programs

    def changed_elsewhere(self) -> None:
        """Another connection may have changed the resources: read them again and tell."""
        self.resources.refresh()
        self.on_change("resources")

    def close(self) -> None:
        self.state.close()

    def Status(self, _request: local_pb2.StatusRequest) -> local_pb2.StatusReply:
        """The node at a glance."""
        identity = self.node_dir.identity()
        keys = NodeKeys.load(self.node_dir)
        entries, head = self.journal.head()
        live = self.live()
        reply = local_pb2.StatusReply(
            state=live.get("state", "stopped" if identity else "not_enrolled"),
            last_contact_ms=live.get("last_contact_ms", 0), running_tasks=live.get("running_tasks", 0),
            revocations_number=live.get("revocations_number", 0),
            checkpoint_size=int(self.state.get("checkpoint_size", "0")), resources=len(self.resources.list()),
            pending_approvals=self.approvals.pending(), journal_entries=entries, journal_head=head.hex(),
            software_version=__version__, signing_key=base64.b64encode(keys.signing_public).decode(),
            agreement_key=base64.b64encode(keys.agreement_public).decode())
        layers = live["sandbox"] if "sandbox" in live else confinement.layers_here()
        reply.sandbox.extend(layers)
        if not confinement.sufficient(layers):
            reply.alerts.append("sandbox_missing")
        # Loading the apps takes a moment, which a node without developers' apps can spare.
        if Packages.any(self.state) and self.programs.packages.unusable:
            reply.alerts.append("app_unusable")
        if self.state.get("checkpoint_forked"):
            reply.alerts.append("log_forked")
        if live.get("state") == "connected" and not live.get("revocations_current"):
            reply.alerts.append("revocations_stale")
        if identity:
            reply.node_id, reply.organisation_name = identity.node_id, identity.organisation
            reply.coordinator_address = identity.coordinator_address
            reply.certificate_expires_at = certificate_expiry((self.node_dir.keys / "tls.crt").read_bytes())
        return reply

    def ListApprovals(self, request: local_pb2.ListApprovalsRequest) -> local_pb2.ListApprovalsReply:
        """Approvals that wait, or all."""
        return local_pb2.ListApprovalsReply(approvals=self.approvals.list(all_=request.all))

    def Decide(self, request: local_pb2.DecideRequest) -> local_pb2.Approval:
        """Approve or reject."""
        decided = self.approvals.decide(request.approval_id, request.approve, request.note)
        self.on_change("approvals")
        return decided

    def ReadJournal(self, request: local_pb2.ReadJournalRequest) -> local_pb2.ReadJournalReply:
        """A page of the journal; ``verify`` recomputes the whole chain first, and holds the privacy ledger against it."""
        total, _head = self.journal.head()
        if request.verify:
            total = self.journal.verify()
            self.budgets.check()
        limit = min(request.limit or 100, MAX_JOURNAL_PAGE)
        return local_pb2.ReadJournalReply(verified=request.verify, total=total, entries=[
            local_pb2.JournalEntry(sequence=entry.sequence, at_ms=entry.at_ms, event=entry.event,
                                   data_json=json.dumps(entry.data, ensure_ascii=False, sort_keys=True),
                                   hash=entry.hash)
            for entry in self.journal.read(request.after, limit)])
