"""``shuyan app submit …``: a packed app on its way through the market's review, and back as a signed package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from shuyan import AppSubmission
from shuyan._text import t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    market,
    print_fields,
    print_json,
    print_table,
    titled,
    usage_error,
    word,
)

Id = Annotated[str, typer.Argument(help=t("提交编号。", "The submission's id."))]
Note = Annotated[str, typer.Option(help=t("说明；退回、驳回和停用时必填。", "A note; needed to return, reject or retire."))]


def add_to(app: typer.Typer) -> None:
    """Attach the commands."""
    app.command("submit", help=t("把打好的应用包提交市场审核。", "Submit a packed app for the market's review."))(submit)
    app.command("submissions", help=t("列出提交的应用及其审核状态。", "List submitted apps and how far their review is."))(submissions)
    app.command("submission", help=t("查看一次提交：声明、自动检查结果、与上一版的差异。",
                                     "Look at a submission: declarations, findings, changes since the last version."))(submission)
    app.command("withdraw", help=t("撤回尚未审结的提交。", "Take back a submission that is not decided yet."))(withdraw)
    app.command("retire", help=t("停用自己已通过审核的版本。", "Take an accepted version of one's own out of use."))(retire)
    app.command("download", help=t("下载已通过审核的应用包及其签名。", "Download an accepted package and its signature."))(download)
    app.command("review", help=t("运营机构：退回、驳回、通过（附签名）或停用。",
                                 "For the operator: return, reject, accept with a signature, or suspend."))(review)


def submit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help=t("应用包文件。", "The package file."), exists=True, dir_okay=False)],
    note: Annotated[str, typer.Option(help=t("给审核人的说明。", "A note to the reviewer."))] = "",
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        _told(connected.programs.submit(file, note), as_json)


def submissions(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help=t("只列此状态。", "Only those in this state."))] = None,
    name: Annotated[str | None, typer.Option(help=t("只列此应用。", "Only those of this app."))] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        rows = connected.programs.list(status=status, name=name, limit=limit)
    if as_json:
        return print_json(rows)
    return print_table(
        [t("编号", "id"), t("应用", "app"), t("标题", "title"), t("状态", "state"), t("检查问题", "findings"), t("摘要", "digest")],
        [[one.id, f"{one.name} {one.version}", titled(one), word("state", one.status), len(one.findings), one.digest[:19] + "…"]
         for one in rows], numeric=[4])


def submission(
    context: typer.Context,
    id: Id,
    save: Annotated[Path | None, typer.Option(
        help=t("把应用包存到此目录，供审核和离线签名。", "Save the package into this folder, to review it and sign it offline."),
        file_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        found = connected.programs.get(id)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            (save / f"{Path(found.name).name}-{Path(found.version).name}.shuyanapp").write_bytes(connected.programs.package(id))
    if as_json:
        return print_json(found)
    _told(found, False)
    more: dict[str, Any] = found.model_extra or {}
    print_fields([
        (t("读取", "reads"), ", ".join(f"{one['param'] or one['column']}: {one['need']}" for one in more.get("reads", ()))),
        (t("输出", "outputs"), "; ".join(f"{one['action']}.{one['vector']} ≤ {one['bound']:g}" for one in more.get("outputs", ()))),
        (t("上一版", "previous"), (more.get("previous") or {}).get("version") or t("无", "none")),
    ])
    changes = more.get("changes") or {}
    for one in changes.get("declarations", ()):
        console.print(f"{one['where']}: {one['old']} → {one['new']}", soft_wrap=True, markup=False, highlight=False)
    for one in changes.get("files", ()):
        console.print(one["diff"], soft_wrap=True, markup=False, highlight=False)
    return None


def withdraw(context: typer.Context, id: Id, as_json: AsJson = False) -> None:
    with market(context) as connected:
        _told(connected.programs.withdraw(id), as_json)


def retire(context: typer.Context, id: Id, note: Note = "", as_json: AsJson = False) -> None:
    with market(context) as connected:
        _told(connected.programs.retire(id, note), as_json)


def download(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=t("应用名。", "The app's name."))],
    version: Annotated[str | None, typer.Option(help=t("版本；默认最高。", "Version; the highest by default."))] = None,
    out: Annotated[Path, typer.Option(help=t("放入此目录。", "Put it into this folder."), file_okay=False)] = Path(),
    key: Annotated[Path | None, typer.Option(
        help=t("运营机构的公钥文件，下载时核验签名。", "The operator's public key, to verify the signature at once."),
        exists=True, dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        target = connected.programs.download(name, version, folder=out, key=key)
    files = [target, target.with_name(target.name + ".sig")]
    if as_json:
        return print_json({"package": str(files[0]), "signature": str(files[1]), "verified": key is not None})
    return print_fields([(t("应用包", "package"), files[0]), (t("签名", "signature"), files[1]),
                         (t("签名核验", "signature verified"), t("已核验", "yes") if key else t("未核验（未提供公钥）", "no (no key given)"))])


def review(
    context: typer.Context,
    id: Id,
    decision: Annotated[str, typer.Argument(help=t("return（退回）、reject（驳回）、accept（通过）或 suspend（停用）。",
                                                   "return, reject, accept or suspend."))],
    signature: Annotated[Path | None, typer.Option(
        help=t("通过时：离线签出的签名文件。", "To accept: the signature file, made offline."), exists=True, dir_okay=False)] = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    with market(context) as connected:
        programs = connected.programs
        match decision:
            case "return":
                found = programs.send_back(id, note)
            case "reject":
                found = programs.reject(id, note)
            case "suspend":
                found = programs.suspend(id, note)
            case "accept" if signature is not None:
                found = programs.accept(id, signature.read_text(encoding="ascii"), note)
            case "accept":
                raise usage_error(t("通过时请用 --signature 附上签名文件。", "To accept, give the signature file with --signature."))
            case _:
                raise usage_error(t("decision 应为 return、reject、accept 或 suspend。", "The decision is return, reject, accept or suspend."))
        _told(found, as_json)


def _told(found: AppSubmission, as_json: bool) -> None:
    if as_json:
        return print_json(found)
    fields: Sequence[tuple[str, object]] = [
        (t("编号", "id"), found.id), (t("应用", "app"), f"{found.name} {found.version}"), (t("标题", "title"), titled(found)),
        (t("状态", "state"), word("state", found.status)), (t("摘要", "digest"), found.digest),
        *([(t("说明", "note"), found.note)] if found.note else []), *([(t("签名单位", "signed by"), found.signer)] if found.signer else [])]
    print_fields(fields)
    for one in found.findings:
        console.print(f"{one.get('path')}:{one.get('line')}: {one.get('text')} [{one.get('rule')}]", style="yellow", soft_wrap=True,
                      markup=False, highlight=False)
    return None
