"""``shuyan verify``: check evidence, offline or fetched, and say in one line what it proves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import shuyan
from shuyan._text import language, t
from shuyan.cli._common import AsJson, console, market, print_json, usage_error


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
    save: Annotated[Path | None, typer.Option(help=t("把取得的存证包存为文件。", "Keep the fetched bundle in this file."))] = None,
    keep: Annotated[Path | None, typer.Option(help=t(
        "把核验过的检查点存为文件，供下次 --since 使用。", "Keep the checked checkpoint in this file, for --since next time."))] = None,
    as_json: AsJson = False,
) -> None:
    if file is None and product is None:
        raise usage_error(t("请给出存证包文件或 --product。", "Give a bundle file or --product."))
    if key is not None and Path(key).is_file():
        key = Path(key).read_text(encoding="utf-8").strip()
    kept = None if since is None else since.read_text(encoding="utf-8")
    if file is not None:
        evidence = file.read_text(encoding="utf-8")
        verified = shuyan.verify_evidence(evidence, subject=product, key=key, since=kept)
        checkpoint = json.loads(evidence)["checkpoint"]
    else:
        assert product is not None
        with market(context) as entered:
            bundle = entered.audit.bundle(product, since=kept)
        verified = shuyan.verify_evidence(bundle, subject=product, key=key, since=kept)
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
            "earlier_size": verified.earlier_size, "events": [*verified.events],
        })
    for event in verified.events:
        console.print(f"{event['index']:>6}  {event.get('at', ''):<24}  {event.get('tag', '')}", style="dim")
    return console.print(verified.statement(language()))
