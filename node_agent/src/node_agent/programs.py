"""The apps on this node, the product's own and developers', and those its administrator has allowed, by name and digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from node_agent import errors
from node_agent.journal import Journal
from node_agent.packages import Packages
from node_agent.state import State
from shuyan.federation import problems
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from shuyan.federation.apps import InstalledApp


def installed() -> dict[str, InstalledApp]:
    """The apps that come with the product; digests are computed now, from the files."""
    from shuyan.federation.apps.base import built_in  # Flower loads here

    return dict(built_in())


class Programs:
    """The allow-list over the installed apps.

    Args:
        apps: those that come with the product.
        packages: those of developers.
    """

    def __init__(self, state: State, journal: Journal, apps: Mapping[str, InstalledApp],
                 packages: Packages | None = None) -> None:
        self._state = state
        self._journal = journal
        self._built_in = dict(apps)
        self._packages = packages

    @property
    def packages(self) -> Packages:
        """Developers' apps and the keys that sign them."""
        assert self._packages is not None
        return self._packages

    @property
    def installed(self) -> Mapping[str, InstalledApp]:
        """The installed apps by name, allowed or not."""
        return self._apps

    @property
    def _apps(self) -> dict[str, InstalledApp]:
        return {**(self._packages.apps if self._packages else {}), **self._built_in}

    def package(self, name: str) -> bytes | None:
        """The package that an app runs from; None for one that comes with the product."""
        if name in self._built_in or self._packages is None:
            return None
        found = self._packages.get(name)
        return None if found is None else found.package.data

    def frame(self) -> list[link_pb2.AppInfo]:
        """What the coordinator is told: installed and allowed."""
        return [link_pb2.AppInfo(name=app.name, digest=app.digest)
                for app in sorted(self._apps.values(), key=lambda item: item.name) if self._allowed(app)]

    def allow(self, name: str, digest: str, allow: bool) -> None:
        """Allow an installed app under its present digest, or take the permission back.

        Args:
            digest: what the administrator reviewed; empty: what is installed.

        Raises:
            ProblemError: ``app_not_installed``.
        """
        app = self._apps.get(name)
        if app is None or (allow and digest not in ("", app.digest)):
            raise ProblemError(errors.APP_NOT_INSTALLED, field="name", name=name)
        with self._state.transaction():
            if allow:
                self._state.execute("INSERT OR IGNORE INTO allowed_app VALUES (?, ?)", (name, app.digest))
            else:
                self._state.execute("DELETE FROM allowed_app WHERE name = ? AND (digest = ? OR ? = '')",
                                    (name, digest, digest))
            self._journal.append("app:allowed" if allow else "app:disallowed", name=name,
                                 digest=app.digest if allow else digest)

    def require(self, name: str, digest: str) -> InstalledApp:
        """The installed and allowed app of exactly that digest.

        Raises:
            ProblemError: ``app_not_allowed``, ``app_digest_mismatch``.
        """
        app = self._apps.get(name)
        if app is None:
            raise ProblemError(problems.APP_NOT_ALLOWED, app=name[:64])
        if app.digest != digest:
            raise ProblemError(problems.APP_DIGEST_MISMATCH, app=name)
        if not self._allowed(app):
            raise ProblemError(problems.APP_NOT_ALLOWED, app=name)
        return app

    def _allowed(self, app: InstalledApp) -> bool:
        return self._state.one("SELECT 1 FROM allowed_app WHERE name = ? AND digest = ?",
                               (app.name, app.digest)) is not None

    def list(self) -> list[local_pb2.InstalledApp]:
        """Installed apps by name."""
        return [self.describe(app) for app in sorted(self._apps.values(), key=lambda item: item.name)]

    def describe(self, app: InstalledApp) -> local_pb2.InstalledApp:
        """One app, for the administrator."""
        found = self._packages.get(app.name) if self._packages is not None and app.name not in self._built_in else None
        return local_pb2.InstalledApp(
            name=app.name, digest=app.digest, allowed=self._allowed(app), version=app.version, title=app.manifest.title_zh,
            title_en=app.manifest.title_en, kind="built_in" if found is None else "third_party",
            signer=found.signer if found else "", key=found.fingerprint if found else "")
