"""The words for what the node notes about views and measurements, and for classifications and evidence."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from shuyan._text import t
from shuyan_protos.local.v1 import local_pb2

_NOTES = {
    "view_column_null": ("列“{column}”全为空值", "the column “{column}” is null throughout"),
    "view_column_constant": ("列“{column}”只有一个取值", "the column “{column}” has one value only"),
    "view_duplicates": ("有 {rows} 行与别的行完全相同", "{rows} rows repeat another one"),
    "view_more_rows": ("结果 {rows} 行，多于最大的数据源（{source_rows} 行），请检查连接条件",
                       "{rows} rows, more than the largest source has ({source_rows}): check the join"),
    "refresh_column_gone": ("数据源中已没有列“{column}”，未更新", "the source no longer has the column “{column}”; nothing was updated"),
    "refresh_failed": ("无法读取（{reason}），保留原数", "it cannot be read ({reason}); the figures stay"),
    "refresh_invalid": ("列“{column}”有效率降至 {validity}%", "the validity of “{column}” fell to {validity} %"),
    "refresh_incomplete": ("列“{column}”登记为每行都有值，现有缺失：对它的统计将被拒绝，直至数据补齐或重新登记",
                           "“{column}” is registered as having a value in every row and now lacks some: statistics of it are refused"
                           " until the data are mended or registered again"),
    "refresh_risk": ("重识别风险已超过上限：{share}% 的记录所在组不足 5 条", "the risk of re-identification is above the limit now:"
                     " {share} % of the rows are in groups of fewer than 5"),
    "refresh_fewer_rows": ("记录数由 {before} 减至 {rows}", "the rows fell from {before} to {rows}"),
}

CLASSES = {
    "direct_identifier": ("直接标识", "direct identifier"), "quasi_identifier": ("准标识", "quasi-identifier"),
    "sensitive": ("敏感", "sensitive"), "free": ("一般", "free"), "": ("未分类", "not classified"),
}

_EVIDENCE = {
    "resident_id": ("身份证号", "resident number"), "credit_code": ("统一社会信用代码", "social credit code"),
    "mobile": ("手机号", "mobile number"), "landline": ("固定电话", "landline"), "bank_card": ("银行卡号", "bank card"),
    "email": ("电子邮箱", "e-mail"), "passport": ("护照号", "passport"), "licence_plate": ("车牌号", "licence plate"),
    "person_name": ("姓名", "person's name"), "address": ("地址", "address"), "ip_address": ("IP 地址", "IP address"),
    "coordinates": ("坐标", "coordinates"), "unique": ("取值几乎不重复", "nearly all different"),
    "name": ("按列名", "by the column's name"),
}


def note_text(note: local_pb2.Note) -> str:
    """One note as a sentence."""
    zh, en = _NOTES.get(note.code, (note.code, note.code))
    return t(zh, en).format_map(dict(note.args))


def print_notes(notes: Iterable[local_pb2.Note], about: str = "") -> None:
    """Notes on standard error: they are not what was asked for."""
    for note in notes:
        typer.echo(t("注意：", "Note: ") + (f"{about}：" if about and t("zh", "en") == "zh" else f"{about}: " if about else "")
                   + note_text(note), err=True)


def class_text(classification: str) -> str:
    """A classification's name."""
    return t(*CLASSES.get(classification, (classification, classification)))


def evidence_text(evidence: Iterable[local_pb2.Evidence]) -> str:
    """What speaks for a suggestion."""
    words = []
    for item in evidence:
        name = t(*_EVIDENCE.get(item.kind, (item.kind, item.kind)))
        words.append(name if item.kind == "name" else f"{name} {item.share:.0%}")
    return t("、", ", ").join(words) or "-"


def print_risk(risk: local_pb2.Risk) -> None:
    """A risk's figures."""
    from node_agent.cli.output import print_fields, print_table

    print_fields([
        (t("准标识列", "Quasi-identifiers"), ", ".join(risk.quasi)), (t("记录数", "Rows"), risk.rows),
        (t("等价组", "Classes"), risk.classes), (t("最小组（k）", "Smallest class (k)"), risk.smallest_class),
        (t("所在组不足 5 条的记录", "Rows in classes below 5"), f"{risk.share_below_5:.2%}"),
        (t("所在组不足 10 条的记录", "Rows in classes below 10"), f"{risk.share_below_10:.2%}"),
        (t("检察官风险（已知其在数据中）", "Prosecutor risk (known to be inside)"), f"{risk.prosecutor:.2%}"),
        (t("记者风险（任找一人）", "Journalist risk (anybody)"), f"{risk.journalist:.2%}"),
        (t("营销者风险（平均）", "Marketer risk (average)"), f"{risk.marketer:.2%}"),
        *([(t("接受理由", "Accepted because"), risk.accepted)] if risk.accepted else []),
    ])
    if risk.diversity:
        print_table((t("敏感列", "Sensitive column"), t("最少取值数", "Fewest values"), t("熵多样性", "Entropy l"),
                     t("组内只有一值的记录", "Rows in classes of one value")),
                    ((d.column, d.distinct, f"{d.entropy:.2f}", f"{d.share_single:.2%}") for d in risk.diversity),
                    empty="", numeric=(1, 2, 3))
