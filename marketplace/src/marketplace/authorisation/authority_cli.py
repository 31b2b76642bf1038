"""``shuyan-authority``: the data authority's own command, and the only place where its signing key is used."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from marketplace.authorisation.authority import REVOCATIONS_DAYS, Authority
from shuyan import _text
from shuyan._config import Profile
from shuyan._errors import ConnectionFailed, NotFound, NotSignedIn, ShuyanError
from shuyan._http import Api
from shuyan._text import language, t
from shuyan.problems import ProblemError
from shuyan.trust.cards import verify_card
from shuyan.trust.errors import KEY_EXISTS
from shuyan.trust.grants import Grant, RevokedGrant
from shuyan.trust.keys import (
    fingerprint,
    generate_signing_key,
    load_signing_key,
    save_private_key,
    save_public_key,
)

REFUSED, USAGE, CANNOT_CONNECT, NOT_SIGNED_IN = 1, 2, 3, 4

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
                  help=t("数据主管部门：核验节点、签发和撤销授权凭证。签名密钥只在本命令中使用。",
                         "The data authority: trust nodes, issue and revoke grants. The signing key is used here only."))
nodes_app = typer.Typer(no_args_is_help=True, help=t("受信节点。", "Trusted nodes."))
revocations_app = typer.Typer(no_args_is_help=True, help=t("撤销清单。", "The revocation list."))
app.add_typer(nodes_app, name="nodes")
app.add_typer(revocations_app, name="revocations")

KeyFile = Annotated[Path, typer.Option("--key", envvar="SHUYAN_AUTHORITY_KEY", help=t(
    "签名密钥文件。", "File with the signing key."))]
Folder = Annotated[Path | None, typer.Option("--dir", envvar="SHUYAN_AUTHORITY_DIR", help=t(
    "受信节点和撤销清单所在目录，默认与密钥同目录。", "Folder of trusted nodes and revocations; by default the key's."))]
MarketUrl = Annotated[str, typer.Option("--market", envvar="SHUYAN_AUTHORITY_MARKET", help=t(
    "市场地址。", "Address of the market."))]
ClientId = Annotated[str, typer.Option("--client-id", envvar="SHUYAN_AUTHORITY_CLIENT_ID", help=t(
    "客户端编号。", "API client of the authority."))]
SecretFile = Annotated[Path, typer.Option("--client-secret-file", envvar="SHUYAN_AUTHORITY_CLIENT_SECRET_FILE", help=t(
    "客户端密钥所在文件。", "File with the client's secret."))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=t("不再询问。", "Do not ask."))]
AsJson = Annotated[bool, typer.Option("--json", help=t("以 JSON 输出。", "Print JSON."))]

_DEFAULT_KEY, _DEFAULT_MARKET = Path("authority.key"), "http://127.0.0.1:8700"


@app.callback()
def _common(lang: Annotated[str | None, typer.Option(help=t("界面语言：zh 或 en。", "Language: zh or en."))] = None) -> None:
    if lang is not None:
        _text.set_language(lang)


@contextmanager
def _told() -> Iterator[None]:
    """Turn errors into one sentence and an exit code."""
    try:
        yield
    except ProblemError as error:
        _fail(error.text(language()), REFUSED)
    except ConnectionFailed as error:
        _fail(str(error), CANNOT_CONNECT)
    except NotSignedIn as error:
        _fail(str(error), NOT_SIGNED_IN)
    except ShuyanError as error:
        _fail(str(error), REFUSED)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or ''}", REFUSED)


def _fail(sentence: str, code: int) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _confirmed(yes: bool, question: str) -> None:
    """Ask a person; where there is none, only ``--yes`` will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        _fail(t("没有终端可供确认：核对无误后加 --yes 重试。", "No terminal to confirm on: repeat with --yes once checked."), USAGE)
    if not typer.confirm(question):
        _fail(t("未执行任何操作。", "Nothing was done."), REFUSED)


def _api(market: str, client_id: str, secret_file: Path) -> Api:
    if not client_id:
        _fail(t("请用 --client-id 给出客户端编号。", "Give the client with --client-id."), USAGE)
    return Api(Profile(market, client_id, secret_file.read_text("utf-8").strip()))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


@app.command(help=t("生成签名密钥对；私钥文件仅本人可读，公钥交给市场和各部门节点。",
                    "Make the signing key pair; hand the public half to the market and the departments' nodes."))
def init(key: KeyFile = _DEFAULT_KEY,
         public: Annotated[Path, typer.Option(help=t("公钥文件。", "File for the public key."))] = Path("authority.pub")) -> None:
    with _told():
        # The private key is what counts, so it comes first and whole; an init that died before the public half was
        # written is taken up where it stopped.
        made = load_signing_key(key) if key.exists() else None
        if public.exists():
            raise ProblemError(KEY_EXISTS, name=public.name if made is None else key.name)
        if made is None:
            made = generate_signing_key()
            save_private_key(key, made)
            said = t("已生成密钥。", "The keys are made.")
        else:
            said = t("签名密钥已存在，据此重新写出公钥。", "The signing key was there; its public half is written anew.")
        save_public_key(public, made.public_key())
        typer.echo(said + t("公钥指纹：{mark}", " Fingerprint of the public key: {mark}", mark=fingerprint(made.public_key())))


@nodes_app.command("trust", help=t("核验并信任一个节点的密钥卡；先与部门核对指纹。",
                                   "Trust a node's key card; compare the fingerprint with the department first."))
def nodes_trust(card_file: Annotated[Path, typer.Argument(metavar="CARD.json")], key: KeyFile = _DEFAULT_KEY,
                folder: Folder = None, yes: Yes = False,
                replace: Annotated[bool, typer.Option("--replace", help=t("替换该节点原有的密钥卡。",
                                                                          "Replace the node's earlier card."))] = False) -> None:
    with _told():
        authority = Authority.open(key, folder)
        card = verify_card(card_file.read_bytes())
        typer.echo(t("节点：{name}（{id}）\n部门：{organisation}\n指纹：{mark}",
                     "Node: {name} ({id})\nDepartment: {organisation}\nFingerprint: {mark}", name=_plain(card.name),
                     id=_plain(card.node_id), organisation=_plain(card.organisation), mark=card.fingerprint))
        _confirmed(yes, t("指纹是否与部门告知的一致？", "Is this the fingerprint the department told you?"))
        authority.trust(card, replace=replace)
        typer.echo(t("已信任。", "Trusted."))


@nodes_app.command("list", help=t("列出受信节点。", "List trusted nodes."))
def nodes_list(key: KeyFile = _DEFAULT_KEY, folder: Folder = None, as_json: AsJson = False) -> None:
    with _told():
        cards = Authority.open(key, folder).cards().values()
        if as_json:
            _print_json([{**card.model_dump(), "fingerprint": card.fingerprint} for card in cards])
            return
        for card in cards:
            typer.echo(f"{card.node_id}  {card.name}  {card.organisation}  {card.fingerprint}")


@app.command(help=t("列出待签发授权的数据需求。", "List the demands whose grant waits to be signed."))
def demands(market: MarketUrl = _DEFAULT_MARKET, client_id: ClientId = "", secret_file: SecretFile = Path("client.secret"),
            status: Annotated[str, typer.Option(help=t("需求状态。", "State of the demands."))] = "agreed",
            as_json: AsJson = False) -> None:
    with _told(), _api(market, client_id, secret_file) as api:
        found = list(api.pages("/demands", status=status or None))
        if as_json:
            _print_json(found)
            return
        for item in found:
            body = item["body"]
            typer.echo(t("{id}  {owner}  {apps}  {count} 个资源  {days} 天",
                         "{id}  {owner}  {apps}  {count} resources  {days} days", id=item["id"],
                         owner=item["organisation_id"], apps=",".join(body["apps"]), count=len(body["resources"]),
                         days=body["term_days"]))
        if not found:
            typer.echo(t("没有待签发授权的数据需求。", "No demand waits for its grant."))


@app.command(help=t("核对并签发一项数据需求的授权凭证。", "Check a demand and issue its grant."))
def issue(demand_id: Annotated[str, typer.Argument(metavar="DEMAND_ID")], key: KeyFile = _DEFAULT_KEY,
          folder: Folder = None, market: MarketUrl = _DEFAULT_MARKET, client_id: ClientId = "",
          secret_file: SecretFile = Path("client.secret"), yes: Yes = False) -> None:
    with _told():
        authority = Authority.open(key, folder)
        with _api(market, client_id, secret_file) as api:
            grant = authority.prepare(api.get(f"/demands/{demand_id}/grant-draft"), _digests())
            typer.echo(_describe(grant))
            if grant.own_figures:
                reason = api.get(f"/demands/{demand_id}")["body"].get("own_figures_reason", "")
                typer.echo(t("  申请理由：{reason}", "  Reason given: {reason}", reason=_plain(reason)))
            _confirmed(yes, t("签发以上授权？", "Sign this grant?"))
            accepted = api.post("/grants", {"demand_id": demand_id, "jws": authority.sign(grant)})
            typer.echo(t("已签发授权凭证 {id}。", "Grant {id} is issued.", id=accepted["id"]))
            if authority.revocations_due():
                _post_revocations(api, authority)


@app.command(help=t("撤销一个授权凭证；数秒内到达各节点。", "Revoke a grant; the nodes hear of it within seconds."))
def revoke(grant_id: Annotated[str, typer.Argument(metavar="GRANT_ID")],
           reason: Annotated[str, typer.Option(help=t("撤销理由，将公开。", "The reason; it is public."))],
           key: KeyFile = _DEFAULT_KEY, folder: Folder = None, market: MarketUrl = _DEFAULT_MARKET,
           client_id: ClientId = "", secret_file: SecretFile = Path("client.secret"), yes: Yes = False) -> None:
    with _told():
        authority = Authority.open(key, folder)
        with _api(market, client_id, secret_file) as api:
            row = api.get(f"/grants/{grant_id}")
            typer.echo(t("将撤销授权凭证 {id}（被授权单位 {owner}）。撤销不可收回。",
                         "Grant {id} of {owner} will be revoked. This cannot be taken back.", id=row["id"],
                         owner=row["organisation_id"]))
            _confirmed(yes, t("确认撤销？", "Revoke it?"))
            _post_revocations(api, authority, RevokedGrant(jti=grant_id, at=int(time.time()), reason=reason))


@revocations_app.command("renew", help=t("重新签发撤销清单，延长其有效期；宜每日运行。",
                                         "Sign the revocation list anew for another term; run it daily."))
def revocations_renew(key: KeyFile = _DEFAULT_KEY, folder: Folder = None, market: MarketUrl = _DEFAULT_MARKET,
                      client_id: ClientId = "", secret_file: SecretFile = Path("client.secret")) -> None:
    with _told():
        authority = Authority.open(key, folder)
        with _api(market, client_id, secret_file) as api:
            _post_revocations(api, authority)


def _post_revocations(api: Api, authority: Authority, add: RevokedGrant | None = None) -> None:
    try:
        shown = api.get("/revocations")["jws"]
    except NotFound:
        shown = None
    jws = authority.next_revocations(shown=shown, add=add)
    number = api.post("/revocations", {"jws": jws})["number"]
    typer.echo(t("撤销清单第 {number} 号已发布，{days} 天内有效。", "Revocation list {number} is published and holds for {days} days.",
                 number=number, days=REVOCATIONS_DAYS))


def _digests() -> dict[str, str]:
    from shuyan.federation import apps  # Flower loads with it, and only this command needs it

    return {name: found.digest for name, found in apps.installed().items()}


def _plain(text: str) -> str:
    """Text of others without control characters: an applicant's words must not redraw the authority's screen."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _describe(grant: Grant) -> str:
    """All that is about to be signed, for a person to read."""
    names = {node.node_id: _plain(node.name) for node in grant.nodes}
    lines = [
        t("场景：{title}", "Scenario: {title}", title=_plain(grant.scenario_title)),
        t("用途：{purpose}", "Purpose: {purpose}", purpose=_plain(grant.purpose)),
        t("被授权单位：{name}（{id}）", "Grantee: {name} ({id})", name=_plain(grant.grantee_name), id=_plain(grant.grantee)),
        t("数据资源：", "Resources:"),
        *(f"  {names[item.node_id]} · {_plain(item.name)}: {_plain(', '.join(item.columns))}" for item in grant.resources),
        t("应用：", "Apps:"), *(f"  {item.name} {item.digest}" for item in grant.apps),
        t("期限：至 {end} UTC", "Term: until {end} UTC", end=time.strftime("%Y-%m-%d %H:%M", time.gmtime(grant.exp))),
        t("最小群体 {cohort} 条，最少参与部门 {participants} 个，输出 {forms}，至多 {values} 个数值",
          "Minimum cohort {cohort} rows, at least {participants} departments, output {forms}, at most {values} values",
          cohort=grant.minimum_cohort, participants=grant.minimum_participants, forms=", ".join(grant.output_forms),
          values=grant.max_output_values),
        *_release(grant),
    ]
    return "\n".join(lines)


def _release(grant: Grant) -> list[str]:
    """How answers are released, and what of single departments may show."""
    lines = [t("结果发布：加噪发布（差分隐私）", "Release: with noise (differential privacy)") if grant.release == "dp" else
             t("结果发布：精确发布（小群体抑制，节点防差分）", "Release: exact (small cells suppressed, differences refused at the nodes)")]
    if (terms := grant.privacy) is not None:
        lines.append(t(
            "  保护对象：{unit}（{columns}），每个对象至多 {rows} 条记录、{groups} 个分组",
            "  Protected unit: {unit} ({columns}), at most {rows} rows and {groups} groups of each", unit=_plain(terms.unit),
            columns=_plain(", ".join(f"{name}.{column}" for name, column in sorted(terms.unit_columns.items()))),
            rows=terms.max_rows_per_unit, groups=terms.max_groups_per_unit))
        lines.append(t("  每个部门的隐私预算：ρ = {rho:g}，δ = {delta:g}；诚实部门占比不低于 {honest:.0%} 时噪声足够",
                       "  Privacy budget at each department: ρ = {rho:g}, δ = {delta:g}; the noise suffices with {honest:.0%} "
                       "of the departments honest", rho=terms.rho_nano / 1e9, delta=terms.delta, honest=terms.honest_fraction))
    lines.append(t("单个部门自身的数字：允许展示", "Single departments' own figures: may be shown") if grant.own_figures else
                 t("单个部门自身的数字：不得展示", "Single departments' own figures: not shown"))
    for entry in grant.sole_values:
        shown = _plain(", ".join(entry.values[:10])) + ("…" if len(entry.values) > 10 else "")
        lines.append(t("  {resource}.{column} 中仅一个部门声明的取值（{count} 个）：{values}",
                       "  {resource}.{column}: {count} values that one department alone declares: {values}",
                       resource=_plain(entry.resource), column=_plain(entry.column), count=len(entry.values), values=shown))
    return lines


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
