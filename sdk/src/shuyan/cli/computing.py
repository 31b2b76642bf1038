"""``shuyan sql``, ``train`` and ``budget``: computing on rows nobody sees, in one command."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import shuyan
from shuyan import _tables
from shuyan._computing import Job, training
from shuyan._text import t
from shuyan.cli._common import (
    AsJson,
    console,
    market,
    print_fields,
    print_json,
    print_table,
    read_json,
    usage_error,
    word,
)

Grant = Annotated[str, typer.Option(help=t("授权凭证编号。", "Grant id."))]
Title = Annotated[str, typer.Option(help=t("任务标题。", "Title of the job."))]
Fresh = Annotated[bool, typer.Option("--fresh", help=t("即使此前已有相同问题的结果也重新计算。", "Compute again what was answered before."))]
Detach = Annotated[bool, typer.Option("--detach", help=t("提交后不等待。", "Submit and do not wait."))]


def add_to(app: typer.Typer) -> None:
    app.command("sql", help=t("以 SQL 查询各部门的数据；结果经出域审核后显示，Ctrl-C 取消任务。",
                              "Query all departments' data in SQL; shown once its egress review has released it. Ctrl-C cancels."))(sql)
    app.command("train", help=t("用各部门的数据训练模型；Ctrl-C 取消任务。", "Train a model on all departments' data. Ctrl-C cancels."))(train)
    app.command("budget", help=t("查看授权凭证下的隐私预算。", "Show the privacy budgets of a grant."))(budget)


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help=t("查询语句、@文件 或 -（标准输入）。", "The query, @file, or - for standard input."))],
    grant: Grant, explain: Annotated[bool, typer.Option("--explain", help=t(
        "只说明将如何计算、什么会离开节点、花费多少，不提交。", "Only say what would be computed, what leaves, and what it costs."))] = False,
    csv: Annotated[Path | None, typer.Option(help=t("写入 CSV 文件。", "Write to this CSV file."), metavar="FILE")] = None,
    parquet: Annotated[Path | None, typer.Option(help=t("写入 Parquet 文件（需 pyarrow）。", "Write to this Parquet file (needs pyarrow)."),
                                                 metavar="FILE")] = None,
    title: Title = "", fresh: Fresh = False, detach: Detach = False, as_json: AsJson = False,
) -> None:
    text = _read_text(query)
    with market(context) as entered:
        if explain:
            told = entered.explain(text, grant=grant)
            return print_json(told) if as_json else _print_explanation(told)
        job = entered.jobs.submit(grant, "query", {"sql": text}, title=title, fresh=fresh)
        if detach:
            return _print_job(job, as_json)
        result = _finish(job, quiet=as_json)
    if csv is not None:
        result.to_csv(csv)
    if parquet is not None:
        result.to_parquet(parquet)
    if as_json:
        return print_json(result.content)
    for path in (csv, parquet):
        if path is not None:
            console.print(t("结果已写入 {out}。", "The result is in {out}.", out=path))
    if csv is None and parquet is None:
        _print_rows(result)
    return None


def train(
    context: typer.Context,
    family: Annotated[str, typer.Argument(help=t(
        "模型种类：linear、logistic、multinomial、poisson、boosting、network、clustering、components、survival。",
        "Family of models: linear, logistic, multinomial, poisson, boosting, network, clustering, components, survival."))],
    grant: Grant,
    feature: Annotated[list[str] | None, typer.Option("--feature", "-f", help=t("特征字段，可重复。", "A column to learn from; repeat."))] = None,
    target: Annotated[str | None, typer.Option(help=t("目标字段。", "The column to learn."))] = None,
    resource: Annotated[str | None, typer.Option(help=t("数据资源名称；凭证只含一个时可省略。",
                                                        "Name of the resource; needless where the grant has one."))] = None,
    params: Annotated[str | None, typer.Option(help=t("其他参数：JSON、@文件 或 -。", "Other parameters: JSON, @file, or -."))] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help=t("单个参数，名称=值，可重复。", "One parameter, name=value; repeat."),
                                                   metavar="NAME=VALUE")] = None,
    explain: Annotated[bool, typer.Option("--explain", help=t("只说明将如何计算，不提交。", "Only say what would be computed."))] = False,
    out: Annotated[Path | None, typer.Option(help=t("把模型写入文件（JSON）。", "Write the model to this file, as JSON."), metavar="FILE")] = None,
    title: Title = "", fresh: Fresh = False, detach: Detach = False, as_json: AsJson = False,
) -> None:
    more = read_json(params, "--params") if params is not None else {}
    more |= dict(_setting(item) for item in set_ or ())
    with market(context) as entered:
        app, body = training(family, [*(feature or more.pop("features", ()))], target, more)
        body["resource"] = resource or more.get("resource") or entered._only_resource(grant)
        if explain:
            told = entered.jobs.explain(grant, app, body)
            return print_json(told) if as_json else _print_explanation(told)
        job = entered.jobs.submit(grant, app, body, title=title, fresh=fresh)
        if detach:
            return _print_job(job, as_json)
        model = _finish(job, quiet=as_json)
    if out is not None:
        out.write_text(json.dumps(model.content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if as_json:
        return print_json(model.content)
    content = model.content
    shown = [(t("模型", "model"), content.get("family", family)), (t("目标", "target"), content.get("target", "–")),
             (t("记录数", "rows"), f"{content.get('rows', 0):,}"), (t("参与单位", "departments"), content.get("departments", "–")),
             (t("轮数", "rounds"), content.get("rounds", "–"))]
    metrics = content.get("metrics") or {}
    shown += [(name, f"{value:.6g}") for name, value in metrics.items()
              if isinstance(value, int | float) and not isinstance(value, bool)]
    print_fields(shown)
    if model.rows:
        console.print()
        _print_rows(model)
    if out is not None:
        console.print(t("模型已写入 {out}。", "The model is in {out}.", out=out))
    return None


def budget(context: typer.Context, grant: Annotated[str, typer.Argument(help=t("授权凭证编号。", "Grant id."), metavar="GRANT")],
           as_json: AsJson = False) -> None:
    with market(context) as entered:
        found = entered.budgets(grant)
        noisy = found or entered.grants.get(grant).release == "dp"
    if as_json:
        return print_json(found)
    if not noisy:
        return console.print(t("该凭证为精确发布，不消耗隐私预算。", "Answers under this grant are exact; they cost no privacy budget."))
    scopes = {"grant": t("本凭证", "this grant"), "grantee": t("本单位", "your organisation"), "resource": t("该资源全部使用方", "all users")}
    return print_table(
        [t("部门", "department"), t("范围", "scope"), t("资源", "resource"), t("ε 上限", "ε cap"), t("ε 已用", "ε spent"),
         t("ρ 剩余", "ρ left"), "δ", t("续期", "renewal")],
        [(b.department, scopes.get(b.scope, b.scope), b.resource or "–", f"{b.epsilon_cap:.3g}", f"{b.epsilon_spent:.3g}",
          f"{b.left_nano / 1e9:.6g}", f"{b.delta:g}", f"{b.renews_at:%Y-%m-%d}" if b.renews_at else "–") for b in found],
        numeric=(3, 4, 5, 6))


# --- waiting ---


def _finish(job: Job, *, quiet: bool) -> shuyan.Result:
    """Wait for a job and show how far it is; Ctrl-C cancels it."""
    try:
        job.wait(progress=None if quiet else _Live())
    except KeyboardInterrupt:
        with suppress(shuyan.ShuyanError):
            job.cancel()
        job.refresh()
        sentence = t("任务 {id} 已取消。", "Job {id} was cancelled.", id=job.id) if job.status in ("cancelled", "running") else t(
            "不再等待；审核通过后运行 shuyan jobs result {id} 取结果。",
            "Not waiting any more; once it is released: shuyan jobs result {id}", id=job.id)
        print(sentence, file=sys.stderr)
        raise
    return job.released()


class _Live:
    """Progress on standard error: lines as they come and, on a terminal, one that is written over."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = ""

    def __call__(self, job: Job, lines: list[shuyan.LogLine]) -> None:
        for line in lines:
            if line.code in ("round_finished", "round_loss") and self._console.is_terminal:
                continue
            style = {"error": "red", "warning": "yellow"}.get(line.level)
            self._console.print(f"{line.at.astimezone():%H:%M:%S}  {line.text or line.code}", style=style, markup=False)
        now = f"{word('state', job.status)} {job.round}/{job.rounds}" if job.rounds else word("state", job.status)
        if self._console.is_terminal and now != self._status and not job.ended:
            self._console.print(now, end="\r", style="dim", markup=False)
        self._status = now


# --- showing ---


def _print_job(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        console.print(t("任务 {id}：{status}", "Job {id}: {status}", id=job.id, status=word("state", job.status)))


def _print_rows(result: shuyan.Result) -> None:
    numeric = tuple(place for place, name in enumerate(result.columns)
                    if all(isinstance(row[name], int | float | None) for row in result.rows))
    print_table(result.columns, [[_cell(row[name]) for name in result.columns] for row in result.rows], numeric=numeric)
    suppressed = result.content.get("suppressed", 0)
    if suppressed:
        console.print(t("另有 {n} 个分组因记录数不足未显示。", "{n} more groups are not shown, for too few rows.", n=suppressed))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _print_explanation(told: shuyan.Explanation) -> None:
    cost = t("不消耗隐私预算", "no privacy budget") if told.cost is None else t(
        "每个部门至多 ε = {epsilon:.3g}（δ = {delta:g}，ρ = {rho:g}）", "ε = {epsilon:.3g} at most at each department (δ = {delta:g}, ρ = {rho:g})",
        epsilon=told.cost["epsilon"], delta=told.cost["delta"], rho=told.cost["rho_nano"] / 1e9)
    fields: list[tuple[str, object]] = [
        (t("读取", "reads"), "; ".join(f"{name}: {', '.join(columns)}" for name, columns in told.resources.items())),
        (t("参与单位", "departments"), ", ".join(
            str(one["name"]) + (t("（需审批）", " (approves each use)") if one["approval"] == "manual" else "")
            + (t("（未放行该应用）", " (has not allowed the app)") if one["allowed"] is False else "") for one in told.departments)),
        (t("轮数", "rounds"), told.rounds or t("视中间结果而定", "depends on the answers")),
        (t("分组数", "groups"), "–" if told.cells is None else told.cells),
        (t("最小群体", "cohort"), told.cohort), (t("花费", "cost"), cost)]
    if told.open_key is not None:
        fields.append((t("未登记分组", "undeclared groups"), t(
            "至多 {keys} 个，约 {units:.0f} 个单位以上方可显示", "at most {keys}, each of about {units:.0f} units or more",
            keys=told.open_key["max_keys"], units=told.open_key["threshold"])))
    if told.cost is not None and told.cost["short"]:
        fields.append((t("预算不足", "budget too small at"), ", ".join(told.cost["short"])))
    print_fields(fields)
    for core in told.computes:
        console.print()
        console.print(t("各节点在自己的数据上计算：", "Each node computes on its own rows:"))
        console.print(f"  {core['sql']}", markup=False, soft_wrap=True)
    if told.leaves:
        console.print()
        errors = {(one["question"], one["vector"]): one for one in told.errors}
        _tables.print_table(
            [t("离开节点的（仅以总和可见）", "leaves a node (seen only as a sum)"), t("数值个数", "values"), t("字节", "bytes"), t("误差（95 %）", "error (95 %)")],
            [(f"{one['question']} · {one['vector']}", one["values"], f"{one['bytes']:,}",
              f"± {errors[place]['half_width']:.4g}" if (place := (one["question"], one["vector"])) in errors else t("无", "none")) for one in told.leaves],
            empty="", numeric=(1, 2, 3), to=console)
    for note in told.notes:
        console.print(f"· {note['text']}", markup=False)


def _read_text(source: str) -> str:
    try:
        if source == "-":
            return sys.stdin.read()
        if source.startswith("@"):
            return Path(source[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage_error(f"{source}: {error}") from error
    return source


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise usage_error(t("--set 的形式为 名称=值：{text}", "--set takes name=value: {text}", text=text))
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
