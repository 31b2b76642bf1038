"""``shuyan verify``: check evidence, offline or fetched, and say in one line what it proves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import shuyan
from shuyan._text import language, t
from shuyan.cli._common import AsJson, console, market, print_json, usage_error
from shuyan.trust.bundle import trusted_nodes


def add_to(app: typer.Typer) -> None:
    app.command("verify", help=t(
        "核验存证：给出存证包文件（离线），或用 --product 从市场取得后核验。",
        "Check evidence: a bundle file, offline, or fetched from the market with --product."))(verify)


def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help=t("存证包文件。", "Bundle file."), exists=True, dir_okay=False, metavar="FILE")] = None,
    product: Annotated[str | None, typer.Option("--product", "--subject", help=t(
        "产品（或任务、凭证、订单）编号：从市场取证；与文件同用时，核对文件说的就是它。",
        "Id of a product, or of a job, grant or order: fetch its evidence; with a file, what the file must be about."))] = None,
    key: Annotated[str | None, typer.Option(help=t(
        "存证日志的公钥（vkey）或其文件；应从市场以外的渠道取得。", "The log's public key (vkey), or a file with it, had from elsewhere."))] = None,
    since: Annotated[Path | None, typer.Option(help=t(
        "以前保存的检查点，核验其后未被改写。", "A checkpoint kept from earlier: nothing may have been rewritten since."),
        exists=True, dir_okay=False)] = None,
    trust_nodes: Annotated[list[Path] | None, typer.Option(help=t(
        "部门公钥文件（节点密钥卡，或每行一个 vkey），可重复；只计这些部门的联署。",
        "File with departments' keys (node cards, or one vkey a line), may be repeated; only their cosignatures count."),
        exists=True, dir_okay=False)] = None,
    save: Annotated[Path | None, typer.Option(help=t("把取得的存证包存为文件。", "Keep the fetched bundle in this file."))] = None,
    keep: Annotated[Path | None, typer.Option(help=t(
        "把核验过的检查点存为文件，供下次 --since 使用。", "Keep the checked checkpoint in this file, for --since next time."))] = None,
    as_json: AsJson = False,
) -> None:
    if file is None and product is None:
        raise usage_error(t("请给出存证包文件或 --product。", "Give a bundle file or --product."))
    if key is not None and ("+" not in key or Path(key).is_file()):
        key = _text_of(Path(key)).strip()
    kept = None if since is None else _text_of(since)
    nodes: dict[str, str] | None = None
    for path in trust_nodes or ():
        nodes = (nodes or {}) | trusted_nodes(_text_of(path))
    if file is not None:
        evidence = _text_of(file)
        verified = shuyan.verify_evidence(evidence, subject=product, key=key, since=kept, node_keys=nodes)
        checkpoint = json.loads(evidence)["checkpoint"]
    else:
        assert product is not None
        with market(context) as entered:
            bundle = entered.audit.bundle(product, since=kept)
        verified = shuyan.verify_evidence(bundle, subject=product, key=key, since=kept, node_keys=nodes)
        checkpoint = bundle["checkpoint"]
        if save is not None:
            save.write_text(json.dumps(bundle, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if keep is not None:
        keep.write_text(checkpoint, encoding="utf-8")
    if as_json:
        return print_json({
            "statement": verified.statement(language()), "subject": verified.subject, "origin": verified.origin,
            "size": verified.size, "root": verified.root, "key": verified.key, "key_pinned": verified.key_pinned,
            "cosigners": [{"node_id": c.node_id, "name": c.name, "time": c.time} for c in verified.cosigners],
            "node_keys_pinned": verified.node_keys_pinned, "earlier_size": verified.earlier_size, "events": [*verified.events],
        })
    for event in verified.events:
        console.print(f"{event['index']:>6}  {event.get('at', ''):<24}  {event.get('tag', '')}", style="dim")
    return console.print(verified.statement(language()), soft_wrap=True)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise usage_error(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage_error(t("{path} 不是文本文件。", "{path} is not a text file.", path=path)) from error
