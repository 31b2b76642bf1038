"""``view``, ``classify`` and ``risk``: what the department makes of its data before it offers them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node_agent import errors
from node_agent.cli.notes import class_text, evidence_text, print_notes, print_risk
from node_agent.cli.output import EXIT_REFUSED, Json, print_json, print_table, problems_told
from node_agent.local import reach
from shuyan._text import t
from shuyan.problems import ProblemError
from shuyan_protos.local.v1 import local_pb2

views = typer.Typer(no_args_is_help=True, help=t(
    "视图：用 SQL 在本节点的数据源上脱敏、泛化和统一口径。",
    "Views: mask, generalise and standardise this node's sources in SQL."))

Name = Annotated[str, typer.Argument(help=t("名称：小写字母、数字、下划线。", "Name: lower-case letters, digits, underscores."))]
SqlFile = Annotated[str, typer.Option("--sql", help=t("SQL 文件；- 表示标准输入。", "File with the SQL; - for standard input."))]


def _read_sql(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ProblemError(errors.VIEW_FILE, path=path) from None


@views.command("add", help=t("新建视图：检查语句、类型、空结果和重复行。",
                             "Add a view; its SQL, types, emptiness and repeated rows are checked."))
def view_add(
    context: typer.Context, name: Name, sql: SqlFile,
    replace: Annotated[bool, typer.Option("--replace", help=t("替换同名视图。", "Replace the view of that name."))] = False,
    yes: Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))] = False,
    json_: Json = False,
) -> None:
    """Add a view."""
    with problems_told(), reach(context.obj.node_dir) as node:
        text = _read_sql(sql)
        if replace and not yes and any(
                s.name == name for s in node.ListSources(local_pb2.ListSourcesRequest()).sources):
            _confirm(t("替换视图 {name}，原语句不再保留？", "Replace the view {name}? Its present SQL is not kept.", name=name))
        report = node.AddView(local_pb2.AddViewRequest(name=name, sql=text, replace=replace))
    if json_:
        print_json(report)
        return
    typer.echo(t("已建立视图 {name}：{rows} 行，{columns} 列。", "View {name} added: {rows} rows, {columns} columns.",
                 name=report.source.name, rows=report.source.row_count, columns=len(report.source.columns)))
    print_notes(report.notes)


@views.command("preview", help=t("查看前几行（最多 20 行），只显示在本机。", "Show the first rows, at most 20, on this machine only."))
def view_preview(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=t("视图或数据源名称；与 --sql 二选一。", "A view or source, or else --sql."))] = "",
    sql: Annotated[str, typer.Option("--sql", help=t("试一条尚未保存的 SQL：文件或 -。", "Try SQL not kept yet: a file, or -."))] = "",
    rows: Annotated[int, typer.Option(min=1, max=20, help=t("行数。", "Number of rows."))] = 10,
    json_: Json = False,
) -> None:
    """Show the first rows."""
    if bool(name) == bool(sql):
        raise typer.BadParameter(t("请给出名称或 --sql 之一。", "Give either a name or --sql."))
    with problems_told(), reach(context.obj.node_dir) as node:
        preview = node.PreviewView(local_pb2.PreviewViewRequest(
            name=name, sql=_read_sql(sql) if sql else "", limit=rows))
    told = [[value.text if value.HasField("text") else None for value in row.values] for row in preview.rows]
    names = [column.name for column in preview.columns]
    if json_:
        print_json([dict(zip(names, row, strict=True)) for row in told])
        return
    print_table(names, ([("∅" if text is None else text) for text in row] for row in told), empty=t("没有记录。", "No rows."))


@views.command("list", help=t("列出视图。", "List the views."))
def view_list(context: typer.Context, json_: Json = False) -> None:
    """List the views."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = [s for s in node.ListSources(local_pb2.ListSourcesRequest()).sources if s.kind == "view"]
    if json_:
        print_json(found)
        return
    print_table((t("名称", "Name"), t("行数", "Rows"), t("读取", "Reads"), t("列", "Columns")),
                ((s.name, s.row_count, ", ".join(s.reads), ", ".join(f"{c.name}:{c.type}" for c in s.columns))
                 for s in found), empty=t("没有视图。", "No views."), numeric=(1,))


@views.command("show", help=t("显示视图的 SQL。", "Print a view's SQL."))
def view_show(context: typer.Context, name: Name, json_: Json = False) -> None:
    """Print a view's SQL."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = _find(node, name)
    if json_:
        print_json(found)
        return
    typer.echo(found.sql)


@views.command("remove", help=t("移除视图。", "Remove a view."))
def view_remove(
    context: typer.Context, name: Name,
    yes: Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))] = False,
) -> None:
    """Remove a view."""
    with problems_told(), reach(context.obj.node_dir) as node:
        _find(node, name)
        if not yes:
            _confirm(t("移除视图 {name}？其语句不再保留。", "Remove the view {name}? Its SQL is not kept.", name=name))
        node.RemoveSource(local_pb2.RemoveSourceRequest(name=name))
    typer.echo(t("已移除视图 {name}。", "View {name} removed.", name=name))


@views.command("functions", help=t("列出视图可用的脱敏、泛化和标准化函数。",
                                   "List the functions that views have for masking, generalising and standardising."))
def view_functions(json_: Json = False) -> None:
    """List the helper functions."""
    from node_agent.views_functions import functions

    found = list(functions().values())
    if json_:
        print_json([{"name": f.name, "parameters": f.parameters, "zh": f.zh, "en": f.en} for f in found])
        return
    print_table((t("函数", "Function"), t("作用", "What it does")),
                ((f"{f.name}({f.parameters})", t(f.zh, f.en)) for f in found), empty="")


def classify(
    context: typer.Context, source: Name,
    sample: Annotated[int, typer.Option(min=10, max=100_000, help=t("抽样行数。", "Rows to sample."))] = 2_000,
    json_: Json = False,
) -> None:
    """Suggest what each column is."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = node.Classify(local_pb2.ClassifyRequest(source=source, sample=sample))
    if json_:
        print_json(found)
        return
    print_table((t("列", "Column"), t("类型", "Type"), t("建议分类", "Suggestion"), t("依据", "Evidence"),
                 t("不同取值", "Different"), t("步长", "Step")),
                ((c.name, c.type, class_text(c.suggestion), evidence_text(c.evidence), f"{c.distinct_share:.0%}",
                  f"{c.resolution:g}" if c.HasField("resolution") else "-") for c in found.columns),
                empty=t("没有列。", "No columns."), numeric=(4, 5))
    typer.echo(t("抽样 {rows} 行；建议仅供参考，以您的登记为准。", "{rows} rows sampled. These are suggestions; what you declare counts.",
                 rows=found.sampled), err=True)


def risk(
    context: typer.Context, source: Name,
    quasi: Annotated[str, typer.Option(help=t("准标识列，逗号分隔。", "Quasi-identifiers, separated by commas."))],
    sensitive: Annotated[str, typer.Option(help=t("敏感列，逗号分隔。", "Sensitive columns, separated by commas."))] = "",
    json_: Json = False,
) -> None:
    """Measure the risk of re-identification."""
    with problems_told(), reach(context.obj.node_dir) as node:
        found = node.MeasureRisk(local_pb2.MeasureRiskRequest(
            source=source, quasi=_names(quasi), sensitive=_names(sensitive)))
    if json_:
        print_json(found)
        return
    print_risk(found)


def add_to(app: typer.Typer) -> None:
    """Register the commands that stand alone."""
    app.add_typer(views, name="view")
    app.command("classify", help=t("在本机抽样，建议每列的分类并给出依据。",
                                   "Sample a source on this machine and suggest what each column is, and why."))(classify)
    app.command("risk", help=t("按准标识列测量重识别风险（k 匿名、l 多样性）。",
                               "Measure the risk of re-identification over quasi-identifiers (k-anonymity, l-diversity)."))(risk)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.replace("，", ",").split(",") if name.strip()]


def _find(node: Any, name: str) -> Any:
    for source in node.ListSources(local_pb2.ListSourcesRequest()).sources:
        if source.name == name and source.kind == "view":
            return source
    raise ProblemError(errors.VIEW_NOT_FOUND, name=name)


def _confirm(question: str) -> None:
    if not typer.confirm(question):
        raise typer.Exit(EXIT_REFUSED)
