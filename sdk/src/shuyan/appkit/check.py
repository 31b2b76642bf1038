"""Everything ``shuyan app check`` looks at: the source, what the app declares, and what it does on mock data, twice."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from shuyan.appkit.errors import APP_CHECK_FAILED, APP_NOT_STARTED, invalid
from shuyan.appkit.package import Package, StaticManifest, pack
from shuyan.appkit.project import Project
from shuyan.appkit.rules import Finding, check_sources, imports_of
from shuyan.confinement.frames import Channel, Deadline, FrameError
from shuyan.problems import ProblemError, describe

_SEEDS: Final = ("0", "12345")
_SECONDS: Final = 600.0
_WHERE: Final = re.compile(r"(?P<path>[\w/]+\.py):(?P<line>\d+):(?P<kind>\w+)")


@dataclass
class Report:
    """What was found.

    Attributes:
        findings: nothing in it: passed.
        layers: of the sandbox in which the app was tried; empty on a machine without one.
        cases: mock cases that were run.
        answers: departments' answers that were compared between the two processes.
        manifest: what the app declares, once it could be read.
    """

    findings: list[Finding] = field(default_factory=list)
    layers: tuple[str, ...] = ()
    cases: int = 0
    answers: int = 0
    manifest: StaticManifest | None = None

    @property
    def passed(self) -> bool:
        return not self.findings

    def add(self, rule: str, zh: str, en: str, path: str = "", line: int = 0) -> None:
        """One more finding."""
        finding = Finding(path, line, rule, zh, en)
        if finding not in self.findings:
            self.findings.append(finding)


def check_project(project: Project) -> Report:
    """Check a project. What cannot be imported is not run.

    Raises:
        ProblemError: ``app_not_started`` if the process for it could not be started at all.
    """
    report = Report(check_sources(project.name, project.sources))
    for name in project.unknown_dependencies():
        report.add("import", f"pyproject.toml 声明了不允许的依赖 {name}", f"pyproject.toml declares {name}, which an app may not need")
    if any(finding.rule in ("syntax", "import") for finding in report.findings):
        return report
    with _Probe(project, _SEEDS[0]) as probe:
        report.manifest = _declared(project, probe, report)
        if report.manifest is None:
            return report
        if (report.manifest.app.name, report.manifest.app.version) != (project.name, project.version):
            report.add("declared", "应用声明的名称或版本与 pyproject.toml 不一致",
                       "the app's name or version is not that of pyproject.toml")
        _tried(project, probe, report)
    report.findings.sort()
    return report


def build(project: Project, report: Report) -> Package:
    """The package of a project that passed.

    Raises:
        ProblemError: ``app_check_failed``, ``package_invalid``.
    """
    if not report.passed or report.manifest is None:
        raise ProblemError(APP_CHECK_FAILED, count=len(report.findings))
    return pack(report.manifest, project.sources, project.readme)


def _declared(project: Project, probe: _Probe, report: Report) -> StaticManifest | None:
    said = probe.declare()
    report.layers = probe.layers
    if "manifest" in said:
        try:
            manifest = StaticManifest.model_validate_json(json.dumps(said["manifest"]))
            pack(manifest, project.sources, project.readme)
            return manifest
        except (ValidationError, ProblemError) as error:
            # What stands in the way of a package, told the way it tells it.
            told = (error.text("zh"), error.text("en")) if isinstance(error, ProblemError) else ("声明有误", "its declarations are wrong")
            report.add("declared", *told)
    elif "schema" in said:
        report.add("declared", f"参数或结果的模式不受支持：{said['schema']}", f"the schema of parameters or result is not supported: {said['schema']}")
    elif "not_an_app" in said:
        report.add("declared", "应用须由 shuyan.federation.kit.federated_app 建立，并名为 app",
                   "there must be an app named app, made by shuyan.federation.kit.federated_app")
    else:
        _failed(report, said, "导入时", "on import")
    return None


def _tried(project: Project, probe: _Probe, report: Report) -> None:
    with _Probe(project, _SEEDS[1]) as other:  # it starts while the first one tries
        first = probe.attempt()
        if "cases" not in first:
            _failed(report, first, "试运行时", "when tried")
            return
        assert report.manifest is not None
        for number, case in enumerate(first["cases"], 1):
            report.cases += 1
            report.answers += len(case["answers"])
            _case(report, number, case, report.manifest)
        if report.findings:
            return
        other.declare()  # so that both have done the same before
        if other.attempt() != first:
            report.add("determinism", "两次运行（不同的散列种子）结果不同", "two runs, with other hash seeds, gave different answers")


def _case(report: Report, number: int, case: dict[str, Any], manifest: StaticManifest) -> None:
    for answer in case["answers"]:
        action = answer["action"]
        specs = manifest.app.actions.get(action, {})
        if not answer["steady"]:
            report.add("determinism", f"动作 {action} 对同一问题两次给出不同的向量", f"the action {action} answers one question in two ways")
        for name, shape in answer["answered"].items():
            if name not in specs or name not in answer["expected"]:
                report.add("declared", f"动作 {action} 给出了未声明或未被问到的向量 {name}",
                           f"the action {action} answers with {name}, which is not declared or was not asked for")
            elif shape[-1] != answer["expected"][name]:
                report.add("declared", f"动作 {action} 的向量 {name} 长度为 {shape[-1]}，应为 {answer['expected'][name]}",
                           f"the vector {name} of {action} has {shape[-1]} elements and not {answer['expected'][name]}")
            elif not answer["largest"][name] <= specs[name].bound:
                report.add("declared", f"动作 {action} 的向量 {name} 超出声明的界，或不是有限数",
                           f"the vector {name} of {action} is above its bound, or not finite")
        for name in sorted(set(answer["expected"]) - set(answer["answered"])):
            report.add("declared", f"动作 {action} 没有给出向量 {name}", f"the action {action} does not answer with {name}")
    if "undeclared" in case:
        report.add("declared", f"第 {number} 个用例的结果与声明的模型不符：{case['undeclared']}",
                   f"the result of case {number} is not as declared: {case['undeclared']}")
    elif "content" not in case and not any(finding.rule == "declared" for finding in report.findings):
        _failed(report, case, f"第 {number} 个用例", f"in case {number}")


def _failed(report: Report, said: dict[str, Any], zh: str, en: str) -> None:
    place = _WHERE.search(str(said.get("failed", "")))
    kind = place["kind"] if place else str(said.get("failed", "")) or "?"
    code = str(said.get("code", ""))
    told_zh = f"（{describe(code, {}, 'zh')}）" if code else ""
    told_en = f" ({describe(code, {}, 'en')})" if code else ""
    report.add("runs", f"{zh}出错：{kind}{told_zh}", f"{kind} {en}{told_en}", place["path"] if place else "", int(place["line"]) if place else 0)


class _Probe:
    """A process with the project's app in it, shut in.

    Attributes:
        layers: of its sandbox, once it has been asked something.
    """

    def __init__(self, project: Project, seed: str) -> None:
        self._project = project
        self.layers: tuple[str, ...] = ()
        self._started = False
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME") if name in os.environ}
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "shuyan.appkit._probe", str(theirs.fileno())], pass_fds=(theirs.fileno(),), cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**kept, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._process.kill()
        self._process.wait()

    def declare(self) -> dict[str, Any]:
        """What the app declares, or why it cannot. Raises ``ProblemError`` (``app_not_started``)."""
        return self._ask({"op": "declare", "modules": imports_of(self._project.name, self._project.sources)})

    def attempt(self) -> dict[str, Any]:
        """What it does on the mock data. Raises ``ProblemError`` (``app_not_started``)."""
        return self._ask({"op": "try", "mock": self._project.mock.model_dump_json()})

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        channel = Channel(self._ours.fileno(), Deadline(_SECONDS))
        try:
            channel.send({**order, "name": self._project.name}, json.dumps(dict(self._project.sources)).encode())
            if not self._started:
                started = channel.receive()
                if started is None:
                    raise ProblemError(APP_NOT_STARTED, **invalid("进程未能启动", "the process did not start"))
                self._started = True
                self.layers = tuple(str(layer) for layer in started[0].get("layers", ()))
            answered = channel.receive()
            said = json.loads(answered[1]) if answered is not None else None
            if isinstance(said, dict):
                return said
            return {"failed": "ended"}
        except (TimeoutError, FrameError, OSError, ValueError):
            return {"failed": "ended"}
