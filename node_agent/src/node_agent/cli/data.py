"""``source`` and ``resource``: what the department has, and what it offers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node_agent import errors
from node_agent.cli.output import Json, print_json, print_table, problems_told
from node_agent.local import reach
from node_agent.resources import MEASURE
from shuyan._text import t
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

sources = typer.Typer(no_args_is_help=True, help=t("数据源：部门自己的文件，就地读取。", "Sources: the department's own files, read in place."))
resources = typer.Typer(no_args_is_help=True, help=t("资源：登记到市场的数据。", "Resources: data registered with the market."))

Name = Annotated[str, typer.Argument(help=t("名称：小写字母、数字、下划线。", "Name: lower-case letters, digits, underscores."))]


@sources.command("add", help=t("登记一个文件或通配路径（CSV、Parquet）。", "Add a file or glob (CSV, Parquet)."))
def source_add(
    context: typer.Context, name: Name,
    location: Annotated[str, typer.Argument(help=t("文件路径或通配路径。", "A path or glob."))],
    kind: Annotated[str, typer.Option(help=t("csv 或 parquet；默认按扩展名。", "csv or parquet; by the file's ending if not given."))] = "",
    json_: Json = False,
) -> None:
    """Add a source."""
    absolute = str(Path(location).absolute())
    with problems_told(), reach(context.obj.node_dir) as node:
        source = node.AddSource(local_pb2.AddSourceRequest(name=name, kind=kind, location=absolute))
    if json_:
        print_json(source)
        return
    typer.echo(t("已登记数据源 {name}：{rows} 行，{columns} 列。", "Source {name} added: {rows} rows, {columns} columns.",
                 name=source.name, rows=source.row_count, columns=len(source.columns)))


@sources.command("list", help=t("列出数据源。", "List the sources."))
def source_list(context: typer.Context, json_: Json = False) -> None:
    """List the sources."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListSources(local_pb2.ListSourcesRequest()).sources)
    if json_:
        print_json(found)
        return
    print_table((t("名称", "Name"), t("类型", "Kind"), t("行数", "Rows"), t("位置", "Location"), t("列", "Columns")),
                ((s.name, s.kind, s.row_count, s.location, ", ".join(f"{c.name}:{c.type}" for c in s.columns))
                 for s in found), empty=t("没有数据源。", "No sources."), numeric=(2,))


@sources.command("remove", help=t("移除数据源（不动文件）。", "Remove a source; its files are not touched."))
def source_remove(context: typer.Context, name: Name) -> None:
    """Remove a source."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.RemoveSource(local_pb2.RemoveSourceRequest(name=name))
    typer.echo(t("已移除数据源 {name}。", "Source {name} removed.", name=name))


@resources.command("register", help=t("登记或更新资源；类型和行数由节点实测。",
                                      "Register or update a resource; types and row count are measured."))
def resource_register(
    context: typer.Context, name: Name,
    source: Annotated[str, typer.Option(help=t("数据源名称。", "The source's name."))],
    sector: Annotated[str, typer.Option(help=t("领域，如 health、finance。", "Sector, such as health or finance."))],
    grade: Annotated[int, typer.Option(min=1, max=4, help=t("分级 1–4；4 级不会被授权。", "Grade 1–4; grade 4 is never granted."))],
    title: Annotated[str, typer.Option(help=t("中文名称。", "Title in Chinese."))] = "",
    title_en: Annotated[str, typer.Option(help=t("英文名称。", "Title in English."))] = "",
    description: Annotated[str, typer.Option(help=t("说明。", "Description."))] = "",
    approval: Annotated[str, typer.Option(help=t("审批方式：manual（人工）或 automatic（自动）。", "manual or automatic."))] = "manual",
    column: Annotated[list[str] | None, typer.Option(help=t("只登记这些列（可重复）。", "Only these columns (repeatable)."))] = None,
    dimension: Annotated[list[str] | None, typer.Option(help=t(
        "分组维度：列 或 列=值1,值2（可重复）；不给值则实测。", "A dimension: COLUMN, measured, or COLUMN=v1,v2 (repeatable)."))] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help=t(
        "数据未能确定的列类型：列=类型，如 列=number（可重复）；逐值核验。",
        "A type the data leave open: COLUMN=TYPE, such as COLUMN=number (repeatable); every value is tried."))] = None,
    identifier: Annotated[list[str] | None, typer.Option(help=t("标识列，永不授权（可重复）。", "An identifier, never granted (repeatable)."))] = None,
    bounds: Annotated[list[str] | None, typer.Option(help=t("取值范围：列=下界:上界（可重复）。", "Bounds: COLUMN=LOWER:UPPER (repeatable)."))] = None,
    unit: Annotated[list[str] | None, typer.Option(help=t("单位：列=单位（可重复）。", "Unit: COLUMN=UNIT (repeatable)."))] = None,
    column_title: Annotated[list[str] | None, typer.Option(help=t("列名称：列=名称（可重复）。", "Column title: COLUMN=TITLE (repeatable)."))] = None,
    json_: Json = False,
) -> None:
    """Register a resource."""
    with problems_told(), reach(context.obj.node_dir) as node:
        declared = link_pb2.Resource(name=name, title=title, title_en=title_en, description=description, sector=sector,
                                     grade=grade, approval=approval)
        known = {s.name: s for s in node.ListSources(local_pb2.ListSourcesRequest()).sources}
        if source not in known:
            raise ProblemError(errors.SOURCE_NOT_FOUND, name=source)
        supported = {"integer", "number", "string", "boolean", "date", "timestamp"}
        names = column or [c.name for c in known[source].columns if c.type in supported]
        by_name = {each: declared.columns.add(name=each) for each in dict.fromkeys(names)}

        def pick(given: str) -> link_pb2.Column:
            if given not in by_name:
                raise ProblemError(errors.RESOURCE_COLUMN, field="columns", column=given)
            return by_name[given]

        for item in type_ or []:
            of, _, value = item.partition("=")
            pick(of).type = value or "?"
        for item in identifier or []:
            pick(item).identifier = True
        for item in dimension or []:
            of, separator, values = item.partition("=")
            pick(of).domain.extend(values.split(",") if separator else [MEASURE])
        for item in unit or []:
            of, _, value = item.partition("=")
            pick(of).unit = value
        for item in column_title or []:
            of, _, value = item.partition("=")
            pick(of).title = value
        for item in bounds or []:
            of, _, value = item.partition("=")
            lower, _, upper = value.partition(":")
            try:
                pick(of).lower, pick(of).upper = float(lower), float(upper)
            except ValueError:
                raise ProblemError(errors.BOUNDS_INVALID, column=of) from None
        resource = node.RegisterResource(local_pb2.RegisterResourceRequest(source=source, resource=declared))
    if json_:
        print_json(resource)
        return
    typer.echo(t("已登记资源 {name}：{rows} 行，{columns} 列。", "Resource {name} registered: {rows} rows, {columns} columns.",
                 name=resource.name, rows=resource.row_count, columns=len(resource.columns)))


@resources.command("list", help=t("列出资源。", "List the resources."))
def resource_list(context: typer.Context, json_: Json = False) -> None:
    """List the resources."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.ListResources(local_pb2.ListResourcesRequest()).resources)
    if json_:
        print_json(found)
        return
    approvals = {"automatic": t("自动", "automatic"), "manual": t("人工", "manual")}
    print_table((t("名称", "Name"), t("标题", "Title"), t("领域", "Sector"), t("分级", "Grade"), t("行数", "Rows"),
                 t("审批", "Approval"), t("市场编号", "Market id")),
                ((r.resource.name, t(r.resource.title, r.resource.title_en or r.resource.title), r.resource.sector,
                  r.resource.grade, r.resource.row_count, approvals.get(r.resource.approval, r.resource.approval),
                  r.resource_id or "-") for r in found),
                empty=t("没有资源。", "No resources."), numeric=(3, 4))


@resources.command("withdraw", help=t("从市场撤下资源。", "Take a resource off the market."))
def resource_withdraw(context: typer.Context, name: Name) -> None:
    """Withdraw a resource."""
    with problems_told(), reach(context.obj.node_dir) as node:
        node.WithdrawResource(local_pb2.WithdrawResourceRequest(name=name))
    typer.echo(t("已撤下资源 {name}。", "Resource {name} withdrawn.", name=name))
