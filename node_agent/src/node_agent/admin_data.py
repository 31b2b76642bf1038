"""The administrator's calls about data: sources, views, resources, and what is measured about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from node_agent.classify import SAMPLE, classify
from node_agent.resources import Declaration, Resources
from node_agent.risk import measure_risk
from node_agent.sources import Sources
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from node_agent.views import Views

MOST_SAMPLED = 100_000


class DataAdmin:
    """Part of :class:`node_agent.admin.Admin`; raises :class:`~shuyan.problems.ProblemError` as that does."""

    sources: Sources
    resources: Resources
    views: Views
    on_change: Callable[[str], None]

    def AddSource(self, request: local_pb2.AddSourceRequest) -> local_pb2.Source:
        """Register files or a database's table under a name."""
        return self.sources.add(
            request.name, request.kind, request.location, request.table, password_file=request.password_file,
            password_variable=request.password_variable, key=tuple(request.key)).message()

    def ListSources(self, _request: local_pb2.ListSourcesRequest) -> local_pb2.ListSourcesReply:
        """All sources, views included."""
        return local_pb2.ListSourcesReply(sources=[source.message() for source in self.sources.list()])

    def RemoveSource(self, request: local_pb2.RemoveSourceRequest) -> local_pb2.RemoveSourceReply:
        """Forget a source or view."""
        self.sources.remove(request.name)
        return local_pb2.RemoveSourceReply()

    def AddView(self, request: local_pb2.AddViewRequest) -> local_pb2.ViewReport:
        """Check, measure and keep a view."""
        source, notes = self.views.add(request.name, request.sql, replace=request.replace)
        return local_pb2.ViewReport(source=source.message(), notes=[note.message() for note in notes])

    def PreviewView(self, request: local_pb2.PreviewViewRequest) -> local_pb2.Preview:
        """At most twenty rows for the administrator's screen."""
        return self.views.preview(request.name, request.sql, request.limit)

    def Classify(self, request: local_pb2.ClassifyRequest) -> local_pb2.Classification:
        """What each column of a source probably is."""
        source = self.sources.get(request.source)
        sample = min(request.sample or SAMPLE, MOST_SAMPLED)
        return classify(source.kind, self.sources.resolved(source), rows=source.measured.row_count,
                        sample=sample).message()

    def MeasureRisk(self, request: local_pb2.MeasureRiskRequest) -> local_pb2.Risk:
        """How easily rows could be told apart."""
        source = self.sources.get(request.source)
        return measure_risk(source.kind, self.sources.resolved(source), request.quasi, request.sensitive)

    def RegisterResource(self, request: local_pb2.RegisterResourceRequest) -> link_pb2.Resource:
        """Offer a source's columns to the market."""
        resource = self.resources.register(request.source, request.resource, Declaration(
            request.accept_classification, request.accept_risk, request.date_column, tuple(request.resolution),
            request.require_complete))
        self.on_change("resources")
        return resource

    def RefreshResources(self, request: local_pb2.RefreshResourcesRequest) -> local_pb2.RefreshResourcesReply:
        """Measure row counts and quality anew."""
        reply = local_pb2.RefreshResourcesReply()
        for name, before, rows, notes in self.resources.measure_again(request.name):
            reply.resources.add(name=name, rows_before=before, rows=rows, notes=[note.message() for note in notes])
        self.on_change("resources")
        return reply

    def ListResources(self, _request: local_pb2.ListResourcesRequest) -> local_pb2.ListResourcesReply:
        """All resources."""
        return local_pb2.ListResourcesReply(resources=[item.message() for item in self.resources.list()])

    def ShowResource(self, request: local_pb2.ShowResourceRequest) -> local_pb2.ResourceDetails:
        """One resource with all that is measured about it."""
        return self.resources.details(request.name)

    def WithdrawResource(self, request: local_pb2.WithdrawResourceRequest) -> local_pb2.WithdrawResourceReply:
        """Take a resource off the market."""
        self.resources.withdraw(request.name)
        self.on_change("resources")
        return local_pb2.WithdrawResourceReply()
