"""``app``, ``approvals``, ``approve``, ``reject``: what the department lets happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node_agent.cli.output import EXIT_REFUSED, Json, moment, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import language, t
from shuyan.problems import ProblemError
from shuyan_protos.local.v1 import local_pb2

apps = typer.Typer(no_args_is_help=True, help=t("应用：哪些已安装的应用可以在本节点运行。",
                                                "Apps: which installed apps may run on this node."))

Digest = Annotated[str, typer.Option(help=t("应用摘要；默认为当前安装的。", "The app's digest; what is installed if not given."))]
ApprovalId = Annotated[str, typer.Argument(help=t("审批编号。", "The approval's identifier."))]


@apps.command("list", help=t("列出已安装的应用。", "List the installed apps."))
def app_list(context: typer.Context, json_: Json = False) -> None:
    """List the installed apps."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListApps(local_pb2.ListAppsRequest()).apps)
    if json_:
        print_json(found)
        return
    kinds = {"built_in": t("内置", "built in"), "third_party": t("第三方", "third party")}
    print_table((t("名称", "Name"), t("版本", "Version"), t("来源", "Kind"), t("放行", "Allowed"), t("标题", "Title"),
                 t("签名单位", "Signed by"), t("摘要", "Digest")),
                ((a.name, a.version, kinds.get(a.kind, a.kind), t("是", "yes") if a.allowed else t("否", "no"),
                  a.title if language() == "zh" else a.title_en or a.title, a.signer or "-", a.digest) for a in found),
                empty=t("没有安装应用。", "No apps are installed."))


@apps.command("install", help=t("安装运营机构签名的应用包；安装后仍须放行才会运行。",
                                "Install an app package that the operator signed; it runs only once it is allowed besides."))
def app_install(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    signature: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help=t(
        "签名文件；默认为同名加 .sig 的文件。", "The signature's file; by default the package's name with .sig added."))] = None,
    json_: Json = False,
) -> None:
    """Install an app package."""
    beside = signature or file.with_name(file.name + ".sig")
    with problems_told(), reach(context.obj.node_dir) as node:
        app = node.InstallApp(local_pb2.InstallAppRequest(package=_bytes(file), signature=_bytes(beside).decode("ascii", "replace")))
    if json_:
        print_json(app)
        return
    typer.echo(t("已安装应用 {name} {version}，由 {signer} 签名。\n摘要：{digest}\n确认后运行：shuyan-node app allow {name}",
                 "Installed {name} {version}, signed by {signer}.\nDigest: {digest}\nIf it is the one you agreed to: shuyan-node app allow {name}",
                 name=app.name, version=app.version, signer=app.signer, digest=app.digest))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProblemError("package_unreadable", name=path.name) from error


@apps.command("remove", help=t("删除第三方应用及其放行。", "Delete a third-party app and its permission."))
def app_remove(context: typer.Context, name: Annotated[str, typer.Argument()]) -> None:
    """Delete an app."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.RemoveApp(local_pb2.RemoveAppRequest(name=name))
    typer.echo(t("已删除应用 {name}。", "The app {name} is gone.", name=name))


@apps.command("trust-key", help=t("信任运营机构的应用签名公钥；须先与运营机构电话核对指纹。",
                                  "Trust the operator's key for app signatures; compare its fingerprint by telephone first."))
def trust_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    yes: Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))] = False,
) -> None:
    """Trust a key."""
    from shuyan.trust import keys

    with problems_told():
        typer.echo(t("公钥指纹：{key}", "Fingerprint of the key: {key}", key=keys.fingerprint(keys.load_public_key(file))))
        if not yes and not typer.confirm(t("已与运营机构核对指纹，信任其签名的应用包？",
                                           "Compared with the operator; trust the packages it signs?")):
            raise typer.Exit(EXIT_REFUSED)
        with reach(context.obj.node_dir) as node:
            node.TrustAppKey(local_pb2.TrustAppKeyRequest(pem=_bytes(file)))
    typer.echo(t("已信任。", "Trusted."))


@apps.command("keys", help=t("列出所信任的应用签名公钥。", "List the trusted keys for app signatures."))
def app_keys(context: typer.Context, json_: Json = False) -> None:
    """List trusted keys."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListAppKeys(local_pb2.ListAppKeysRequest()).keys)
    if json_:
        print_json(found)
        return
    print_table((t("指纹", "Fingerprint"), t("信任时间", "Trusted since")),
                ((key.fingerprint, moment(key.added_at_ms)) for key in found),
                empty=t("没有信任任何公钥。", "No key is trusted."))


@apps.command("distrust-key", help=t("不再信任某个公钥；它签名的应用随即停用。",
                                     "Trust a key no longer; the apps it signed stop running."))
def distrust_key(context: typer.Context, fingerprint: Annotated[str, typer.Argument()]) -> None:
    """Trust a key no longer."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.DistrustAppKey(local_pb2.DistrustAppKeyRequest(fingerprint=fingerprint))
    typer.echo(t("已不再信任 {key}。", "{key} is no longer trusted.", key=fingerprint))


@apps.command("allow", help=t("放行应用（按名称和摘要，可一次放行多个）。", "Allow apps, by name and digest."))
def app_allow(context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="NAME…")],
              digest: Digest = "") -> None:
    """Allow apps; a digest goes with one app only."""
    if digest and len(names) > 1:
        raise typer.BadParameter(t("--digest 只能用于单个应用。", "--digest goes with one app only."))
    with problems_told(), reach(context.obj.node_dir) as node:
        for name in names:
            node.AllowApp(local_pb2.AllowAppRequest(name=name, digest=digest, allow=True))
            typer.echo(t("已放行应用 {name}。", "The app {name} is allowed.", name=name))


@apps.command("disallow", help=t("取消放行。", "Take the permission back."))
def app_disallow(context: typer.Context, name: Annotated[str, typer.Argument()], digest: Digest = "") -> None:
    """Disallow an app."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.AllowApp(local_pb2.AllowAppRequest(name=name, digest=digest, allow=False))
    typer.echo(t("已取消放行应用 {name}。", "The app {name} is no longer allowed.", name=name))


def _approvals(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help=t("包括已有结论的。", "Decided ones as well."))] = False,
    json_: Json = False,
) -> None:
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListApprovals(local_pb2.ListApprovalsRequest(all=all_)).approvals)
    if json_:
        print_json(found)
        return
    states = {"pending": t("待审批", "pending"), "approved": t("已批准", "approved"), "rejected": t("已拒绝", "rejected")}
    print_table((t("编号", "Id"), t("状态", "State"), t("提出时间", "Asked"), t("使用单位", "Grantee"), t("用途", "Purpose"),
                 t("资源", "Resource"), t("应用", "App"), t("参数", "Parameters")),
                ((a.approval_id, states.get(a.state, a.state), moment(a.asked_at_ms), a.grantee, a.purpose, a.resource,
                  a.app_name, a.params_json) for a in found), empty=t("没有待审批事项。", "Nothing waits for approval."))


def _decide(context: typer.Context, approval_id: str, approve: bool, note: str) -> None:
    with problems_told(), reach(context.obj.node_dir) as node:
        node.Decide(local_pb2.DecideRequest(approval_id=approval_id, approve=approve, note=note))
    typer.echo(t("已批准 {id}。等待它的任务会自行继续。", "{id} approved. A job that waits for it goes on by itself.", id=approval_id)
               if approve else
               t("已拒绝 {id}。等待它的任务随即终止。", "{id} rejected. A job that waits for it ends now.", id=approval_id))


def _approve(
    context: typer.Context, approval_id: ApprovalId,
    note: Annotated[str, typer.Option(help=t("备注。", "A note."))] = "",
) -> None:
    _decide(context, approval_id, True, note)


def _reject(
    context: typer.Context, approval_id: ApprovalId,
    note: Annotated[str, typer.Option(help=t("理由。", "The reason."))],
) -> None:
    _decide(context, approval_id, False, note)


def add_to(app: typer.Typer) -> None:
    """Add the commands that stand at the top."""
    app.command("approvals", help=t("列出待审批的计算。", "List the computations that wait for approval."))(_approvals)
    app.command("approve", help=t("批准一项计算。", "Approve a computation."))(_approve)
    app.command("reject", help=t("拒绝一项计算。", "Reject a computation."))(_reject)
