"""``grant``: which grants are used here, and withdrawing one for this department."""

from __future__ import annotations

from typing import Annotated

import typer

from node_agent.cli.output import EXIT_REFUSED, Json, moment, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
from shuyan_protos.local.v1 import local_pb2

grants = typer.Typer(no_args_is_help=True, help=t("授权凭证：查看、撤回（暂停受理）、恢复。", "Grants: list them, withdraw one here, release it."))

Id = Annotated[str, typer.Argument(metavar="GRANT_ID", help=t("授权凭证编号。", "The grant's id."))]


@grants.command("list", help=t("列出在本节点使用过的授权凭证，以及被撤回的。", "List the grants that were used here, and those that are withdrawn."))
def grant_list(context: typer.Context, json_: Json = False) -> None:
    """List grants."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListGrants(local_pb2.ListGrantsRequest()).grants)
    if json_:
        print_json(found)
        return
    print_table((t("授权凭证", "Grant"), t("场景", "Scenario"), t("使用单位", "Grantee"), t("有效期至", "Until"), t("状态", "State")),
                ((one.grant_id, one.scenario or "-", one.grantee or "-", moment(one.expires_at_ms) if one.expires_at_ms else "-", _state(one))
                 for one in found), empty=t("还没有授权凭证用于本节点。", "No grant has been used here yet."))


def _state(one: local_pb2.SeenGrant) -> str:
    if one.held_here:
        return t("本部门已撤回：{reason}", "withdrawn here: {reason}", reason=one.reason)
    return t("有关单位已撤回", "withdrawn by those responsible") if one.held_by_market else t("可用", "usable")


@grants.command("hold", help=t("撤回：停止正在执行的任务，不再受理该授权凭证的任何任务。",
                               "Withdraw: stop what is under way, and take no task under this grant."))
def grant_hold(
    context: typer.Context, grant_id: Id,
    reason: Annotated[str, typer.Option(help=t("理由，记入日志。", "The reason; it is journalled."))],
) -> None:
    """Hold a grant."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.HoldGrant(local_pb2.HoldGrantRequest(grant_id=grant_id, reason=reason))
    typer.echo(t("已撤回，本节点不再受理该授权凭证的任务。", "Withdrawn: this node takes no task under it any more."))


@grants.command("release", help=t("恢复本部门撤回的授权凭证。", "Release a grant that this department withdrew."))
def grant_release(context: typer.Context, grant_id: Id) -> None:
    """Release a grant."""
    with problems_told(), reach(context.obj.node_dir) as node:
        changed = node.ReleaseGrant(local_pb2.HoldGrantRequest(grant_id=grant_id)).changed
    if not changed:
        typer.echo(t("本部门没有撤回该授权凭证。", "This department has not withdrawn that grant."), err=True)
        raise typer.Exit(EXIT_REFUSED)
    typer.echo(t("已恢复。", "Released."))
