"""``shuyan jobs``: submit, watch, cancel, and read what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import shuyan
from shuyan import JobFailed
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
    word,
)

app = typer.Typer(no_args_is_help=True, help=t("联邦计算任务。", "Federated jobs."))
JobId = Annotated[str, typer.Argument(help=t("任务编号。", "Job id."), metavar="ID")]


@app.command(help=t("在授权凭证下提交任务。", "Submit a job under a grant."))
def submit(
    context: typer.Context,
    grant: Annotated[str, typer.Option(help=t("授权凭证编号。", "Grant id."))],
    app_name: Annotated[str, typer.Option("--app", help=t("联邦计算程序名称。", "Name of the federated app."))],
    params: Annotated[str, typer.Option(help=t("参数：JSON、@文件 或 -（标准输入）。", "Parameters: JSON, @file, or - for standard input."))],
    title: Annotated[str, typer.Option(help=t("任务标题。", "Title of the job."))] = "",
    key: Annotated[str | None, typer.Option(help=t("幂等键：同一键只提交一次。", "Idempotency key: submitted once per key."))] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help=t("即使此前已有相同问题的结果也重新计算。",
                                                          "Compute again what was answered before."))] = False,
    watch_it: Annotated[bool, typer.Option("--watch", help=t("等待并显示进度。", "Wait and show the progress."))] = False,
    as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        job = entered.jobs.submit(grant, app_name, read_json(params, "--params"), title=title, key=key, fresh=fresh)
        if watch_it:
            _watch(job, quiet=as_json)
    if as_json:
        print_json(job)
    else:
        console.print(t("任务 {id}：{status}", "Job {id}: {status}", id=job.id, status=word("state", job.status)))


@app.command("list", help=t("列出任务。", "List jobs."))
def list_jobs(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    with market(context) as entered:
        found = [*entered.jobs.list(limit=limit)]
    if as_json:
        return print_json(found)
    return print_table([t("编号", "id"), t("标题", "title"), t("程序", "app"), t("状态", "status"), t("轮次", "round")],
                       [(j.id, j.title, j.app_name, word("state", j.status), f"{j.round}/{j.rounds}") for j in found])


@app.command(help=t("查看一个任务及其日志。", "Show a job and its log."))
def show(context: typer.Context, id: JobId, as_json: AsJson = False) -> None:
    with market(context) as entered:
        job = entered.jobs.get(id)
        lines = job.log()
    if as_json:
        return print_json({**job.model_dump(mode="json"), "log": [line.model_dump(mode="json") for line in lines]})
    print_fields([(t("编号", "id"), job.id), (t("标题", "title"), job.title), (t("程序", "app"), job.app_name),
                  (t("凭证", "grant"), job.grant_id), (t("状态", "status"), word("state", job.status)),
                  (t("轮次", "round"), f"{job.round}/{job.rounds}"),
                  *([(t("待审批", "awaiting approval"), "、".join(job.waiting_for.values()))] if job.waiting_for else [])])
    return _print_lines(lines)


@app.command(help=t("等待任务结束并显示进度；Ctrl-C 只停止观看。", "Wait for a job and show its progress; Ctrl-C only stops watching."))
def watch(context: typer.Context, id: JobId) -> None:
    with market(context) as entered:
        job = entered.jobs.get(id)
        _watch(job, quiet=False)


@app.command(help=t("取消任务。", "Cancel a job."))
def cancel(context: typer.Context, id: JobId) -> None:
    with market(context) as entered:
        job = entered.jobs.get(id).cancel()
    console.print(t("任务 {id}：{status}", "Job {id}: {status}", id=job.id, status=word("state", job.status)))


@app.command(help=t("取出已批准出域的结果（JSON）。", "Print the result that was approved to leave the domain, as JSON."))
def result(
    context: typer.Context, id: JobId,
    out: Annotated[Path | None, typer.Option(help=t("写入文件。", "Write to this file."))] = None,
) -> None:
    with market(context) as entered:
        content = entered.jobs.get(id).result()
    if out is None:
        return print_json(content)
    import json

    out.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return console.print(t("结果已写入 {out}。", "The result is in {out}.", out=out))


def _watch(job: shuyan.Job, *, quiet: bool) -> None:
    job.wait(progress=None if quiet else lambda _, lines: _print_lines(lines))
    if job.status != "completed":
        raise JobFailed(t("任务 {id} 结束：{status}。", "Job {id} ended: {status}.", id=job.id, status=word("state", job.status)),
                        job_id=job.id, status=job.status, code=job.error_code)


def _print_lines(lines: list[shuyan.LogLine]) -> None:
    for line in lines:
        style = {"error": "red", "warning": "yellow"}.get(line.level)
        console.print(f"{line.at.astimezone():%H:%M:%S}  {line.text or line.code}", style=style)
