"""``shuyan resources``, ``apps`` and ``grants``: what there is, and what may be done with it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

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
    word,
)


def add_to(app: typer.Typer) -> None:
    app.command("resources", help=t("查找数据资源，或查看其中一个的字段。", "Find data resources, or show the columns of one."))(resources)
    app.command("apps", help=t("查看可用的联邦计算程序。", "List the federated apps."))(apps)
    app.command("grants", help=t("查看本单位的授权凭证。", "List your organisation's grants, or show one."))(grants)


def resources(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help=t("资源编号。", "Resource id."), metavar="ID")] = None,
    query: Annotated[str | None, typer.Option("--query", "-q", help=t("按文字查找。", "Search for this text."))] = None,
    sector: Annotated[str | None, typer.Option(help=t("按领域筛选。", "Of this sector only."))] = None,
    limit: Limit = 50, as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        if id is None:
            found = [*entered.resources.list(q=query, sector=sector, limit=limit)]
            if as_json:
                return print_json(found)
            return print_table(
                [t("编号", "id"), t("名称", "name"), t("标题", "title"), t("领域", "sector"), t("分级", "grade"), t("行数", "rows")],
                [(r.id, r.name, titled(r), word("sector", r.sector), r.grade, f"{r.row_count:,}") for r in found], numeric=(4, 5))
        resource = entered.resources.get(id)
    if as_json:
        return print_json(resource)
    print_fields([(t("编号", "id"), resource.id), (t("名称", "name"), resource.name), (t("标题", "title"), titled(resource)),
                  (t("节点", "node"), resource.node_id), (t("领域", "sector"), word("sector", resource.sector)),
                  (t("分级", "grade"), resource.grade), (t("行数", "rows"), f"{resource.row_count:,}")])
    console.print()
    return print_table(
        [t("字段", "column"), t("类型", "type"), t("说明", "title"), t("取值", "values")],
        [(c.name, c.type, c.title, t("直接标识，不授权", "identifier, never granted") if c.identifier else
          ", ".join(c.domain) or (f"{c.lower:g} … {c.upper:g}" if c.lower is not None and c.upper is not None else ""))
         for c in resource.columns])


def apps(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help=t("程序名称。", "Name of an app."), metavar="NAME")] = None,
    as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        found = entered.apps() if name is None else [entered.apps.get(name)]
    if as_json:
        return print_json(found if name is None else found[0])
    if name is None:
        return print_table(
            [t("名称", "name"), t("版本", "version"), t("说明", "title"), t("产出", "gives"), t("加噪", "noise"), t("放行单位", "allowed at"),
             t("摘要", "digest")],
            [(a.name, a.version, titled(a), word("form", a.output_form), t("支持", "yes") if a.noisy else "–",
              len(a.allowed_at) or "–", a.digest) for a in found], numeric=(5,))
    app = found[0]
    print_fields([(t("名称", "name"), app.name), (t("版本", "version"), app.version), (t("说明", "title"), titled(app)),
                  (t("产出", "gives"), word("form", app.output_form)), (t("摘要", "digest"), app.digest),
                  (t("放行单位", "allowed at"), ", ".join(app.allowed_at) or "–")])
    console.print()
    required = set(app.params_schema.get("required", ()))
    return print_table([t("参数", "parameter"), t("类型", "type"), t("必填", "required"), t("默认值", "default")],
                       [(key, _kind(shape), t("是", "yes") if key in required else "",
                         "" if key in required else json.dumps(shape.get("default"), ensure_ascii=False))
                        for key, shape in app.params_schema.get("properties", {}).items()])


def _kind(shape: dict[str, Any]) -> str:
    """A parameter's JSON Schema in a word or two."""
    if "enum" in shape:
        return " | ".join(map(str, shape["enum"]))
    kinds = [_kind(one) for one in shape.get("anyOf", ())]
    return str(shape.get("type") or " | ".join(kinds) or shape.get("$ref", "").rsplit("/", 1)[-1])


def grants(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help=t("凭证编号。", "Grant id."), metavar="ID")] = None,
    limit: Limit = 50, as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        if id is not None:
            return print_json(entered.grants.get(id))
        found = [*entered.grants.list(limit=limit)]
    if as_json:
        return print_json(found)
    releases = {"exact": t("精确", "exact"), "dp": t("加噪", "with noise")}
    outdated = t("已失效（旧版本）", "outdated")
    return print_table([t("编号", "id"), t("场景", "scenario"), t("状态", "status"), t("发布方式", "release"), t("到期", "expires")],
                       [(g.id, g.scenario_id, outdated if g.state == "outdated" else word("state", g.state or g.status),
                         releases.get(g.release, g.release), f"{g.expires_at:%Y-%m-%d %H:%M}Z") for g in found])
