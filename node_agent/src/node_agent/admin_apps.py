"""What a department's administrator does about apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from node_agent.programs import Programs


class AppAdmin:
    """The calls of ``shuyan.local.v1.NodeAdmin`` about apps; see :class:`node_agent.admin.Admin`."""

    on_change: Callable[[str], None]

    @property
    def programs(self) -> Programs:
        """The allow-list."""
        raise NotImplementedError

    def AllowApp(self, request: local_pb2.AllowAppRequest) -> local_pb2.AllowAppReply:
        """Allow an app by digest, or take that back."""
        self.programs.allow(request.name, request.digest, request.allow)
        self.on_change("apps")
        return local_pb2.AllowAppReply()

    def ListApps(self, _request: local_pb2.ListAppsRequest) -> local_pb2.ListAppsReply:
        """Installed apps."""
        return local_pb2.ListAppsReply(apps=self.programs.list())

    def InstallApp(self, request: local_pb2.InstallAppRequest) -> local_pb2.InstalledApp:
        """Keep a developer's app; it is not allowed by that."""
        found = self.programs.packages.install(request.package, request.signature)
        self.on_change("apps")
        return self.programs.describe(self.programs.installed[found.package.name])

    def RemoveApp(self, request: local_pb2.RemoveAppRequest) -> local_pb2.RemoveAppReply:
        """Delete a developer's app."""
        self.programs.packages.remove(request.name)
        self.on_change("apps")
        return local_pb2.RemoveAppReply()

    def TrustAppKey(self, request: local_pb2.TrustAppKeyRequest) -> local_pb2.AppKey:
        """Trust what a key signs."""
        fingerprint = self.programs.packages.trust(request.pem)
        return next(key for key in self.ListAppKeys(local_pb2.ListAppKeysRequest()).keys if key.fingerprint == fingerprint)

    def ListAppKeys(self, _request: local_pb2.ListAppKeysRequest) -> local_pb2.ListAppKeysReply:
        """Trusted keys."""
        return local_pb2.ListAppKeysReply(keys=[
            local_pb2.AppKey(fingerprint=fingerprint, added_at_ms=added)
            for fingerprint, added in self.programs.packages.trusted()])

    def DistrustAppKey(self, request: local_pb2.DistrustAppKeyRequest) -> local_pb2.DistrustAppKeyReply:
        """Trust a key no longer."""
        self.programs.packages.distrust(request.fingerprint)
        self.on_change("apps")
        return local_pb2.DistrustAppKeyReply()
