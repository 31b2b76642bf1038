"""``source`` and ``resource``: what the department has, and what it offers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node_agent import errors
from node_agent.cli.notes import class_text, print_notes, print_risk
from node_agent.cli.output import Json, moment, print_fields, print_json, print_table, problems_told
from node_agent.local import reach
from node_agent.resources import MEASURE
from shuyan._text import t
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

sources = typer.Typer(no_args_is_help=True, help=t(
    "数据源：部门自己的文件和数据库，就地读取。", "Sources: the department's own files and databases, read in place."))
resources = typer.Typer(no_args_is_help=True, help=t("资源：登记到市场的数据。", "Resources: data registered with the market."))

Name = Annotated[str, typer.Argument(help=t("名称：小写字母、数字、下划线。", "Name: lower-case letters, digits, underscores."))]


@sources.command("add", help=t("登记文件（CSV、Parquet、JSON）或数据库中的一张表（PostgreSQL、MySQL、SQLite）。",
                               "Add files (CSV, Parquet, JSON) or a database's table (PostgreSQL, MySQL, SQLite)."))
def source_add(
    context: typer.Context, name: Name,
    location: Annotated[str, typer.Argument(help=t(
        "文件路径或通配路径，或 postgres://用户@主机:端口/数据库、mysql://…（不写口令）。",
        "A path or glob, or postgres://user@host:port/database, mysql://… (without the password)."))],
    kind: Annotated[str, typer.Option(help=t(
        "csv、parquet、json、sqlite、postgres 或 mysql；默认按扩展名或地址。",
        "csv, parquet, json, sqlite, postgres or mysql; by the file's ending or the address if not given."))] = "",
    table: Annotated[str, typer.Option(help=t("数据库中的表：表 或 模式.表。", "A database's table: TABLE or SCHEMA.TABLE."))] = "",
    password_file: Annotated[str, typer.Option(help=t(
        "存有口令的文件（每次连接时读取）。", "File with the password, read for each connection."))] = "",
    password_env: Annotated[str, typer.Option(help=t(
        "存有口令的环境变量名（节点进程的环境）。", "Environment variable of the node's process with the password."))] = "",
    key: Annotated[list[str] | None, typer.Option(help=t(
        "决定行序的列（可重复）；默认用主键。", "Column that orders the rows (repeatable); the primary key if not given."))] = None,
    json_: Json = False,
) -> None:
    """Add a source."""
    where = location if "://" in location else str(Path(location).absolute())
    secret = str(Path(password_file).absolute()) if password_file else ""
    with problems_told(), reach(context.obj.node_dir) as node:
        source = node.AddSource(local_pb2.AddSourceRequest(
            name=name, kind=kind, location=where, table=table, password_file=secret, password_variable=password_env,
            key=key or []))
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
    classification: Annotated[list[str] | None, typer.Option("--class", help=t(
        "列分类：列=direct_identifier|quasi_identifier|sensitive|free（可重复）。",
        "A column's classification: COLUMN=direct_identifier|quasi_identifier|sensitive|free (repeatable)."))] = None,
    classify: Annotated[str, typer.Option(help=t(
        "accept：未声明分类的列采用节点的建议。", "accept: take the node's suggestion for columns without a classification."))] = "",
    resolution: Annotated[list[str] | None, typer.Option(help=t(
        "数值列的步长：列=步长，或 列（由节点实测）（可重复）。",
        "A numeric column's step: COLUMN=STEP, or COLUMN to have it measured (repeatable)."))] = None,
    required: Annotated[list[str] | None, typer.Option(help=t(
        "每行都有值的列（可重复）；* 表示数据中无缺失的全部列。对这类列的统计少一轮往返。",
        "A column that has a value in every row (repeatable); * for all that have one now. Statistics of such columns take a round less."))] = None,
    date_column: Annotated[str, typer.Option(help=t("衡量时效性的日期列。", "The date column that timeliness is measured by."))] = "",
    frequency: Annotated[str, typer.Option(help=t(
        "更新频率：realtime、daily、weekly、monthly、quarterly、yearly 或 irregular。",
        "Update frequency: realtime, daily, weekly, monthly, quarterly, yearly or irregular."))] = "",
    standard: Annotated[str, typer.Option(help=t("执行的标准，如 GB/T 2261.2。", "The standard it follows, such as GB/T 2261.2."))] = "",
    steward: Annotated[str, typer.Option(help=t("负责的处室或岗位，公开展示。", "The office that answers for it; shown to everybody."))] = "",
    tag: Annotated[list[str] | None, typer.Option(help=t("标签（可重复）。", "A tag (repeatable)."))] = None,
    element: Annotated[list[str] | None, typer.Option(help=t(
        "列所载的数据元：列=数据元，如 marital=自然人.婚姻状况（可重复）。", "The element a column holds: COLUMN=ELEMENT (repeatable)."))] = None,
    authoritative: Annotated[list[str] | None, typer.Option(help=t(
        "主张该列为其数据元的权威来源（可重复）。", "A column claimed to be its element's authoritative source (repeatable)."))] = None,
    accept_risk: Annotated[str, typer.Option(help=t(
        "重识别风险超过上限仍予登记的理由，记入日志。",
        "Why a risk of re-identification above the limit is accepted; kept in the journal."))] = "",
    json_: Json = False,
) -> None:
    """Register a resource."""
    if classify not in ("", "accept"):
        raise typer.BadParameter("accept", param_hint="--classify")
    with problems_told(), reach(context.obj.node_dir) as node:
        declared = link_pb2.Resource(name=name, title=title, title_en=title_en, description=description, sector=sector,
                                     grade=grade, approval=approval, standard=standard, update_frequency=frequency,
                                     steward=steward, tags=tag or [])
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
        for item in classification or []:
            of, _, value = item.partition("=")
            pick(of).classification = value or "?"
        for item in element or []:
            of, _, value = item.partition("=")
            pick(of).element = value
        for item in authoritative or []:
            pick(item).authoritative = True
        measured_steps = []
        for item in resolution or []:
            of, separator, value = item.partition("=")
            if not separator:
                measured_steps.append(pick(of).name)
                continue
            try:
                pick(of).resolution = float(value)
            except ValueError:
                raise ProblemError(errors.RESOLUTION_INVALID, column=of) from None
        for item in required or []:
            if item != "*":
                pick(item).required = True
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
        resource = node.RegisterResource(local_pb2.RegisterResourceRequest(
            source=source, resource=declared, accept_classification=classify == "accept", accept_risk=accept_risk,
            date_column=date_column, resolution=measured_steps, require_complete="*" in (required or [])))
        details = node.ShowResource(local_pb2.ShowResourceRequest(name=name))
    if json_:
        print_json(resource)
        return
    typer.echo(t("已登记资源 {name}：{rows} 行，{columns} 列。", "Resource {name} registered: {rows} rows, {columns} columns.",
                 name=resource.name, rows=resource.row_count, columns=len(resource.columns)))
    if details.resource.HasField("risk"):
        print_risk(details.resource.risk)
    elif not all(c.classification for c in resource.columns):
        typer.echo(t("尚有列未分类；可先运行 shuyan-node classify {source} 查看建议。",
                     "Some columns have no classification; shuyan-node classify {source} suggests one.", source=source),
                   err=True)


@resources.command("show", help=t("显示资源的列、质量、风险和分布（只在本机）。",
                                  "Show a resource's columns, quality, risk and distributions, on this machine only."))
def resource_show(context: typer.Context, name: Name, json_: Json = False) -> None:
    """Show a resource."""
    with problems_told(), reach(context.obj.node_dir) as node:
        details = node.ShowResource(local_pb2.ShowResourceRequest(name=name))
    if json_:
        print_json(details)
        return
    resource = details.resource.resource
    profile = resource.profile
    quality = {column.name: column for column in profile.columns}
    print_fields([
        (t("名称", "Name"), resource.name), (t("标题", "Title"), t(resource.title, resource.title_en or resource.title)),
        (t("数据源", "Source"), details.resource.source), (t("行数", "Rows"), resource.row_count),
        (t("测量时间", "Measured"), moment(profile.measured_at_ms)),
        (t("完整率", "Completeness"), f"{profile.completeness}%"), (t("有效率", "Validity"), f"{profile.validity}%"),
        (t("唯一率", "Uniqueness"), f"{profile.uniqueness}%"), (t("最新数据", "Latest data"), profile.latest_month or "-"),
        (t("时效性", "Timeliness"), f"{profile.timeliness}%" if profile.HasField("timeliness") else "-"),
        (t("更新频率", "Update frequency"), resource.update_frequency or "-"), (t("执行标准", "Standard"), resource.standard or "-"),
        (t("管理岗位", "Steward"), resource.steward or "-"), (t("标签", "Tags"), t("、", ", ").join(resource.tags) or "-")])
    print_table((t("列", "Column"), t("类型", "Type"), t("分类", "Classification"), t("数据元", "Element"), t("单位", "Unit"), t("步长", "Step"),
                 t("完整率", "Complete"), t("有效率", "Valid")),
                ((c.name, c.type, class_text(c.classification),
                  (c.element + (t("（权威）", " (authoritative)") if c.authoritative else "")) or "-", c.unit or "-",
                  f"{c.resolution:g}" if c.HasField("resolution") else "-",
                  f"{quality[c.name].completeness}%" if c.name in quality else "-",
                  f"{quality[c.name].validity}%" if c.name in quality else "-") for c in resource.columns),
                empty="", numeric=(5, 6, 7))
    if details.resource.HasField("risk"):
        print_risk(details.resource.risk)
    for each in details.distributions:
        cells = t("，", ", ").join(f"{cell.label} {cell.percent}%" for cell in each.cells)
        hidden = t("（另有 {n} 个小格不显示）", " ({n} small cells not shown)", n=each.suppressed) if each.suppressed else ""
        typer.echo(f"{each.column}: {cells or '-'}{hidden}")


@resources.command("refresh", help=t("重新测量行数和质量；登记的内容不变。",
                                     "Measure row counts and quality anew; what was declared stays."))
def resource_refresh(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=t("资源名称；不给则全部。", "A resource; all if not given."))] = "",
    json_: Json = False,
) -> None:
    """Measure resources again."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = list(node.RefreshResources(local_pb2.RefreshResourcesRequest(name=name)).resources)
    if json_:
        print_json(found)
        return
    print_table((t("名称", "Name"), t("原行数", "Rows before"), t("行数", "Rows")),
                ((r.name, r.rows_before, r.rows) for r in found), empty=t("没有资源。", "No resources."), numeric=(1, 2))
    for each in found:
        print_notes(each.notes, each.name)


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
