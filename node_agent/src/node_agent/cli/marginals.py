"""``marginals``: how values spread, measured with noise for sandboxes' mock data, and sent to the market once approved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from node_agent import errors
from node_agent.cli.output import EXIT_REFUSED, Json, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

marginals = typer.Typer(no_args_is_help=True, help=t("数据分布：加噪测量，同意后供沙箱生成模拟数据。",
                                                     "How values spread: measured with noise, for sandboxes' mock data once approved."))
Name = Annotated[str, typer.Argument(metavar="RESOURCE", help=t("资源名称。", "The resource's name."))]
Yes = Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))]


@marginals.command("measure", help=t("加噪测量并留待同意；消耗该资源的隐私预算，尚不送出。",
                                     "Measure with noise and keep it for approval; it costs the resource's privacy budget, and nothing leaves yet."))
def measure(
    context: typer.Context, name: Name,
    epsilon: Annotated[float, typer.Option(help=t("全部字段合计的 ε。", "ε of all columns together."))] = 1.0,
    column: Annotated[list[str] | None, typer.Option(help=t("只测量此字段，可多次给出。", "This column only; may be repeated."))] = None,
    json_: Json = False,
) -> None:
    """Measure marginals."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = node.MeasureMarginals(local_pb2.MeasureMarginalsRequest(name=name, epsilon=epsilon, columns=column or []))
    _print(found, json_)


@marginals.command("show", help=t("查看待同意的和已同意的分布。", "Show what waits and what was approved."))
def show(context: typer.Context, name: Name, json_: Json = False) -> None:
    """Show marginals."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = node.ShowMarginals(local_pb2.MarginalsRequest(name=name))
    _print(found, json_)


@marginals.command("approve", help=t("同意送出测得的分布，或送出手工填写的 JSON 文件；市场上还须部门审核人批准。",
                                     "Approve what was measured, or a JSON file written by hand; at the market a reviewer of the department decides as well."))
def approve(
    context: typer.Context, name: Name,
    file: Annotated[Path | None, typer.Option(help=t("手工填写的分布（JSON：columns）。", "Written by hand (JSON: columns)."), exists=True, dir_okay=False)] = None,
    yes: Yes = False, json_: Json = False,
) -> None:
    """Approve marginals."""
    with problems_told(), reach(context.obj.node_dir) as node:
        request = local_pb2.ApproveMarginalsRequest(name=name)
        if file is not None:
            request.declared.CopyFrom(_read(file))
        elif not json_:
            _print(node.ShowMarginals(local_pb2.MarginalsRequest(name=name)), False)
        if not yes and not typer.confirm(t("将此分布送到市场？", "Send this distribution to the market?")):
            raise typer.Exit(EXIT_REFUSED)
        found = node.ApproveMarginals(request)
    if json_:
        print_json(found)
    else:
        typer.echo(t("已送出，待部门审核人在市场上批准。", "Sent; a reviewer of the department decides on it at the market."))


@marginals.command("withdraw", help=t("收回：不再送给市场，沙箱不再使用。", "Take it back: the market is told nothing any more, and sandboxes use it no more."))
def withdraw(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Withdraw marginals."""
    if not yes and not typer.confirm(t("收回 {name} 的分布？", "Take back the distribution of {name}?", name=name)):
        raise typer.Exit(EXIT_REFUSED)
    with problems_told(), reach(context.obj.node_dir) as node:
        node.WithdrawMarginals(local_pb2.MarginalsRequest(name=name))
    typer.echo(t("已收回。", "Taken back."))


def _read(file: Path) -> link_pb2.Marginals:
    try:
        return json_format.Parse(file.read_text(encoding="utf-8"), link_pb2.Marginals())
    except (OSError, UnicodeDecodeError, json_format.ParseError):
        raise ProblemError(errors.MARGINALS_UNFIT, field="file", column=str(file)) from None


def _print(found: local_pb2.ResourceMarginals, json_: bool) -> None:
    if json_:
        print_json(found)
        return
    from shuyan.mockdata import cell_names

    rows = []
    for state, one in ((t("待同意", "waits"), found.measured), (t("已同意", "approved"), found.approved)):
        for column in one.columns:
            names = cell_names(column.labels, column.edges, column.days)
            rows += [(state, column.name, name, f"{weight / 10:.1f} %") for name, weight in zip(names, column.weights, strict=False)]
    print_table((t("状态", "State"), t("字段", "Column"), t("取值", "Value"), t("占比", "Share")), rows,
                empty=t("没有数据分布。", "No distribution."), numeric=(3,))
