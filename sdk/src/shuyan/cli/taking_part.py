"""``shuyan register``, ``registration``, ``todo``, ``messages``, ``notices``, ``object``: taking part, and what one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from shuyan._text import language, t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    local_time,
    market,
    print_fields,
    print_json,
    print_table,
    titled,
    usage_error,
    word,
)


def add_to(app: typer.Typer) -> None:
    """Attach the commands."""
    app.command("register", help=t("注册单位：开发主体或使用方；随后登录、补充材料并提交。",
                                   "Register an organisation as developer or consumer; then sign in, complete and submit it."))(register)
    app.command("registration", help=t("查看本单位的注册申请，补充材料或提交。",
                                       "Look at your organisation's registration, add evidence, or hand it in."))(registration)
    app.command("todo", help=t("列出待您办理的事项。", "List what waits for you."))(todo)
    app.command("messages", help=t("列出发给您的消息。", "List your messages."))(messages)
    app.command("notices", help=t("列出公示。", "List public notices."))(notices)
    app.command("object", help=t("对公示提出异议，无需登录。", "Object to a public notice; no account is needed."))(object_to)


def register(
    context: typer.Context,
    party: Annotated[str, typer.Option(help=t("developer（开发主体）或 consumer（使用方）。", "developer or consumer."))],
    name: Annotated[str, typer.Option(help=t("单位中文名称，与营业执照一致。", "Name in Chinese, as on the business licence."))],
    name_en: Annotated[str, typer.Option(help=t("单位英文名称。", "Name in English."))],
    credit_code: Annotated[str, typer.Option(help=t("统一社会信用代码。", "Unified social credit code."))],
    person: Annotated[str, typer.Option(help=t("首位管理员姓名。", "The first administrator's name."))],
    email: Annotated[str, typer.Option(help=t("管理员电子邮箱。", "The administrator's e-mail address."))],
    password_file: Annotated[Path | None, typer.Option(help=t("从文件读取密码，不询问。", "Read the password from a file instead of asking."))] = None,
) -> None:
    if party not in ("developer", "consumer"):
        raise usage_error(t("party 只能是 developer 或 consumer。", "party is developer or consumer."))
    password = (password_file.read_text(encoding="utf-8").strip() if password_file is not None else
                typer.prompt(t("密码", "Password"), hide_input=True, confirmation_prompt=True))
    with market(context) as connected:
        row = connected.registrations.begin(
            party=cast(Literal["developer", "consumer"], party), name_zh=name, name_en=name_en, credit_code=credit_code,
            display_name=person, email=email, password=password, locale=language())
        console.print(t("已登记，编号 {id}。请以 {email} 登录 {url}，补充材料后提交。",
                        "Entered as {id}. Sign in at {url} as {email}, complete it and hand it in.", id=row.id, email=email, url=connected.url),
                      markup=False)


def registration(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help=t("编号；省略则为本单位的注册申请。", "Its id; left out, your organisation's own."))] = None,
    file: Annotated[list[Path] | None, typer.Option(help=t("添加证明材料（PDF、PNG、JPEG），可重复。", "Add evidence (PDF, PNG, JPEG); repeatable."))] = None,
    submit: Annotated[bool, typer.Option("--submit", help=t("提交审核。", "Hand it in."))] = False,
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        if id is None:
            id = next((row.id for row in connected.registrations.list(limit=1)), None)
        if id is None:
            raise usage_error(t("没有注册申请。", "There is no registration."))
        for path in file or ():
            connected.registrations.add_file(id, path.read_bytes(), path.name)
        if submit:
            connected.registrations.submit(id)
        row = connected.registrations.get(id)
    if as_json:
        return print_json(row)
    return print_fields([
        (t("编号", "id"), row.id), (t("名称", "name"), row.name_zh if language() == "zh" else row.name_en),
        (t("信用代码", "credit code"), row.credit_code), (t("状态", "state"), word("state", row.status)),
        (t("参与状态", "standing"), word("state", row.standing)), (t("原因", "reason"), row.reason),
        (t("待补充", "missing"), ", ".join(row.missing)), (t("证明材料", "evidence"), ", ".join(one["name"] for one in row.files))])


def todo(context: typer.Context, kind: Annotated[str | None, typer.Option(help=t("只列此类。", "Only of this kind."))] = None,
         as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = connected.waiting(kind)
    if as_json:
        return print_json(rows)
    return print_table([t("事项", "what"), t("对象", "about"), t("编号", "id"), t("等待起", "since"), t("期限", "due")],
                       [[one.kind, titled(one), one.subject, local_time(one.since),
                         local_time(one.due)] for one in rows])


def messages(context: typer.Context, unread: Annotated[bool, typer.Option("--unread", help=t("只列未读。", "Only unread ones."))] = False,
             limit: Limit = 20, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = connected.messages.list(unread=unread, limit=limit)
    if as_json:
        return print_json(rows)
    return print_table([t("时间", "when"), t("消息", "message"), t("对象", "about")],
                       [[local_time(one.created_at), one.text_zh if language() == "zh" else one.text_en, one.subject]
                        for one in rows])


def notices(context: typer.Context, open_only: Annotated[bool, typer.Option("--open", help=t("只列公示中的。", "Only open ones."))] = False,
            limit: Limit = 20, as_json: AsJson = False) -> None:
    with market(context) as connected:
        rows = connected.notices.list(status="open" if open_only else None, limit=limit)
    if as_json:
        return print_json(rows)
    return print_table([t("编号", "id"), t("标题", "title"), t("状态", "state"), t("截止", "ends")],
                       [[one.id, one.title_zh if language() == "zh" else one.title_en, word("state", one.status),
                         local_time(one.closes_at)] for one in rows])


def object_to(context: typer.Context, notice: Annotated[str, typer.Argument(help=t("公示编号。", "The notice's id."))],
              text: Annotated[str, typer.Argument(help=t("异议内容。", "What you object."))],
              contact: Annotated[str, typer.Option(help=t("联系方式，仅答复方可见。", "How to reach you; only those who answer see it."))] = "") -> None:
    with market(context) as connected:
        row = connected.notices.object_to(notice, text, contact=contact)
    console.print(t("异议已登记，编号 {id}，将予答复。", "Your objection is recorded as {id} and will be answered.", id=row.id), markup=False)
