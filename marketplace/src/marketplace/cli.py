"""``shuyan-market``: set up and run the web tier."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.settings import SUPERVISOR, settings
from shuyan._text import language, t
from shuyan.problems import ProblemError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
                  help=t("数堰市场：初始化、导入初始数据并运行网站。", "The Shuyan marketplace: set up, seed and serve."))
db_app = typer.Typer(no_args_is_help=True, help=t("数据库。", "The database."))
node_app = typer.Typer(no_args_is_help=True, help=t("数源部门节点。", "The departments' nodes."))
audit_app = typer.Typer(no_args_is_help=True, help=t("存证日志。", "The audit log."))
credit_app = typer.Typer(no_args_is_help=True, help=t("信用名单。", "The credit lists."))
accounts_app = typer.Typer(no_args_is_help=True, help=t("单位、成员与账户：开办、解锁与找回。", "Organisations, members and accounts: beginning, unlocking, recovering."))
app.add_typer(db_app, name="db")
app.add_typer(accounts_app, name="accounts")
app.add_typer(credit_app, name="credit")
app.add_typer(node_app, name="node")
app.add_typer(audit_app, name="audit")

REFUSED, USAGE, CANNOT_CONNECT = 1, 2, 3


@app.callback()
def _common(lang: Annotated[str | None, typer.Option(help=t("界面语言：zh 或 en。", "Language: zh or en."))] = None) -> None:
    """``--lang`` is read when texts are made (:mod:`shuyan._text`); it is declared here so that help shows it."""


@contextmanager
def _told() -> Iterator[None]:
    """Turn errors into one sentence and an exit code: 1 refused, 2 usage, 3 no database."""
    try:
        yield
    except ProblemError as error:
        _fail(error.text(language()), REFUSED)
    except OperationalError as error:
        first = str(error.orig).strip().splitlines()[0] if error.orig else ""
        _fail(t("无法使用数据库：{reason}。先运行 shuyan-market init，并检查 SHUYAN_DATABASE_URL。",
                "The database cannot be used: {reason}. Run shuyan-market init first and check SHUYAN_DATABASE_URL.",
                reason=first), CANNOT_CONNECT)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or ''}", REFUSED)


def _fail(sentence: str, code: int) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


@app.command(help=t("建立数据目录、密钥和数据库；可重复执行。", "Create the data folder, the keys and the database; safe to repeat."))
def init() -> None:
    with _told():
        from marketplace import migrations
        from marketplace.parties.sealing import ensure_key

        configuration = settings()
        configuration.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration.keys_dir.mkdir(mode=0o700, exist_ok=True)
        _new_file(configuration.secret_key_file or configuration.keys_dir / "web.key", secrets.token_bytes(32))
        _new_log_key()
        ensure_key()
        revision = migrations.upgrade(configuration.resolved_database_url)
        typer.echo(t("已就绪：{folder}，数据库版本 {revision}。", "Ready: {folder}, database at {revision}.",
                     folder=configuration.data_dir, revision=revision))


def _new_file(path: Path, content: bytes) -> None:
    """Write a secret once, readable by its owner only; an existing file is kept."""
    if path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _new_log_key() -> None:
    from marketplace.trust.service import ensure_log_key

    ensure_log_key(settings())


@db_app.command("upgrade", help=t("把数据库升级到当前版本。", "Bring the database to the current version."))
def db_upgrade() -> None:
    with _told():
        from marketplace import migrations

        revision = migrations.upgrade(settings().resolved_database_url)
        typer.echo(t("数据库版本 {revision}。", "Database at {revision}.", revision=revision))


@app.command(help=t("从 JSON 文件导入单位、成员和程序；已存在的保持不变。",
                    "Add organisations, members and programs from a JSON file; what exists is kept."))
def seed(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]) -> None:
    with _told():
        from marketplace.parties import service as parties

        try:
            data: Any = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            return _fail(t("{file} 不是合法的 JSON：{error}", "{file} is not valid JSON: {error}", file=file, error=error), USAGE)
        with db.transaction() as session:
            report = parties.seed(session, data)
        typer.echo(t("新增单位 {o} 个、成员 {m} 名、程序 {c} 个。", "Added {o} organisations, {m} members, {c} programs.",
                     o=report.organisations, m=report.members, c=report.clients))
        for client_id, secret in report.secrets.items():
            typer.echo(f"{client_id} {secret}")
    return None


_ORGANISATION = typer.Argument(help=t("单位编号。", "Organisation id."))
_EMAIL = typer.Argument(help=t("账户邮箱。", "E-mail address of the account."))


@accounts_app.command("begin", help=t("登记一个单位，并为其首位管理员开出邀请链接。", "Register an organisation and write the invitation of its first administrator."))
def accounts_begin(
    kind: Annotated[str, typer.Argument(help=t("单位类型，如 data_authority。", "Kind of organisation, such as data_authority."))],
    email: Annotated[str, typer.Argument(help=t("首位管理员的邮箱。", "E-mail address of the first administrator."))],
    name_zh: Annotated[str, typer.Option(help=t("中文名称。", "Name in Chinese."))],
    name_en: Annotated[str, typer.Option(help=t("英文名称。", "Name in English."))],
    credit_code: Annotated[str | None, typer.Option(help=t("统一社会信用代码。", "Unified social credit code."))] = None,
) -> None:
    with _told():
        from marketplace.parties import operating
        from marketplace.parties import service as parties

        _need_database()
        with db.transaction() as session:
            row = parties.register_organisation(session, SYSTEM, kind=kind, name_zh=name_zh, name_en=name_en, credit_code=credit_code)
            made = operating.invite_admin(session, SYSTEM, row.id, email, locale=language())
        typer.echo(row.id)
        _hand_out(made.link)


@accounts_app.command("invite", help=t("为一个单位再邀请一名管理员。", "Invite another administrator of an organisation."))
def accounts_invite(organisation: Annotated[str, _ORGANISATION], email: Annotated[str, _EMAIL]) -> None:
    with _told():
        from marketplace.parties import operating

        _need_database()
        with db.transaction() as session:
            made = operating.invite_admin(session, SYSTEM, organisation, email, locale=language())
        _hand_out(made.link)


def _hand_out(link: str) -> None:
    typer.echo(link)
    typer.echo(t("请仅将该链接交给本人；它可使用一次。", "Give this link to that person only; it works once."), err=True)


@accounts_app.command("list", help=t("列出一个单位的成员。", "List an organisation's members."))
def accounts_list(organisation: Annotated[str, _ORGANISATION]) -> None:
    with _told():
        from marketplace.parties import memberships
        from marketplace.parties import service as parties

        _need_database()
        with db.reading() as session:
            parties.get_organisation(session, organisation)
            rows = memberships.members(session, organisation, suspended=True)
        for row, account in rows:
            factor = t("两步验证", "second factor") if account.totp_sealed else t("仅密码", "password only")
            typer.echo(f"{row.id}  {account.email}  {row.status}  {','.join(row.roles)}  {factor}")


@accounts_app.command("unlock", help=t("解除因多次尝试失败造成的暂停。", "End the pause that too many failed attempts brought."))
def accounts_unlock(email: Annotated[str, _EMAIL]) -> None:
    with _told():
        from marketplace.parties import operating

        _need_database()
        with db.transaction() as session:
            operating.unlock(session, SYSTEM, email)
        typer.echo(t("已解除。", "Done."))


@accounts_app.command("sign-out", help=t("结束一个账户的全部登录，并断开代其操作的应用。", "End every session of an account, and the apps that act for it."))
def accounts_sign_out(email: Annotated[str, _EMAIL]) -> None:
    with _told():
        from marketplace.parties import operating

        _need_database()
        with db.transaction() as session:
            ended = operating.sign_out(session, SYSTEM, email)
        typer.echo(t("已结束 {n} 个登录。", "Ended {n} sessions.", n=ended))


@accounts_app.command("reset-second-factor", help=t("为丢失手机和恢复码的人停用两步验证。请先核实本人身份。",
                                                    "Take off the second factor of who lost phone and recovery codes. Make sure who they are first."))
def accounts_reset_second_factor(email: Annotated[str, _EMAIL]) -> None:
    with _told():
        from marketplace.parties import operating

        _need_database()
        with db.transaction() as session:
            operating.reset_second_factor(session, SYSTEM, email)
        typer.echo(t("两步验证已停用，全部登录已结束。", "The second factor is off and every session has ended."))


@accounts_app.command("reset-password", help=t("开出重设密码的链接，用于邮件无法送达时。", "Write a link that sets a new password, for whom no mail reaches."))
def accounts_reset_password(email: Annotated[str, _EMAIL]) -> None:
    with _told():
        from marketplace.parties import operating

        _need_database()
        with db.transaction() as session:
            link = operating.reset_link(session, SYSTEM, email)
        _hand_out(link)


@node_app.command("invite", help=t("为一个部门的节点开出一次性注册邀请。", "Write a one-time invitation for a department's node."))
def node_invite(
    organisation: Annotated[str, typer.Option(help=t("单位编号。", "Organisation id."))],
    name: Annotated[str, typer.Option(help=t("节点名称。", "Name of the node."))],
    out: Annotated[Path | None, typer.Option(help=t("写入文件而不是输出。", "Write to this file instead of the output."))] = None,
) -> None:
    with _told():
        from marketplace.computing import service as computing

        with db.transaction() as session:
            invitation = computing.invite_node(session, SYSTEM, organisation_id=organisation, name=name)
            token = computing.invitation_token(settings(), invitation)
        if out is None:
            typer.echo(token)
            return
        out.unlink(missing_ok=True)
        _new_file(out, f"{token}\n".encode())
        typer.echo(t("邀请已写入 {out}。", "The invitation is in {out}.", out=out), err=True)


@node_app.command("revoke", help=t("撤销一个节点，立即断开。", "Revoke a node; it is cut off at once."))
def node_revoke(node_id: Annotated[str, typer.Argument()]) -> None:
    with _told():
        from marketplace.computing import service as computing

        with db.transaction() as session:
            computing.revoke_node(session, SYSTEM, node_id)
        typer.echo(t("节点 {node} 已撤销。", "Node {node} is revoked.", node=node_id))


@app.command(help=t("列出将自动发生的期限事项，以及处理失败的事项。", "List what will happen by itself, and what failed to."))
def deadlines(
    failed: Annotated[bool, typer.Option("--failed", help=t("只列出处理失败、等待重试的。", "Only what failed and is tried again."))] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help=t("最多列出的条数。", "At most so many."))] = 100,
) -> None:
    with _told():
        from marketplace.deadlines import service

        _need_database()
        with db.reading() as session:
            rows = service.waiting(session, failed=failed, limit=limit)
        for row in rows:
            line = f"{row.due_at:%Y-%m-%dT%H:%MZ}  {row.kind}  {row.subject}"
            if row.attempts:
                line += t("  失败 {n} 次（{error}），{when:%Y-%m-%dT%H:%M:%SZ} 再试", "  failed {n} times ({error}), next at {when:%Y-%m-%dT%H:%M:%SZ}",
                          n=row.attempts, error=row.error, when=row.retry_at)
            typer.echo(line)
        if not rows:
            typer.echo(t("没有待处理的期限事项。", "Nothing is pending."), err=True)


@credit_app.command("import", help=t("导入一份信用名单（CSV 或 JSON），并与所有单位比对。",
                                     "Import a credit list (CSV or JSON) and match it with every organisation."))
def credit_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    kind: Annotated[str, typer.Option(help=t("名单：dishonesty（失信）、tax（税收）或 procurement（采购）。", "dishonesty, tax or procurement."))],
    source: Annotated[str, typer.Option(help=t("来源。", "Where it comes from."))],
    published: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help=t("发布日期。", "The day it was published."))],
    empty: Annotated[bool, typer.Option("--empty", help=t("允许空名单。", "The list is meant to be empty."))] = False,
) -> None:
    with _told():
        from marketplace.registration import credit

        _need_database()
        data = file.read_bytes()
        with db.transaction() as session:
            done = credit.import_list(session, SYSTEM, kind=kind, source=source, published_on=published.date(), data=data, allow_empty=empty)
        typer.echo(t("已导入 {entries} 条，新增命中 {found} 个，移出 {removed} 个。", "Imported {entries} entries: {found} new hits, {removed} no longer listed.",
                     entries=done.list.entries, found=done.found, removed=done.removed))


@audit_app.command("check", help=t("核对数据库中的存证日志是否被改动。", "Check that nobody changed the audit log in the database."))
def audit_check() -> None:
    with _told():
        from marketplace.agreements import service as agreements
        from marketplace.commerce import service as commerce
        from marketplace.metering import service as metering
        from marketplace.pricing import service as pricing
        from marketplace.products import service as products
        from marketplace.programs import service as programs
        from marketplace.trust import service as trust

        _need_database()
        with db.reading() as session:
            report = trust.check_database(session)
            broken = metering.broken_seals(session)
            altered = [one for domain in (agreements, products, pricing, commerce, programs)
                       for one in domain.altered_records(session)] \
                if report.ok else []  # a broken log says nothing about the rest
        typer.echo(report.statement(language()))
        if broken:
            typer.echo(t("用量记录与存证不符：事件 {events}。", "Usage records differ from their seals: events {events}.",
                         events=", ".join(map(str, broken))), err=True)
        if altered:
            typer.echo(t("以下记录被改动、删除或未经存证：{records}。", "Records changed, removed or never logged: {records}.",
                         records=", ".join(altered)), err=True)
        if broken or altered or not report.ok:
            raise typer.Exit(REFUSED)


@app.command(help=t("运行网站和接口。", "Serve the pages and the API."))
def serve() -> None:
    from granian.constants import Interfaces
    from granian.server import Server

    configuration = settings()
    with _told(), db.reading() as session:
        from sqlalchemy import text

        session.execute(text("SELECT 1 FROM organisation LIMIT 1"))
    # Workers are forked, and SQLite's locks do not survive a fork: a worker that inherits a connection writes, sooner or
    # later, to a log that the other processes have removed, and what it acknowledged is lost.
    db.dispose()
    os.environ[SUPERVISOR] = str(os.getpid())
    _check_port(configuration.web_host, configuration.web_port)
    server = Server(
        "marketplace.app:serve_app", factory=True, interface=Interfaces.WSGI,
        address=configuration.web_host, port=configuration.web_port, workers=configuration.web_workers,
        blocking_threads=configuration.web_threads, websockets=False, respawn_failed_workers=True,
        log_access=False,
    )
    typer.echo(t("市场已在 {url} 运行。", "The market is at {url}.", url=configuration.public_url), err=True)
    server.serve()


def _need_database() -> None:
    with db.reading() as session:
        session.execute(text("SELECT 1 FROM organisation LIMIT 1"))


def _check_port(host: str, port: int) -> None:
    """Fail if somebody listens there: the server shares ports, so it would not notice itself."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        _fail(t("无法监听 {host}:{port}（{reason}）。请停止占用该端口的程序，或设置 SHUYAN_WEB_PORT。",
                "Cannot listen on {host}:{port} ({reason}). Stop the program that uses the port, or set SHUYAN_WEB_PORT.",
                host=host, port=port, reason=os.strerror(error.errno or 0)), REFUSED)


def main() -> None:
    """Entry point of ``shuyan-market``."""
    sys.exit(app())
