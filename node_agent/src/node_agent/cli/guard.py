"""``guard``: which questions are remembered, so that their answers cannot be subtracted from later ones."""

from __future__ import annotations

from typing import Annotated

import typer

from node_agent.cli.output import EXIT_REFUSED, Json, moment, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
from shuyan_protos.local.v1 import local_pb2

guards = typer.Typer(no_args_is_help=True, help=t(
    "防差分推断：节点记住已答复的问题涉及哪些记录，拒绝与之过于接近的新问题。",
    "The differencing guard: which questions are remembered, so that none too close to them is answered."))


@guards.command("list", help=t("列出记住的问题（记录占比为约数）。", "List the remembered questions; shares of rows are rounded."))
def guard_list(
    context: typer.Context,
    grantee: Annotated[str, typer.Option(help=t("只看此使用单位（单位编号）。", "Only of this grantee (organisation id)."))] = "",
    json_: Json = False,
) -> None:
    """List the remembered questions."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = [one for one in node.ListGuard(local_pb2.ListGuardRequest()).questions if grantee in ("", one.grantee)]
    if json_:
        print_json(found)
        return
    print_table((t("时间", "Time"), t("使用单位", "Grantee"), t("单位编号", "Organisation"), t("资源", "Resource"),
                 t("应用", "App"), t("记录占比", "Share of rows"), t("条件数", "Conditions"), t("答复次数", "Answers")),
                ((moment(q.at_ms), q.grantee_name, q.grantee, q.resource, q.app, f"{q.share:.0%}", q.sets, q.times) for q in found),
                empty=t("没有记住的问题。", "No questions are remembered."), numeric=(5, 6, 7))


@guards.command("reset", help=t("忘记某使用单位就某资源得到答复的全部问题；此后不再防范与这些答复相减。",
                                "Forget all that a grantee was answered about a resource; later answers can then be subtracted."))
def guard_reset(
    context: typer.Context,
    grantee: Annotated[str, typer.Option(help=t("使用单位（单位编号）。", "The grantee (organisation id)."))],
    resource: Annotated[str, typer.Option(help=t("资源名称。", "The resource's name."))],
    confirm: Annotated[bool, typer.Option("--confirm", help=t("确认。", "Yes, really."))] = False,
) -> None:
    """Forget a grantee's questions."""
    if not confirm:
        typer.echo(t("此操作会取消对已答复问题的防差分保护，并记入日志。确认请加 --confirm。",
                     "This takes the protection of what was answered away, and is journalled. Add --confirm to do it."), err=True)
        raise typer.Exit(EXIT_REFUSED)
    with problems_told(), reach(context.obj.node_dir) as node:
        forgotten = node.ResetGuard(local_pb2.ResetGuardRequest(grantee=grantee, resource=resource)).questions
    typer.echo(t("已忘记 {count} 个问题。", "{count} questions forgotten.", count=forgotten))
