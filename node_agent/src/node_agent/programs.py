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


_FAULTS = frozenset({
    problems.APP_FAILED, problems.WORKER_CRASHED, problems.WORKER_MEMORY, problems.WORKER_TIMEOUT, problems.SANDBOX_VIOLATION,
    problems.OUTPUT_UNDECLARED, problems.OUTPUT_NOT_FINITE, problems.OUTPUT_OUT_OF_BOUND, problems.COHORT_TOO_SMALL})


def installed() -> dict[str, InstalledApp]:
    """The apps that come with the product; digests are computed now, from the files."""
    from shuyan.federation.apps.base import built_in  # Flower loads here

    return dict(built_in())


class Programs:
    """The allow-list over the installed apps.

    Args:
        apps: those that come with the product.
        packages: those of developers.
        failures: how many failures suspend a developer's app. Which tasks fail, and how, is seen outside unmasked: an app
            that means harm could tell a row's bits by failing, so it cannot fail for long.
    """

    def __init__(self, state: State, journal: Journal, apps: Mapping[str, InstalledApp],
                 packages: Packages | None = None, failures: int = 5) -> None:
        self._failures = failures
        state.execute("CREATE TABLE IF NOT EXISTS app_failure (digest TEXT PRIMARY KEY, count INTEGER NOT NULL)")
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
            self._state.execute("DELETE FROM app_failure WHERE digest = ?", (app.digest,))
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
            ProblemError: ``app_not_allowed``, ``app_digest_mismatch``, ``app_suspended``.
        """
        app = self._apps.get(name)
        if app is None:
            raise ProblemError(problems.APP_NOT_ALLOWED, app=name[:64])
        if app.digest != digest:
            raise ProblemError(problems.APP_DIGEST_MISMATCH, app=name)
        if not self._allowed(app):
            raise ProblemError(problems.APP_NOT_ALLOWED, app=name)
        if self._failed(app.digest) >= self._failures:
            raise ProblemError(problems.APP_SUSPENDED, app=name)
        return app

    def failed(self, name: str, digest: str, code: str) -> None:
        """Count what a developer's app did wrong; the last failure that is borne suspends it."""
        if code not in _FAULTS or self.package(name) is None or self._apps[name].digest != digest:
            return
        with self._state.transaction():
            self._state.execute("INSERT INTO app_failure VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET count = count + 1",
                                (digest,))
            if self._failed(digest) == self._failures:
                self._journal.append("app:suspended", name=name, digest=digest, failures=self._failures)

    def _failed(self, digest: str) -> int:
        row = self._state.one("SELECT count FROM app_failure WHERE digest = ?", (digest,))
        return 0 if row is None else int(row["count"])

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
