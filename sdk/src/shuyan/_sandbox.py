"""A sandbox on this machine: mock data of what was approved, the same apps under the same checks, and the way to the nodes."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuyan._errors import ConfigurationError, ConnectionFailed, ExtraMissing, ShuyanError, VerificationFailed
from shuyan._results import Model, Result, Table
from shuyan._text import t
from shuyan.problems import ProblemError, define

if TYPE_CHECKING:
    from shuyan._client import Market
    from shuyan._computing import Job
    from shuyan._sandboxes import SandboxRun
    from shuyan.appkit.package import Package
    from shuyan.federation.apps.base import InstalledApp
    from shuyan.mockdata import Described, Description
    from shuyan.mockdata.federation import MockedFederation
    from shuyan.mockdata.tables import Values

APP_NOT_HERE: Final = define(
    "sandbox_app_missing", 422, zh="本机没有应用“{app}”，市场上也没有授权的同名应用包。请给出内置应用的名称、应用项目目录或应用包文件。",
    en="There is no app “{app}” on this machine, and no granted package of that name at the market. Give the name of a built-in "
       "app, the folder of an app's project, or a package file.")
APP_OTHER: Final = define(
    "sandbox_app_differs", 409, zh="本机的应用“{app}”与授权的版本不同，沙箱运行须用同一版本：请安装与市场一致的 shuyan 版本。",
    en="The app “{app}” on this machine is not the version granted, and a sandbox runs the very same: install the version of "
       "shuyan that the market has.")
TOO_MANY_ROWS: Final = define(
    "sandbox_rows_exceeded", 422, zh="沙箱每个部门每个资源最多 {limit} 行模拟数据。",
    en="A sandbox has at most {limit} rows of mock data a resource of a department.")
STORAGE_FULL: Final = define(
    "sandbox_storage_full", 409, zh="沙箱目录已达 {limit} MB 的上限，请先删除不用的文件：{path}。",
    en="The sandbox's folder has reached its {limit} MB; delete what is not needed: {path}.")
NOT_RECORDED: Final = define(
    "trial_not_recorded", 409, zh="此次运行没有在市场留下成功记录（离线或失败），不能提交到节点；请联网后重新运行。",
    en="The market has no record of this run having succeeded (it was made offline, or failed), so it cannot go to the nodes; run "
       "it again while connected.")

DEFAULT_ROWS: Final = 2_000
_ID: Final = re.compile(r"[a-z]+_[0-9a-z]{10,40}")


class Trial:
    """A run on mock data.

    Attributes:
        parts: what the job is: ``{app, app_digest, params, resources}``.
        digest: over that; a job at the nodes must have the same.
        given: the parameters as they were given.
        seconds: how long it took.
        record: what the market keeps of it; ``None`` if it was made offline.
        result: the result, as of a job, from mock data.
    """

    def __init__(self, parts: dict[str, Any], digest: str, given: dict[str, Any], seconds: float, record: SandboxRun | None,
                 content: dict[str, Any], participants: Sequence[str]) -> None:
        from shuyan.jobs import digest_of

        self.parts, self.digest, self.given, self.seconds, self.record = parts, digest, given, seconds, record
        answer = {"content": content, "digest": digest_of(content), "participants": list(participants)}
        self.result: Result = (Model if content.get("kind") == "model" else Result)(self, answer)

    @property
    def id(self) -> str:
        """Of the record at the market; empty for one made offline."""
        return self.record.id if self.record is not None else ""

    @property
    def content(self) -> dict[str, Any]:
        return self.result.content

    def __repr__(self) -> str:
        return f"<Trial {self.id or 'offline'}: {self.parts['app']}, {self.digest}>"


class Sandbox:
    """A scenario's sandbox, to be had from :func:`shuyan.sandbox` or :meth:`shuyan.Market.sandbox`.

    Nothing of it is real data: the tables are made of what the departments declare and approved for release, and of a seed.
    Every run meets departments that were asked nothing before, with their budgets whole; at the nodes earlier answers count.

    Attributes:
        description: what it works on.
        directory: the sandbox's own folder on this machine, which only its owner can enter.
        rows: of mock data, a resource of each department.
    """

    def __init__(self, description: Description, directory: Path, market: Market | None = None, rows: int | None = None) -> None:
        limit = description.quota.rows
        self.rows = min(DEFAULT_ROWS, limit) if rows is None else rows
        if not 1 <= self.rows <= limit:
            raise ProblemError(TOO_MANY_ROWS, field="rows", limit=limit)
        self.description, self.directory, self._market = description, directory, market
        self._tables: dict[tuple[str, str], dict[str, Values]] = {}

    def __repr__(self) -> str:
        return f"<Sandbox {self.description.sandbox} of {self.description.scenario}: {', '.join(self.resources)}>"

    @property
    def id(self) -> str:
        return self.description.sandbox

    @property
    def connected(self) -> bool:
        """Whether runs are told to the market, which is what lets them go to the nodes."""
        return self._market is not None

    @property
    def resources(self) -> list[str]:
        """Names of its tables; each is at several departments."""
        return self.description.names

    def columns(self, resource: str) -> list[dict[str, Any]]:
        """What is declared of a table's granted columns, by its first department.

        Raises:
            ShuyanError: there is no such table.
        """
        return [column.declared() for column in self._find(resource)[0].columns if column.granted]

    def frame(self, resource: str, *, department: str | None = None) -> Table:
        """A table's mock rows, with the department's node id in ``department``: ``.rows``, ``.to_pandas()``, ``.to_arrow()``.

        Only granted columns are there. At the nodes nobody sees rows: this is for learning what the data look like.

        Args:
            department: of one department only, by its node's id.

        Raises:
            ShuyanError: there is no such table.
        """
        found = [one for one in self._find(resource) if department in (None, one.node_id)]
        names = [column.name for column in self._find(resource)[0].columns if column.granted]
        values = []
        for one in found:
            made = self._made(one)
            shown = [made[name] if name in made else [None] * self.rows for name in names]
            values += [[one.node_id, *row] for row in zip(*shown, strict=True)]
        return Table([("department", "VARCHAR"), *((name, "") for name in names)], values)

    def save(self, resource: str, path: str | Path | None = None) -> Path:
        """Write a table's mock rows as CSV, by default into the sandbox's folder, as far as its quota reaches.

        Raises:
            ProblemError: ``sandbox_storage_full``.
        """
        target = Path(path) if path is not None else self.directory / f"{resource}.csv"
        if path is None:
            used = sum(file.stat().st_size for file in self.directory.rglob("*") if file.is_file() and file != target)
            if used > self.description.quota.storage_mb * 1_000_000:
                raise ProblemError(STORAGE_FULL, limit=self.description.quota.storage_mb, path=str(self.directory))
        self.frame(resource).to_csv(target)
        if path is None and target.stat().st_size + used > self.description.quota.storage_mb * 1_000_000:
            target.unlink()
            raise ProblemError(STORAGE_FULL, limit=self.description.quota.storage_mb, path=str(self.directory))
        return target

    # --- running ---

    def run(self, app: str | Path, params: Mapping[str, Any]) -> Trial:
        """Run an app on the mock data, as the nodes would.

        What the market or a node would refuse is refused here with the same error; noise, cohorts and suppression are the real
        ones. While connected the run is told to the market before it begins, and how it ended.

        Args:
            app: a built-in app's name, a granted developer's app's name, or one's own app: its project's folder or package.

        Raises:
            ProblemError: as a job would be refused; ``sandbox_app_missing``, ``sandbox_app_differs``.
            RateLimited: the day's runs are used up.
        """
        named, runs_as = self._app(app)
        with self._federation(runs_as if runs_as is not named else None) as federation:
            filled = federation.fill(named, params)
            return self._tried(federation, named, filled, dict(params))

    def sql(self, query: str) -> Trial:
        """Ask one SELECT over the mock data; as :meth:`shuyan.Market.sql`."""
        return self.run("query", {"sql": query})

    def train(self, family: str, *, features: Sequence[str], target: str | None = None, resource: str | None = None,
              **params: Any) -> Trial:
        """Train a model on the mock data; as :meth:`shuyan.Market.train`.

        Columns are made independently of one another, so that a model learns nothing from them: this tries whether training
        runs, not how well it does.

        Raises:
            ShuyanError: there are several tables, and none is named.
        """
        from shuyan._computing import training

        app, body = training(family, [*features], target, params)
        if resource is None and len(self.resources) != 1:
            raise ConfigurationError(t("沙箱有多个数据资源（{names}），请指明 resource。",
                                       "The sandbox has several resources ({names}): say which with resource=.",
                                       names=", ".join(self.resources)))
        return self.run(app, {**body, "resource": resource or self.resources[0]})

    def promote(self, trial: Trial, *, grant: str | None = None, title: str = "", key: str | None = None) -> Job:
        """Submit a run to the nodes, unchanged.

        Args:
            grant: under which; by default the one that the sandbox rests on.

        Raises:
            ProblemError: ``trial_not_recorded``.
            ShuyanError: there is no grant yet, or no connection.
            ProblemResponse: the market refuses: ``changed_since_sandbox`` and its like.
        """
        if self._market is None or trial.record is None or trial.record.status != "succeeded":
            raise ProblemError(NOT_RECORDED)
        if grant is None:
            if self.description.basis != "grant":
                raise ShuyanError(t("该场景的授权凭证尚未签发，签发后方可提交到节点。",
                                    "The scenario's grant is not signed yet; only then can jobs go to the nodes."))
            grant = self.description.basis_id
        return self._market.jobs.submit(grant, trial.parts["app"], trial.given, title=title, key=key, sandbox_run=trial.id)

    def _tried(self, federation: MockedFederation, app: InstalledApp, filled: Any, given: dict[str, Any]) -> Trial:
        from shuyan.jobs import digest_of

        digest, record = digest_of(filled.parts), None
        if self._market is not None:
            record = self._market.sandboxes.begin(self.id, filled.parts, digest, description_digest=self.description.digest,
                                                  rows=self.rows)
        started = time.monotonic()
        try:
            content = federation.put(app.name, filled)
        except BaseException as error:
            if record is not None and self._market is not None:
                code = error.code if isinstance(error, ProblemError) else "run_cancelled" if isinstance(
                    error, KeyboardInterrupt) else "run_failed"
                with suppress(ShuyanError):  # that it failed is worth telling, but no reason to hide why
                    self._market.sandboxes.finish(record, duration_ms=_since(started), error_code=code)
            raise
        seconds = time.monotonic() - started
        if record is not None and self._market is not None:
            record = self._market.sandboxes.finish(record, duration_ms=_since(started), result_digest=digest_of(content))
        return Trial(filled.parts, digest, given, seconds, record, content, list(filled.departments))

    # --- what there is ---

    def _federation(self, own: InstalledApp | None) -> MockedFederation:
        from shuyan.mockdata.federation import MockedFederation

        tables = {(one.node_id, one.name): self._made(one) for one in self.description.resources}
        return MockedFederation(self.description, tables, own)

    def _made(self, resource: Described) -> dict[str, Values]:
        from shuyan.mockdata import table

        key = resource.node_id, resource.name
        if key not in self._tables:
            self._tables[key] = table(self.description, resource, self.rows)
        return self._tables[key]

    def _find(self, resource: str) -> list[Described]:
        found = self.description.find(resource)
        if not found:
            raise ShuyanError(t("沙箱中没有数据资源“{name}”，只有：{names}。", "The sandbox has no resource “{name}”, only: {names}.",
                                name=resource, names=", ".join(self.resources)))
        return found

    def _app(self, app: str | Path) -> tuple[InstalledApp, InstalledApp]:
        """The app as the market knows it, and as it runs here: of a developer's own, the one is its declarations, the other code."""
        from shuyan.federation.apps.base import built_in

        here = built_in().get(str(app))
        if here is not None:
            granted = {one.digest for one in self.description.terms.apps if one.name == here.name}
            if granted and here.digest not in granted:
                raise ProblemError(APP_OTHER, field="app", app=here.name)
            return here, here
        return self._own(self._package(app))

    def _own(self, package: Package) -> tuple[InstalledApp, InstalledApp]:
        from shuyan.appkit.loader import load
        from shuyan.federation.apps.base import InstalledApp
        from shuyan.federation.foreign import installed_app

        declared = installed_app(package)
        return declared, InstalledApp(package.name, package.version, package.digest, package.manifest.app, load(package))

    def _package(self, app: str | Path) -> Package:
        from shuyan.appkit.check import build, check_project
        from shuyan.appkit.package import SUFFIX, read_package
        from shuyan.appkit.project import Project

        path = Path(app)
        if path.is_dir():
            project = Project.read(path)
            return build(project, check_project(project))
        if path.suffix == SUFFIX and path.is_file():
            return read_package(path.read_bytes())
        kept = self.directory / "apps"
        for granted in self.description.terms.apps:
            if granted.name != str(app):
                continue
            file = kept / f"{granted.digest.removeprefix('sha256:')}{SUFFIX}"
            if not file.is_file() and self._market is not None:
                versions = [one for one in self._market.programs.list(status="accepted", name=granted.name) if one.digest == granted.digest]
                if versions:
                    kept.mkdir(mode=0o700, exist_ok=True)
                    file.write_bytes(self._market.programs.package(versions[0].id))
            if file.is_file():
                package = read_package(file.read_bytes())
                if package.digest == granted.digest:
                    return package
        raise ProblemError(APP_NOT_HERE, field="app", app=str(app))


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


def sandboxes_dir() -> Path:
    """Where sandboxes are kept: ``$SHUYAN_SANDBOXES``, else ``$XDG_DATA_HOME/shuyan/sandboxes`` (``~/.local/share``)."""
    given = os.environ.get("SHUYAN_SANDBOXES")
    data = os.environ.get("XDG_DATA_HOME")
    return Path(given) if given else (Path(data) if data else Path.home() / ".local" / "share") / "shuyan" / "sandboxes"


def open_sandbox(scenario: str, market: Market | None, *, rows: int | None = None, directory: Path | None = None) -> Sandbox:
    """A scenario's sandbox, from the market, or from what was kept of it.

    Args:
        scenario: the scenario's id.
        market: ``None``, or one that does not answer: work offline.

    Raises:
        ConfigurationError: offline, and it was never fetched.
        ProblemResponse: the market refuses.
    """
    try:
        from shuyan.mockdata import DescriptionError, read_description
    except ImportError as error:
        raise ExtraMissing(t("沙箱需要联邦组件，请运行 pip install 'shuyan[federation]'。",
                             "A sandbox needs the federation's parts: pip install 'shuyan[federation]'.")) from error
    if not _ID.fullmatch(scenario):
        raise ConfigurationError(t("“{scenario}”不是场景编号。", "“{scenario}” is no scenario's id.", scenario=scenario))
    folder = (directory or sandboxes_dir()) / scenario
    file = folder / "description.json"
    connected: Market | None = None
    if market is not None:
        with suppress(ConnectionFailed):
            told = market.sandboxes.description(market.sandboxes.open(scenario).id)
            connected = market
            _keep(folder, file, json.dumps(told["description"], ensure_ascii=False))
    try:
        description = read_description(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(t(
            "沙箱 {scenario} 尚未取得说明，请先联网打开一次：shuyan sandbox open {scenario}。",
            "Nothing is kept of the sandbox of {scenario}; open it once while connected: shuyan sandbox open {scenario}.",
            scenario=scenario)) from error
    except DescriptionError as error:
        raise ShuyanError(t("沙箱说明无法理解（{where}），请升级 shuyan 或重新打开沙箱。",
                            "The sandbox's description makes no sense ({where}): upgrade shuyan, or open it again.",
                            where=str(error))) from error
    if description.scenario != scenario or (connected is not None and description.digest != told["digest"]):
        raise VerificationFailed(t("沙箱说明与其摘要不符。", "The sandbox's description does not fit its digest."))
    return Sandbox(description, folder, connected, rows)


def _keep(folder: Path, file: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    partial.replace(file)


def sandbox(scenario: str, *, market: Market | None = None, offline: bool = False, rows: int | None = None,
            directory: str | Path | None = None) -> Sandbox:
    """A scenario's sandbox: mock data of what was approved, and the same apps as at the nodes.

    >>> box = shuyan.sandbox("scenario_…")
    >>> box.frame("enterprises").to_pandas()
    >>> trial = box.sql("SELECT sector, count(*) FROM enterprises GROUP BY sector")
    >>> job = box.promote(trial)

    Args:
        market: the market it is of; by default :func:`shuyan.connect`.
        offline: ask no market; it must have been opened before. A market that does not answer comes to the same.
        rows: of mock data, a resource of each department.
        directory: where sandboxes are kept.

    Raises:
        ConfigurationError: no market to be found, or offline and never opened.
    """
    from shuyan._client import connect

    return open_sandbox(scenario, None if offline else market or connect(), rows=rows,
                        directory=None if directory is None else Path(directory))
