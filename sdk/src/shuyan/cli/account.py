"""``shuyan login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import shuyan
from shuyan import _config
from shuyan._text import language, t
from shuyan.cli._common import AsJson, Connection, console, market, print_fields, print_json, usage_error


def add_to(app: typer.Typer) -> None:
    app.command("login", help=t("保存市场地址和客户端凭据（仅本人可读）。",
                                "Save the market's address and client credentials, readable by you only."))(login)
    app.command("logout", help=t("删除保存的登录配置。", "Forget a saved profile."))(logout)
    app.command("whoami", help=t("查看当前身份。", "Show who you are to the market."))(whoami)


def login(
    context: typer.Context,
    address: Annotated[str | None, typer.Argument(help=t("市场地址。", "Address of the market."), metavar="URL")] = None,
    client_id: Annotated[str, typer.Option(help=t("客户端编号。", "Client id."))] = "",
    secret_file: Annotated[Path | None, typer.Option(help=t(
        "密钥所在文件；不给出则提示输入，或从标准输入读取。", "File with the secret; else it is asked for, or read from standard input."))] = None,
) -> None:
    connection: Connection = context.find_root().obj
    url = (address or connection.url or "").rstrip("/")
    if not url:
        raise usage_error(t("请给出市场地址，例如 shuyan login http://127.0.0.1:8700", "Give the market's address, for example "
                            "shuyan login http://127.0.0.1:8700"))
    client_id = client_id or typer.prompt(t("客户端编号", "Client id"))
    if secret_file is not None:
        secret = _config.read_secret(secret_file)
    elif sys.stdin.isatty():
        secret = typer.prompt(t("客户端密钥", "Client secret"), hide_input=True)
    else:
        secret = sys.stdin.readline().strip()
    with shuyan.connect(url, client_id=client_id, client_secret=secret) as entered:
        me = entered.me()  # a profile that does not work is not saved
    name = connection.profile or _config.DEFAULT_PROFILE
    _config.save_profile(name, _config.Profile(url, client_id, secret))
    console.print(t("已登录 {url}：{who}。", "Signed in at {url}: {who}.", url=url, who=_organisation(me)))


def logout(context: typer.Context) -> None:
    connection: Connection = context.find_root().obj
    _config.save_profile(connection.profile or _config.DEFAULT_PROFILE, None)
    console.print(t("已退出登录。", "Signed out."))


def whoami(context: typer.Context, as_json: AsJson = False) -> None:
    with market(context) as entered:
        me = entered.me()
        if as_json:
            return print_json(me)
        return print_fields([
            (t("市场", "market"), entered.url), (t("单位", "organisation"), _organisation(me)),
            (t("类型", "party"), me.get("party")), (t("权限", "scopes"), " ".join(me.get("scopes") or ())),
        ])


def _organisation(me: dict[str, object]) -> str:
    return str(me.get(f"organisation_name_{language()}") or me.get("organisation_id") or "")
