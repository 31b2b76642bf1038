"""``shuyan login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import shuyan
from shuyan import _config, _login
from shuyan._http import Api
from shuyan._text import language, t
from shuyan.cli._common import AsJson, Connection, console, market, print_fields, print_json, usage_error


def add_to(app: typer.Typer) -> None:
    app.command("login", help=t(
        "登录市场：在浏览器中确认后，本机以您的名义操作。给出 --client-id 则保存程序的客户端凭据。登录信息仅本人可读。",
        "Sign in: once you have allowed it in your browser, this machine acts for you. With --client-id, save a program's credentials "
        "instead. What is saved is readable by you only."))(login)
    app.command("logout", help=t("退出登录：在市场和本机同时终止。", "Sign out, at the market and on this machine."))(logout)
    app.command("whoami", help=t("查看当前身份。", "Show who you are to the market."))(whoami)


def login(
    context: typer.Context,
    address: Annotated[str | None, typer.Argument(help=t("市场地址。", "Address of the market."), metavar="URL")] = None,
    scope: Annotated[str, typer.Option(help=t("请求的权限范围，以空格分隔；默认为您能有的全部。",
                                              "Scopes to ask for, separated by spaces; all that you may have by default."))] = "",
    client_id: Annotated[str, typer.Option(help=t("程序的客户端编号。", "Client id of a program."))] = "",
    secret_file: Annotated[Path | None, typer.Option(help=t(
        "密钥所在文件；不给出则提示输入，或从标准输入读取。", "File with the secret; else it is asked for, or read from standard input."))] = None,
) -> None:
    connection: Connection = context.find_root().obj
    name = connection.profile or _config.DEFAULT_PROFILE
    url = (address or connection.url or _known(name)).rstrip("/")
    if not url:
        raise usage_error(t("请给出市场地址，例如 shuyan login http://127.0.0.1:8700", "Give the market's address, for example "
                            "shuyan login http://127.0.0.1:8700"))
    if secret_file is not None and not client_id:
        raise usage_error(t("--secret-file 须与 --client-id 一起使用。", "--secret-file goes with --client-id."))
    if client_id:
        _as_program(name, url, client_id, secret_file)
    else:
        _as_person(name, url, scope)


def _known(name: str) -> str:
    stored = _config.saved_profiles().get(name)
    return stored.url if stored else ""


def _as_program(name: str, url: str, client_id: str, secret_file: Path | None) -> None:
    if secret_file is not None:
        secret = _config.read_secret(secret_file)
    elif sys.stdin.isatty():
        secret = typer.prompt(t("客户端密钥", "Client secret"), hide_input=True)
    else:
        secret = sys.stdin.readline().strip()
    with shuyan.connect(url, client_id=client_id, client_secret=secret) as entered:
        me = entered.me()  # a profile that does not work is not saved
    _end(name)
    _config.save_profile(name, _config.Profile(url, client_id, secret))
    console.print(t("已登录 {url}：{who}。", "Signed in at {url}: {who}.", url=url, who=_organisation(me)))


def _as_person(name: str, url: str, scope: str) -> None:
    with Api(_config.Profile(url)) as api:
        tokens = _login.sign_in(api.http, url, _show, scope=scope)
    _end(name)
    _login.save(name, tokens)
    profile = _config.Profile(url, login=name)
    _config.save_profile(name, profile)
    with shuyan.Market(Api(profile)) as entered:
        me = entered.me()
    console.print(t("已登录 {url}：{person}（{who}）。", "Signed in at {url}: {person} ({who}).", url=url, person=me.get("name") or "",
                    who=_organisation(me)))


def _show(shown: _login.Shown) -> None:
    """On standard error, so that it is seen whatever becomes of the output."""
    print(t("请在浏览器中打开 {address}，输入代码：\n\n    {code}\n\n或直接打开 {complete} 并核对代码。等待确认（{minutes} 分钟内有效，按 Ctrl-C 放弃）……",
            "Open {address} in a browser and enter the code:\n\n    {code}\n\nor open {complete} and compare it. Waiting for you to allow "
            "it (within {minutes} minutes; Ctrl-C gives up) …",
            address=shown.address, code=shown.code, complete=shown.complete, minutes=int(shown.seconds // 60)), file=sys.stderr, flush=True)


def _end(name: str) -> bool:
    """End the sign-in that a profile held before; whether the market confirmed it."""
    stored = _config.saved_profiles().get(name)
    if stored is None or not stored.login:
        return True
    with Api(_config.Profile(stored.url)) as api:
        return _login.sign_out(stored.login, api.http, stored.url)


def logout(context: typer.Context) -> None:
    connection: Connection = context.find_root().obj
    name = connection.profile or _config.DEFAULT_PROFILE
    confirmed = _end(name)
    _config.save_profile(name, None)
    console.print(t("已退出登录。", "Signed out."))
    if not confirmed:
        print(t("市场没有应答：本机的登录信息已删除，请在“我的账户 → 已连接的应用”中断开连接。",
                "The market did not answer: this machine has forgotten the sign-in; end it under My account → Connected apps as well."),
              file=sys.stderr)


def whoami(context: typer.Context, as_json: AsJson = False) -> None:
    with market(context) as entered:
        me = entered.me()
        if as_json:
            return print_json(me)
        return print_fields([
            (t("市场", "market"), entered.url), *([(t("姓名", "name"), me["name"])] if me.get("name") else []),
            (t("单位", "organisation"), _organisation(me)), (t("类型", "party"), me.get("party")),
            *([(t("角色", "roles"), " ".join(me["roles"]))] if me.get("roles") else []),
            (t("权限", "scopes"), " ".join(me.get("scopes") or ())),
        ])


def _organisation(me: dict[str, object]) -> str:
    return str(me.get(f"organisation_name_{language()}") or me.get("organisation_id") or "")
