"""Identifiers of persons and organisations anywhere in a candidate output: in texts, in names of fields, in numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.computing.egress.texts import KINDS, Finding, percent
from shuyan.detect import DETECTORS, Kind, find, is_bank_card, is_mobile, is_resident_id, shares

_TELLING: Final = re.compile(
    r"(?i)phone|mobile|tel|contact|resident|id_?card|id_?no|identity|cert_?no|bank|card|account|手机|电话|联系|身份|证件|银行|卡号|账号|账户")
_WHOLE: Final[tuple[Kind, ...]] = ("ip_address", "coordinates")
_MANY: Final = 3
_MOST: Final = 0.6
_NAMES: Final = 0.5


@dataclass
class Column:
    """All values of one place of the content.

    Attributes:
        texts: keys as well as values.
        whole: whole numbers as they would be written.
        numbers: how many numbers there are in all.
    """

    where: str
    texts: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    numbers: int = 0


def columns_of(content: Any) -> list[Column]:
    """The content's values by place; a place in a list is no place of its own."""
    found: dict[str, Column] = {}
    for where, value in _walk(content):
        column = found.setdefault(where, Column(where))
        if isinstance(value, str):
            column.texts.append(value)
        else:
            column.numbers += 1
            if float(value).is_integer():
                column.whole.append(str(int(value)))
    return list(found.values())


def _walk(value: Any, where: str = "") -> Iterator[tuple[str, str | float]]:
    if isinstance(value, dict):
        names = _table_columns(value)
        for key, item in value.items():
            place = f"{where}.{key}" if where else str(key)
            yield where or "*", str(key)
            if names and key == "rows":
                for row in item:
                    for name, cell in zip(names, row, strict=False):
                        yield from _walk(cell, name)
            else:
                yield from _walk(item, place)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item, where)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield where, value


def _table_columns(value: dict[str, Any]) -> list[str]:
    """The names of a table's columns, as which its rows' values are told."""
    columns, rows = value.get("columns"), value.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return []
    return [str(column.get("name", "")) if isinstance(column, dict) else "" for column in columns]


def findings(content: Any) -> list[Finding]:
    """What identifies somebody: strong kinds fail an output, weaker ones are told."""
    columns = columns_of(content)
    found = [finding for column in columns for finding in (*_in_texts(column), *_in_numbers(column))]
    if found:
        return found
    return [Finding("identifiers_none", "pass", {
        "texts": sum(len(column.texts) for column in columns), "values": sum(column.numbers for column in columns)})]


def _in_texts(column: Column) -> Iterator[Finding]:
    counts: dict[Kind, int] = {}
    digits = 0
    for text in column.texts:
        kinds = {hit.kind for hit in find(text)}
        kinds |= {kind for kind in _WHOLE if DETECTORS[kind].whole(text.strip())}
        digits += bool(re.search(r"(?<!\d)\d{13,19}(?!\d)", text))
        for kind in kinds:
            counts[kind] = counts.get(kind, 0) + 1
    for kind, count in counts.items():
        # One in ten numbers of that length has the check digit of a card by chance.
        by_chance = kind == "bank_card" and count < _MOST * digits and not _TELLING.search(column.where)
        yield _finding(column, kind, count, len(column.texts), strong=DETECTORS[kind].strong and not by_chance)
    distinct = set(column.texts)
    for weak, share in shares(distinct).items():
        if weak not in counts and (
            (weak == "person_name" and share >= _NAMES and len(distinct) >= _MANY) or weak == "address"
        ):
            yield _finding(column, weak, round(share * len(distinct)), len(distinct), strong=False)


def _in_numbers(column: Column) -> Iterator[Finding]:
    """Whole numbers that are identifiers: one alone may be chance, a column of them is not, nor is one in a column called so."""
    kinds: tuple[tuple[Kind, Callable[[str], bool]], ...] = (
        ("resident_id", _like_resident_id), ("bank_card", is_bank_card), ("mobile", _plain_mobile))
    for kind, is_one in kinds:
        hits = [text for text in column.whole if is_one(text)]
        if not hits:
            continue
        strong = len(set(hits)) >= _MANY and len(hits) >= _MOST * column.numbers
        yield _finding(column, kind, len(hits), column.numbers, strong=strong or bool(_TELLING.search(column.where)))


def _plain_mobile(text: str) -> bool:
    return len(text) == 11 and is_mobile(text)


def _like_resident_id(text: str) -> bool:
    """As a float64 holds it: the last digits are lost, the check digit with them; province and date of birth are not."""
    return len(text) == 18 and any(is_resident_id(text[:17] + check) for check in "0123456789X")


def _finding(column: Column, kind: Kind, count: int, total: int, *, strong: bool) -> Finding:
    zh, en = KINDS[kind]
    args = {"where": column.where, "kind": kind, "kind_zh": zh, "kind_en": en, "count": count, "share": percent(count / max(total, 1))}
    return Finding("identifiers_strong" if strong else "identifiers_weak", "fail" if strong else "notice", args)
