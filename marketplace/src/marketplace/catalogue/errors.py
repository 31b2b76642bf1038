"""Problems of the catalogue."""

from __future__ import annotations

from typing import Final

from marketplace.notices import texts
from shuyan.problems import define

RESOURCE_INVALID: Final = define(
    "resource_invalid", 422, zh="数据资源登记有误：{field}。", en="The registered resource is not valid: {field}.")
BAD_RESOURCE_CURSOR: Final = define(
    "bad_resource_cursor", 400, zh="翻页游标无效，请从第一页重新开始。",
    en="The cursor is not valid; start from the first page.")
REASON_INVALID: Final = define(
    "catalogue_reason_invalid", 422, zh="请写明理由（1–{most} 字）。", en="State the reason (1 to {most} characters).")
NEGATIVE_INVALID: Final = define(
    "negative_entry_invalid", 422, zh="负面清单条目的“{field}”填写有误。", en="The entry of the negative list is not valid: {field}.")
NEGATIVE_TOO_WIDE: Final = define(
    "negative_entry_too_wide", 422, zh="模式“{pattern}”会匹配一切，请至少写出两个字符。",
    en="The pattern “{pattern}” would match everything; spell out two characters at least.")
NEGATIVE_PAST: Final = define(
    "negative_entry_past", 422, zh="生效时间不能早于现在。", en="An entry cannot take effect in the past.")
ELEMENT_NOT_CLAIMED: Final = define(
    "element_not_claimed", 422, zh="该资源没有以字段“{column}”主张数据元“{element}”的权威来源。",
    en="That resource does not claim to be the authoritative source of “{element}” with the column “{column}”.")
QUALITY_OBJECTION_INVALID: Final = define(
    "quality_objection_invalid", 422, zh="数据质量异议的“{field}”填写有误。", en="The objection to quality is not valid: {field}.")
QUALITY_OBJECTION_OWN: Final = define(
    "quality_objection_own", 409, zh="不能对本单位的数据提出质量异议。", en="An organisation cannot object to the quality of its own data.")
QUALITY_OBJECTION_TWICE: Final = define(
    "quality_objection_twice", 409, zh="贵单位对该资源的同一问题已有未办结的异议。",
    en="Your organisation already has an open objection of this kind to this resource.")

ELEMENT_CONTESTED: Final = texts.kind(
    "element_contested", zh="数据元“{element}”有多个部门主张权威来源，请裁定。",
    en="Several departments claim to be the authoritative source of “{element}”; please decide.", page="element:name")
ELEMENT_SETTLED: Final = texts.kind(
    "element_settled", zh="数据元“{element}”的权威来源已裁定。", en="The authoritative source of “{element}” has been decided.",
    page="element:name")
NEGATIVE_HIT: Final = texts.kind(
    "negative_hit", zh="负面清单新条目涉及 {count} 份有效授权，请核查处置：{grants}。",
    en="A new entry of the negative list hits {count} grants in force; please look into them: {grants}.", page="negative_entry:entry_id")
QUALITY_BELOW: Final = texts.kind(
    "quality_below", zh="数据资源“{title}”的质量低于要求，请核查。", en="The quality of “{title}” is below what is required; please look into it.",
    page="resource:resource_id")
OBJECTION_RAISED: Final = texts.kind(
    "quality_objection_raised", zh="“{title}”收到数据质量异议，请在期限内答复。",
    en="An objection to the quality of “{title}” was raised; please answer in time.", page="quality_objection:objection_id")
OBJECTION_MOVED: Final = texts.kind(
    "quality_objection_moved", zh="对“{title}”的数据质量异议有新进展。", en="The objection to the quality of “{title}” has moved on.",
    page="quality_objection:objection_id")
OBJECTION_ESCALATED: Final = texts.kind(
    "quality_objection_escalated", zh="对“{title}”的数据质量异议已上报，请裁定。",
    en="The objection to the quality of “{title}” was passed up to you; please decide.", page="quality_objection:objection_id")
