"""``shuyan app``: a developer's own federated app, from an empty folder to a signed package."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuyan._text import language, t
from shuyan.cli import submissions
from shuyan.cli._common import REFUSED, AsJson, console, print_fields, print_json
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.appkit.check import Report
    from shuyan.appkit.package import Package
    from shuyan.appkit.project import Project

app = typer.Typer(no_args_is_help=True, help=t("自己的联邦应用：新建、测试、自查、打包、核验。",
                                               "A federated app of one's own: make, test, check, pack and verify it."))
ProjectFolder = Annotated[Path, typer.Option("--project", help=t("项目目录。", "The project's folder."), exists=True, file_okay=False)]
PackageFile = Annotated[Path, typer.Argument(help=t("应用包文件。", "The package file."), exists=True, dir_okay=False)]


@app.callback()
def _needs_the_extra() -> None:
    if find_spec("flwr") is None or find_spec("duckdb") is None:
        console.print(t("这些命令需要联邦计算组件：pip install 'shuyan[federation]'。",
                        "These commands need the federation extra: pip install 'shuyan[federation]'."), markup=False)
        sys.exit(REFUSED)


@app.command(help=t("新建一个可运行的应用项目。", "Make a working app project."))
def new(
    name: Annotated[str, typer.Argument(help=t("应用名。", "The app's name."))],
    into: Annotated[Path, typer.Option("--into", help=t("在此目录下新建。", "Make it in this folder."), file_okay=False)] = Path(),
) -> None:
    from shuyan.appkit.project import new_project

    root = new_project(name, into)
    console.print(t("已建立 {root}。下一步：cd {root}，然后 shuyan app test。", "{root} is ready. Next: cd {root}, then shuyan app test.",
                    root=root), soft_wrap=True)


@app.command("test", help=t("用模拟数据运行项目的测试。", "Run the project's tests on mock data."))
def run_tests(project: ProjectFolder = Path()) -> None:
    root = project.resolve()
    path = os.pathsep.join(filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-m", "unittest", "discover", "-s", "tests"], cwd=root, check=False,
                          env={**os.environ, "PYTHONPATH": path})
    sys.exit(REFUSED if done.returncode else 0)


@app.command(help=t("审核前自查：源码规则、声明、确定性。", "Check what a reviewer will: source rules, declarations, determinism."))
def check(project: ProjectFolder = Path(), as_json: AsJson = False) -> None:
    _, report = _checked(project)
    if as_json:
        print_json({"passed": report.passed, "cases": report.cases, "answers": report.answers, "sandbox": list(report.layers),
                    "findings": [{"path": f.path, "line": f.line, "rule": f.rule, "zh": f.zh, "en": f.en} for f in report.findings]})
    else:
        _tell(report)
    if not report.passed:
        sys.exit(REFUSED)


@app.command("pack", help=t("检查并打包；同样的内容得到逐字节相同的文件。", "Check and pack; the same content gives the same bytes."))
def pack_(
    project: ProjectFolder = Path(),
    out: Annotated[Path, typer.Option(help=t("放入此目录。", "Put it into this folder."), file_okay=False)] = Path(),
    as_json: AsJson = False,
) -> None:
    from shuyan.appkit.check import build

    read, report = _checked(project)
    if not report.passed:
        _tell(report)
        sys.exit(REFUSED)
    package = build(read, report)
    out.mkdir(parents=True, exist_ok=True)
    (out / package.file_name).write_bytes(package.data)
    if as_json:
        print_json({"file": str(out / package.file_name), "name": package.name, "version": package.version, "digest": package.digest})
    else:
        print_fields([(t("文件", "file"), out / package.file_name), (t("摘要", "digest"), package.digest)])


@app.command(help=t("核验应用包，可同时核验签名。", "Verify a package, and its signature if a key is given."))
def verify(
    file: PackageFile,
    key: Annotated[Path | None, typer.Option(help=t("运营机构的公钥文件。", "The operator's public key."), exists=True, dir_okay=False)] = None,
    signature: Annotated[Path | None, typer.Option(help=t(
        "签名文件；默认为同名加 .sig 的文件。", "The signature; by default the package's name with .sig added."), exists=True, dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    from shuyan.appkit import rules, verify_signature
    from shuyan.trust.keys import fingerprint, load_public_key

    package = _read(file)
    findings = rules.check_sources(package.name, package.sources)
    signer = None
    if key is not None:
        loaded = load_public_key(key)
        beside = signature or file.with_name(file.name + ".sig")
        statement = verify_signature(package, _text(beside), loaded)
        signer = {"name": statement.iss, "at": statement.iat, "key": fingerprint(loaded)}
    manifest = package.manifest
    if as_json:
        print_json({"name": package.name, "version": package.version, "digest": package.digest, "signer": signer,
                    "findings": [finding.text(language()) for finding in findings], "manifest": manifest.model_dump(mode="json")})
    else:
        print_fields([
            (t("应用", "app"), f"{package.name} {package.version}"),
            (t("标题", "title"), manifest.app.title_zh if language() == "zh" else manifest.app.title_en),
            (t("摘要", "digest"), package.digest),
            (t("读取", "reads"), ", ".join(f"{read.param or read.column}: {read.need}" for read in manifest.reads)),
            (t("答复", "answers"), "; ".join(f"{action}: {', '.join(sorted(specs))}" for action, specs in sorted(manifest.app.actions.items()))),
            (t("签名", "signed by"), f"{signer['name']} ({signer['key']})" if signer else t("未核验", "not verified")),
        ])
        for finding in findings:
            console.print(finding.text(language()), style="yellow", soft_wrap=True, markup=False)
    if findings:
        sys.exit(REFUSED)


@app.command(help=t("比较两个版本：声明和源码的变化。", "Compare two versions: what changed in declarations and source."))
def diff(
    old: Annotated[Path, typer.Argument(help=t("旧版本。", "The earlier version."), exists=True, dir_okay=False)],
    new: Annotated[Path, typer.Argument(help=t("新版本。", "The later version."), exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    from shuyan.appkit import diff_packages

    found = diff_packages(_read(old), _read(new))
    if as_json:
        return print_json({
            "declarations": [{"where": c.where, "old": c.old, "new": c.new} for c in found.declarations],
            "files": [{"path": c.path, "kind": c.kind, "diff": c.diff} for c in found.files]})
    return console.print(found.text() or t("没有变化。", "Nothing changed."), soft_wrap=True, markup=False, highlight=False)


@app.command(help=t("运营机构：签名一个审核通过的应用包。", "For the operator: sign a package that passed its review."))
def sign(
    file: PackageFile,
    key: Annotated[Path, typer.Option(help=t("运营机构的私钥文件。", "The operator's private key."), exists=True, dir_okay=False)],
    issuer: Annotated[str, typer.Option(help=t("签名单位名称。", "Name of who signs."))],
) -> None:
    from shuyan.appkit import sign_package
    from shuyan.trust.keys import load_signing_key

    package = _read(file)
    target = file.with_name(file.name + ".sig")
    target.write_text(sign_package(package, load_signing_key(key), issuer=issuer, at=int(time.time())) + "\n", encoding="ascii")
    print_fields([(t("签名", "signature"), target), (t("摘要", "digest"), package.digest)])


@app.command("new-key", help=t("运营机构：生成应用签名密钥；私钥须与市场分开离线保管。",
                               "For the operator: make the key that signs apps; keep the private half offline, apart from the market."))
def new_key(
    key: Annotated[Path, typer.Argument(help=t("私钥文件。", "File for the private key."), dir_okay=False)],
    public: Annotated[Path, typer.Argument(help=t("公钥文件。", "File for the public key."), dir_okay=False)],
) -> None:
    from shuyan.trust.keys import fingerprint, generate_signing_key, save_private_key, save_public_key

    made = generate_signing_key()
    save_private_key(key, made)
    save_public_key(public, made.public_key())
    print_fields([(t("公钥", "public key"), public), (t("指纹", "fingerprint"), fingerprint(made.public_key()))])


submissions.add_to(app)


def _checked(folder: Path) -> tuple[Project, Report]:
    from shuyan.appkit.check import check_project
    from shuyan.appkit.project import Project

    project = Project.read(folder)
    return project, check_project(project)


def _tell(report: Report) -> None:
    for finding in report.findings:
        console.print(finding.text(language()), style="red", soft_wrap=True, markup=False, highlight=False)
    if report.findings:
        console.print(t("未通过，共 {count} 处问题。", "Not passed: {count} findings.", count=len(report.findings)))
    else:
        console.print(t("通过：{cases} 个用例，{answers} 份答复两次运行一致。",
                        "Passed: {cases} cases; {answers} answers were the same in two runs.", cases=report.cases, answers=report.answers))
    if not report.layers:
        console.print(t("本机没有隔离机制，应用在普通进程中试运行。", "This machine has no sandbox; the app was tried in an ordinary process."), style="yellow")


def _read(file: Path) -> Package:
    from shuyan.appkit import read_package

    try:
        return read_package(file.read_bytes())
    except OSError as error:
        raise ProblemError("package_unreadable", name=file.name) from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError("app_signature_invalid", field="signature") from error
