"""What a report says, as plain texts and tables in one language; how it looks is the template's."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from marketplace.clock import CITY
from marketplace.products.models import Product, ProductVersion

MAX_ROWS: Final = 2_000
"""Rows of one table that are printed; what a report leaves out it says."""

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "kind": ("公共数据产品报告", "Public data product report"), "code": ("登记编码", "Registration code"), "version": ("版本", "Version"),
    "issued": ("登记日期", "Registered"), "seller": ("提供方", "Provided by"), "results": ("结果", "Results"),
    "provenance": ("数据来源", "Where it comes from"), "departments": ("数据提供单位", "Departments"), "records": ("涉及记录数", "Records"),
    "app": ("计算程序", "Computed by"), "grant": ("授权凭证", "Grant"), "job": ("计算任务", "Job"), "output": ("成果摘要", "Result digest"),
    "manifest": ("清单摘要", "Manifest digest"), "check": ("核验", "How to check this report"), "terms": ("使用条款", "Terms of use"),
    "checking": ("扫描二维码打开产品页；以 shuyan verify 可离线核验登记、授权与审核的存证。", "The code opens the product's page; shuyan verify checks "
                 "offline that registration, grant and reviews are in the public log."),
    "method": ("原始数据未离开各单位；每个公布的数字均不少于最小群体 {cohort} 条记录。", "The raw data never left the departments; every figure "
               "published rests on {cohort} records or more."),
    "overall": ("总体", "Overall"), "group": ("分组", "Group"), "rows": ("记录数", "Records"), "column": ("指标", "Column"),
    "count": ("数量", "Count"), "sum": ("合计", "Sum"), "mean": ("均值", "Mean"), "sd": ("标准差", "SD"), "value": ("值", "Value"),
    "name": ("项目", "Item"), "cut": ("仅印出前 {shown} 行，共 {all} 行。", "The first {shown} of {all} rows are printed."), "none": ("无", "None"),
    "suppressed": ("另有 {n} 个分组因群体过小未公布。", "{n} more groups are too small to be published."),
}


def matter(product: Product, version: ProductVersion, content: Mapping[str, Any], tongue: str, *, seller: str, departments: Sequence[str],
           address: str) -> dict[str, Any]:
    """Everything a report prints: ``words``, ``facts``, ``tables`` (``{title, head, rows, note}``), ``qr`` as SVG …"""
    place = 1 if tongue == "en" else 0
    words = {key: both[place] for key, both in _WORDS.items()}
    manifest, when = version.manifest, version.registered_at or version.created_at
    page = f"{address}/products/{product.id}"

    def text(name: str) -> str:
        return str(getattr(product, f"{name}_{'en' if place else 'zh'}") or getattr(product, f"{name}_zh") or getattr(product, f"{name}_en"))

    day = when.astimezone(CITY).date()
    return {
        "tongue": tongue, "words": words, "title": text("title"), "summary": text("summary"), "description": text("description"),
        "terms": text("terms"), "page": page, "qr": _qr(page), "date": [day.year, day.month, day.day],
        "head": [[words["code"], version.registration_code or "–"], [words["version"], str(version.number)],
                 [words["issued"], day.isoformat()], [words["seller"], seller]],
        "tables": list(tables(content, words)),
        "method": words["method"].format(cohort=content.get("minimum_cohort") or 10),
        "facts": [[words["departments"], "、".join(departments) if not place else ", ".join(departments)],
                  [words["records"], f"{manifest['rows']:,}"],
                  [words["app"], f"{manifest['app']['name']} {manifest['app']['digest']}"],
                  [words["grant"], f"{manifest['grant']['id']} {manifest['grant']['digest']}"], [words["job"], version.job_id],
                  [words["output"], manifest["output_digest"]], [words["manifest"], version.manifest_digest]],
    }


def tables(content: Mapping[str, Any], words: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """A content's tables as texts: statistics by group, a query's table, or whatever figures there are by name."""
    if isinstance(content.get("columns"), list) and isinstance(content.get("rows"), list):
        yield _table("", [str(column["name"]) for column in content["columns"]], [[_shown(value) for value in row] for row in content["rows"]], words)
        return
    if "tables" in content:
        for one in content["tables"]:
            yield _statistics(one, words)
        for one in content.get("histograms", ()):
            bounds = [f"{_shown(low)} – {_shown(high)}" for low, high in zip(one["edges"], one["edges"][1:], strict=False)]
            yield _table(str(one["column"]), [str(one["column"]), words["count"]],
                         [[bound, _shown(count)] for bound, count in zip(bounds, one["counts"], strict=False)], words)
        return
    yield _table("", [words["name"], words["value"]], list(_flat(content)), words)


def _statistics(one: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    by = [str(name) for name in one["group_by"]]
    rows = [[*(str(cell["group"].get(name, "")) for name in by), _shown(cell.get("rows")), column,
             *(_shown(figures.get(key)) for key in ("mean", "sd", "sum"))]
            for cell in one["cells"] for column, figures in sorted(cell["columns"].items())]
    made = _table(" × ".join(by) or words["overall"], [*by, words["rows"], words["column"], words["mean"], words["sd"], words["sum"]], rows, words)
    if one.get("suppressed"):
        made["note"] = f"{made['note']} {words['suppressed'].format(n=one['suppressed'])}".strip()
    return made


def _table(title: str, head: list[str], rows: list[list[str]], words: Mapping[str, str]) -> dict[str, Any]:
    note = words["cut"].format(shown=MAX_ROWS, all=len(rows)) if len(rows) > MAX_ROWS else ""
    return {"title": title, "head": head, "rows": rows[:MAX_ROWS], "note": note}


def _flat(value: Any, path: str = "") -> Iterable[list[str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if all(not isinstance(item, Mapping | list) for item in value):
            yield [path, ", ".join(_shown(item) for item in value)]
        else:
            for place, item in enumerate(value, 1):
                yield from _flat(item, f"{path}[{place}]")
    else:
        yield [path, _shown(value)]


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.2f}"


def _qr(address: str) -> str:
    import segno

    out = io.BytesIO()
    segno.make(address, error="m", micro=False).save(out, kind="svg", border=0, xmldecl=False, scale=4)
    return out.getvalue().decode()
