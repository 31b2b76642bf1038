"""``app``, ``approvals``, ``approve``, ``reject``: what the department lets happen."""

from __future__ import annotations

from typing import Annotated

import typer

from node_agent.cli.output import Json, moment, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
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
    print_table((t("名称", "Name"), t("版本", "Version"), t("放行", "Allowed"), t("标题", "Title"), t("摘要", "Digest")),
                ((a.name, a.version, t("是", "yes") if a.allowed else t("否", "no"), a.title, a.digest) for a in found),
                empty=t("没有安装应用。", "No apps are installed."))


@apps.command("allow", help=t("放行应用（按名称和摘要）。", "Allow an app, by name and digest."))
def app_allow(context: typer.Context, name: Annotated[str, typer.Argument()], digest: Digest = "") -> None:
    """Allow an app."""
    with problems_told(), reach(context.obj.node_dir) as node:
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
