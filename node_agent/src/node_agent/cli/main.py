"""The commands that make, enrol, run and look at a node."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from node_agent.cli import budget, data, decisions, governance, guard, holds, marginals
from node_agent.cli.output import (
    EXIT_REFUSED,
    Context,
    Json,
    moment,
    plain,
    print_fields,
    print_json,
    print_table,
    problems_told,
)
from node_agent.config import NodeDir
from shuyan import _text
from shuyan._text import t
from shuyan.problems import ProblemError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=t(
    "数堰节点：部门的数据留在本地，只回答经授权的计算。",
    "The Shuyan node: a department's data stays here and answers authorised computations only."))
app.add_typer(data.sources, name="source")
app.add_typer(data.resources, name="resource")
app.add_typer(decisions.apps, name="app")
app.add_typer(budget.budgets, name="budget")
app.add_typer(guard.guards, name="guard")
app.add_typer(holds.grants, name="grant")
app.add_typer(marginals.marginals, name="marginals")
decisions.add_to(app)
governance.add_to(app)


@app.callback()
def _options(
    context: typer.Context,
    directory: Annotated[Path, typer.Option("--dir", envvar="SHUYAN_NODE_DIR", help=t(
        "节点目录。", "The node's directory."))] = Path("node"),
    lang: Annotated[str | None, typer.Option("--lang", help=t("语言：zh 或 en。", "Language: zh or en."))] = None,
) -> None:
    if lang is not None:
        _text.set_language(lang)
    context.obj = Context(NodeDir(directory))


@app.command(help=t("建立节点目录并生成密钥。", "Make the node's directory and its keys."))
def init(context: typer.Context) -> None:
    """Make the directory and keys."""
    from node_agent.keys import NodeKeys
    from node_agent.state import State

    node_dir = context.obj.node_dir
    with problems_told():
        node_dir.create()
        NodeKeys.create(node_dir)
        State(node_dir.database).close()
    typer.echo(t("节点目录已建立：{path}。下一步：用运营机构的邀请运行 enrol。",
                 "The node's directory is ready: {path}. Next: enrol with the operator's invitation.",
                 path=node_dir.path))


@app.command(help=t("凭一次性邀请入网，并固定数据主管部门的公钥。",
                    "Join the market with a one-time invitation and pin the data authority's public key."))
def enrol(
    context: typer.Context,
    invitation: Annotated[str, typer.Option(help=t("邀请文件；- 表示标准输入。", "The invitation's file; - for standard input."))],
    authority_key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help=t(
        "数据主管部门公钥文件。", "File with the data authority's public key."))],
    yes: Annotated[bool, typer.Option("--yes", help=t("不再询问。", "Do not ask."))] = False,
) -> None:
    """Enrol the node."""
    from node_agent import enrolment
    from node_agent.config import Lock
    from shuyan.trust import keys

    node_dir = context.obj.node_dir
    with problems_told():
        node_dir.require()
        token = sys.stdin.read() if invitation == "-" else _read(invitation)
        invited = enrolment.Invitation.parse(token)
        authority = keys.load_public_key(authority_key)
        typer.echo(t("单位：{organisation}\n节点：{name}\n入网服务：{address}\n平台证书指纹：{ca}\n数据主管部门公钥指纹：{authority}",
                     "Organisation: {organisation}\nNode: {name}\nEnrolment service: {address}\n"
                     "Fingerprint of the market's certificate: {ca}\nFingerprint of the authority's key: {authority}",
                     organisation=invited.organisation, name=invited.node_name, address=invited.enrol,
                     ca=enrolment.certificate_fingerprint(invited), authority=keys.fingerprint(authority)))
        if not yes and not typer.confirm(t("已与运营机构和数据主管部门核对指纹，继续入网？",
                                           "Fingerprints checked with the operator and the authority; enrol?")):
            raise typer.Exit(EXIT_REFUSED)
        with Lock(node_dir):
            identity = enrolment.enrol(node_dir, invited, authority_key.read_bytes())
    typer.echo(t("入网成功，节点编号 {node_id}。下一步：把 card 的输出交给数据主管部门，然后 run。",
                 "Enrolled as {node_id}. Next: give the output of card to the data authority, then run.",
                 node_id=identity.node_id))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError("invitation_invalid") from error


@app.command(help=t("输出本节点的公钥卡，交给数据主管部门登记。",
                    "Print the node's public key card for the data authority."))
def card(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help=t("写入文件。", "Write to this file."))] = None,
) -> None:
    """Print the signed public key card."""
    from node_agent.keys import NodeKeys

    node_dir = context.obj.node_dir
    with problems_told():
        node_dir.require()
        identity = node_dir.identity()
        if identity is None:
            raise ProblemError("not_enrolled")
        signed = NodeKeys.load(node_dir).card(identity)
    text = json.dumps(signed.model_dump(), ensure_ascii=False, indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
    typer.echo(t("密钥指纹（请与数据主管部门电话核对）：{fingerprint}",
                 "Fingerprint of the keys (compare it with the authority by telephone): {fingerprint}",
                 fingerprint=signed.fingerprint), err=True)


@app.command(help=t("运行节点，直到收到停止信号。", "Run the node until told to stop."))
def run(context: typer.Context) -> None:
    """Run the agent."""
    from node_agent import logs
    from node_agent.local import run_agent

    node_dir = context.obj.node_dir
    with problems_told():
        node_dir.require()
        logs.configure(node_dir.log)

        async def serve() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await run_agent(node_dir, stop)

        asyncio.run(serve())
    # Everything is closed and on the disk; interpreter teardown would only wait for library threads.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


_ALERTS = {
    "log_forked": ("存证日志出现分叉，本节点已拒绝联署，请立即通知数据主管部门。",
                   "The audit log showed a contradicting history; this node refused to cosign. Tell the authority at once."),
    "revocations_stale": ("撤销清单缺失或已过期，节点暂不受理任务。",
                          "The revocation list is missing or out of date; no task is taken."),
}

_ALERTS["app_unusable"] = (
    "有第三方应用包被改动或其签名不再可信，已停用。请重新安装或删除。",
    "A third-party app's package was changed, or its signature is trusted no longer; it does not run. Install it again or remove it.")
_ALERTS["sandbox_missing"] = (
    "本机内核缺少隔离第三方应用所需的机制，第三方应用不会运行。",
    "The kernel lacks what third-party apps must be shut in with; they will not run.")

_STATES = {"not_enrolled": ("未入网", "not enrolled"), "stopped": ("未运行", "not running"),
           "connecting": ("连接中", "connecting"), "connected": ("已连接", "connected"), "revoked": ("已停用", "revoked")}


@app.command(help=t("查看节点状态。", "Show the node's state."))
def status(context: typer.Context, json_: Json = False) -> None:
    """Show the node's state."""
    from node_agent.local import reach
    from shuyan_protos.local.v1 import local_pb2

    with problems_told(), reach(context.obj.node_dir) as node:
        reply = node.Status(local_pb2.StatusRequest())
    if json_:
        print_json(reply)
        return
    rows = [
        (t("节点", "Node"), reply.node_id or "-"), (t("单位", "Organisation"), reply.organisation_name or "-"),
        (t("状态", "State"), t(*_STATES.get(reply.state, (reply.state, reply.state)))),
        (t("协调服务", "Coordinator"), reply.coordinator_address or "-"),
        (t("最近联系", "Last contact"), moment(reply.last_contact_ms)),
        (t("证书到期", "Certificate expires"), reply.certificate_expires_at or "-"),
        (t("撤销清单", "Revocation list"), reply.revocations_number or "-"),
        (t("已联署检查点", "Checkpoint cosigned"), reply.checkpoint_size or "-"),
        (t("资源", "Resources"), reply.resources), (t("待审批", "Approvals waiting"), reply.pending_approvals),
        (t("运行中任务", "Tasks running"), reply.running_tasks),
        (t("应用隔离", "Sandbox"), ", ".join(reply.sandbox) or t("无", "none")),
        (t("日志条数", "Journal entries"), reply.journal_entries), (t("日志链首", "Journal head"), reply.journal_head[:16]),
    ]
    print_fields(rows)
    for alert in reply.alerts:
        typer.echo(t("告警：", "Alert: ") + t(*_ALERTS.get(alert, (alert, alert))), err=True)


@app.command(help=t("查看或校验本地日志。", "Read or verify the local journal."))
def journal(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help=t("只显示此序号之后的条目。", "Only entries after this number."))] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help=t("最多显示条数。", "At most so many."))] = 100,
    verify: Annotated[bool, typer.Option("--verify", help=t("校验整条哈希链。", "Verify the whole hash chain."))] = False,
    json_: Json = False,
) -> None:
    """Read or verify the journal."""
    from node_agent.local import reach
    from shuyan_protos.local.v1 import local_pb2

    with problems_told(), reach(context.obj.node_dir) as node:
        reply = node.ReadJournal(local_pb2.ReadJournalRequest(after=after, limit=limit, verify=verify))
    if json_:
        entries = [{**{name: value for name, value in plain(entry).items() if name != "data_json"},
                    "data": json.loads(entry.data_json)} for entry in reply.entries]
        print_json({"entries": entries, "verified": reply.verified, "total": reply.total})
        return
    print_table((t("序号", "No."), t("时间", "Time"), t("事件", "Event"), t("内容", "Content")),
                ((entry.sequence, moment(entry.at_ms), entry.event, entry.data_json) for entry in reply.entries),
                empty=t("没有条目。", "No entries."))
    if verify:
        typer.echo(t("哈希链完整，共 {total} 条。", "The hash chain holds over all {total} entries.", total=reply.total))


def main() -> None:
    """The entry point."""
    app()
