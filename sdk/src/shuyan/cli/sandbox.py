"""``shuyan sandbox``: open a scenario's sandbox, look at its mock data, run apps on it, and take a run to the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import shuyan
from shuyan._text import t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    market,
    print_fields,
    print_json,
    print_table,
    read_json,
    usage_error,
    word,
)

if TYPE_CHECKING:
    from shuyan import Sandbox

app = typer.Typer(no_args_is_help=True, help=t("沙箱：用模拟数据试运行，再原样提交到节点。",
                                               "Sandboxes: try on mock data, then go to the nodes unchanged."))
Scenario = Annotated[str, typer.Argument(help=t("场景编号。", "The scenario's id."), metavar="SCENARIO")]
Offline = Annotated[bool, typer.Option("--offline", help=t("不联网，使用已取得的说明；运行不留记录。",
                                                           "Ask no market, use what is kept; runs are on no record."))]
Rows = Annotated[int | None, typer.Option(min=1, help=t("每个部门每个资源的模拟数据行数。", "Rows of mock data a resource of a department."))]
Folder = Annotated[Path | None, typer.Option("--dir", help=t("沙箱目录。", "Where sandboxes are kept."), file_okay=False)]


def _box(context: typer.Context, scenario: str, offline: bool, rows: int | None, folder: Path | None) -> Sandbox:
    return shuyan.sandbox(scenario, market=None if offline else market(context), offline=offline, rows=rows, directory=folder)


@app.command("open", help=t("开通或打开场景的沙箱，取得其说明。", "Open a scenario's sandbox and fetch its description."))
def open_(context: typer.Context, scenario: Scenario, folder: Folder = None, as_json: AsJson = False) -> None:
    box = _box(context, scenario, False, None, folder)
    if as_json:
        return print_json({"id": box.id, "resources": box.resources, "basis": box.description.basis, "basis_id": box.description.basis_id,
                           "digest": box.description.digest, "directory": str(box.directory)})
    return print_fields([(t("沙箱", "sandbox"), box.id), (t("数据资源", "resources"), ", ".join(box.resources)),
                         (t("依据", "basis"), box.description.basis_id), (t("摘要", "digest"), box.description.digest),
                         (t("目录", "folder"), box.directory)])


@app.command(help=t("查看沙箱中的资源和字段。", "Show the sandbox's resources and columns."))
def describe(context: typer.Context, scenario: Scenario, offline: Offline = False, folder: Folder = None, as_json: AsJson = False) -> None:
    box = _box(context, scenario, offline, None, folder)
    if as_json:
        return print_json(box.description.model_dump(mode="json"))
    rows = []
    for name in box.resources:
        for column in box.columns(name):
            spread = ", ".join(column["domain"][:6]) or (f"{column['lower']} – {column['upper']}" if column["lower"] is not None else "")
            rows.append([name, column["name"], column["type"], spread, column["unit"]])
    return print_table([t("资源", "resource"), t("字段", "column"), t("类型", "type"), t("取值", "values"), t("单位", "unit")], rows)


@app.command(help=t("查看或保存一个资源的模拟数据。", "Show a resource's mock rows, or save them."))
def data(
    context: typer.Context, scenario: Scenario,
    resource: Annotated[str, typer.Argument(help=t("资源名称。", "Name of the resource."), metavar="RESOURCE")],
    out: Annotated[Path | None, typer.Option(help=t("写入 CSV 文件。", "Write to this CSV file."), dir_okay=False)] = None,
    rows: Rows = None, limit: Limit = 10, offline: Offline = False, folder: Folder = None, as_json: AsJson = False,
) -> None:
    box = _box(context, scenario, offline, rows, folder)
    if out is not None:
        box.save(resource, out)
        return console.print(t("已写入 {out}。", "Written to {out}.", out=out), soft_wrap=True)
    frame = box.frame(resource)
    shown = frame.rows[:limit]
    if as_json:
        return print_json(shown)
    return print_table(frame.columns, [["∅" if value is None else value for value in row.values()] for row in shown])


@app.command(help=t("在模拟数据上试运行，并告知市场。", "Run on mock data, and tell the market."))
def run(
    context: typer.Context, scenario: Scenario,
    app_name: Annotated[str, typer.Option("--app", help=t(
        "应用名称、应用项目目录或应用包。", "Name of an app, folder of an app's project, or a package."))] = "",
    params: Annotated[str, typer.Option(help=t("参数：JSON、@文件 或 -（标准输入）。", "Parameters: JSON, @file, or - for standard input."))] = "{}",
    sql: Annotated[str, typer.Option(help=t("试运行这条查询。", "Try this query."))] = "",
    rows: Rows = None, offline: Offline = False, folder: Folder = None, as_json: AsJson = False,
) -> None:
    if bool(app_name) == bool(sql):
        raise usage_error(t("请给出 --app 或 --sql 之一。", "Give either --app or --sql."))
    box = _box(context, scenario, offline, rows, folder)
    trial = box.sql(sql) if sql else box.run(app_name, read_json(params, "--params"))
    if as_json:
        return print_json({"run": trial.id or None, "digest": trial.digest, "seconds": round(trial.seconds, 3), **trial.parts,
                           "content": trial.content})
    print_table(trial.result.columns, [list(row.values()) for row in trial.result.rows[:50]])
    return print_fields([(t("运行记录", "run"), trial.id or t("无（离线）", "none (offline)")), (t("摘要", "digest"), trial.digest),
                         (t("耗时（秒）", "seconds"), f"{trial.seconds:.2f}")])


@app.command(help=t("列出沙箱的运行记录。", "List the runs of a sandbox."))
def runs(context: typer.Context, scenario: Scenario, limit: Limit = 20, as_json: AsJson = False) -> None:
    with market(context) as entered:
        found = [*entered.sandboxes.list(scenario_id=scenario, limit=1)]
        made = entered.sandboxes.runs(found[0].id, limit=limit) if found else []
    if as_json:
        return print_json(made)
    return print_table([t("编号", "id"), t("程序", "app"), t("状态", "state"), t("摘要", "digest"), t("任务", "jobs")],
                       [[one.id, one.app, word("state", one.status), one.digest[:19], ", ".join(one.jobs)] for one in made])


@app.command(help=t("把一次成功的试运行原样提交到节点。", "Submit a run that succeeded to the nodes, unchanged."))
def promote(
    context: typer.Context, scenario: Scenario,
    run_id: Annotated[str, typer.Argument(help=t("运行编号。", "The run's id."), metavar="RUN")],
    title: Annotated[str, typer.Option(help=t("任务标题。", "Title of the job."))] = "",
    yes: Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))] = False,
    as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        info = entered.sandboxes.open(scenario)
        made = next((one for one in entered.sandboxes.runs(info.id) if one.id == run_id), None)
        if made is None:
            raise usage_error(t("沙箱中没有这次运行：{run}。", "The sandbox has no such run: {run}.", run=run_id))
        if not info.basis or info.basis["kind"] != "grant":
            raise usage_error(t("该场景的授权凭证尚未签发。", "The scenario's grant is not signed yet."))
        if not yes and not typer.confirm(t("将 {app} 原样提交到各部门节点？", "Submit {app} to the departments' nodes, unchanged?", app=made.app)):
            raise typer.Exit(1)
        job = entered.jobs.submit(info.basis["id"], made.app, made.params, title=title, sandbox_run=made.id)
    if as_json:
        return print_json(job)
    return console.print(t("任务 {id}：{status}", "Job {id}: {status}", id=job.id, status=word("state", job.status)))
