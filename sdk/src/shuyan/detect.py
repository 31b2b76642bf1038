"""Detectors for what identifies persons and organisations in Chinese data: by check digits and form, never by a model.

Each detector says of one text whether the whole of it is such a value; :func:`find` looks for them inside longer text. Pure
Python, no dependency. Numbers follow GB 11643 (resident number), GB 32100 (unified social credit code), ISO/IEC 7812
(bank card) and GA 36 (licence plate).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["resident_id", "credit_code", "mobile", "landline", "bank_card", "email", "passport", "licence_plate",
               "person_name", "address", "ip_address", "coordinates"]

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS: Final = "10X98765432"
_PROVINCES: Final = frozenset(map(str, (
    *range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83)))
_CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS: Final = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)

_RESIDENT: Final = re.compile(r"\d{17}[\dXx]")
_CREDIT: Final = re.compile(r"[0-9A-HJ-NP-RTUWXY]{18}")
_MOBILE: Final = re.compile(r"(?:(?:\+|00)?86[- ]?)?1[3-9]\d(?:[- ]?\d{4}){2}")
_LANDLINE: Final = re.compile(r"(?:\+?86[- ]?)?(?:\(0[1-9]\d{1,2}\)|0[1-9]\d{1,2})[- ]?[2-8]\d{6,7}(?:[-转]\d{1,5})?|[48]00[- ]?\d{3}[- ]?\d{4}")
_CARD: Final = re.compile(r"\d{4}(?: ?\d{4}){2,3}(?: ?\d{1,3})?")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}")
_PASSPORT: Final = re.compile(r"[EGDSPH]\d{8}|E[A-HJ-NP-Z]\d{7}|[DSP]E\d{7}")
_PLATE: Final = re.compile(r"[京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新][A-HJ-NP-Z][·• ]?(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[DF][A-HJ-NP-Z0-9]\d{4}|\d{5}[DF])")
_COORDINATES: Final = re.compile(r"[(\[]?\s*(-?\d{1,3}\.\d{3,})\s*[,，; ]\s*(-?\d{1,3}\.\d{3,})\s*[)\]]?")
_ADDRESS: Final = re.compile(
    r"[\u4e00-\u9fff].*(?:(?:省|自治区|市|自治州|区|县|旗|镇|乡|街道|村).*(?:路|街|巷|弄|道|胡同|村|组|小区|大厦|园|社区|\d+号|\d+栋|\d+室)"
    r"|(?:路|街|大道|巷|弄|胡同).{0,8}?\d+\s*(?:号|弄|栋|幢))")

# The hundred commonest and some two hundred more cover nearly everybody; the list is of the 2020 census' common names.
_SURNAMES: Final = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许邓韩冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范"
    "汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔牛赖文洪温季樊兰施倪"
    "殷葛岳齐伍章申詹柳俞关柯庄梅安盛凌鲁童欧翁卜柴耿解聂邢纪焦骆毕游阮单裴翟霍成尚苗路靳甘涂祝宁曲谷时舒包鲍冉管辛"
    "司阎植房费屈項项邬喻娄党饶车代蒙隋古穆佘卓应池桂商辜席褚敖米苟凤苑宫居甄麦车查瞿符简景连沙佟巩阳佐左卫艾练燕楚仇")
_COMPOUND: Final = frozenset({
    "欧阳", "上官", "司马", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "夏侯", "司徒", "长孙", "宇文", "端木",
    "独孤", "南宫", "申屠", "闻人", "澹台", "百里", "呼延", "轩辕", "钟离"})
_NOT_NAMES: Final = re.compile(r"[省市县区路街号院局所厅部处科室公司厂店校馆站社会组性别男女型级类年月日]$|医院|大学|中学|小学|银行")
_NAME: Final = re.compile(r"[\u4e00-\u9fff]{1,15}(?:·[\u4e00-\u9fff]{1,15})*")


def is_resident_id(text: str) -> bool:
    """An 18-digit resident number: province, birth date and check digit. Divisions come and go, so they are not asked."""
    if not _RESIDENT.fullmatch(text) or text[:2] not in _PROVINCES:
        return False
    try:
        born = dt.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    if not 1850 <= born.year <= 2200:
        return False
    return text[17].upper() == check_digit(text[:17])


def check_digit(body: str) -> str:
    """The last character of a resident number of 17 digits: ISO 7064 MOD 11-2."""
    return _CHECKS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True)) % 11]


def is_credit_code(text: str) -> bool:
    """A unified social credit code of an organisation, with its check character."""
    text = text.upper()
    if not _CREDIT.fullmatch(text) or not text[2:8].isdigit():
        return False
    return text[17] == check_character(text[:17])


def check_character(body: str) -> str:
    """The last character of a unified social credit code of 17 characters."""
    return _CREDIT_ALPHABET[-sum(weight * _CREDIT_ALPHABET.index(sign) for weight, sign in zip(_CREDIT_WEIGHTS, body, strict=True)) % 31]


def is_mobile(text: str) -> bool:
    """A mobile number of mainland China, with or without country code and separators."""
    return bool(_MOBILE.fullmatch(text))


def is_landline(text: str) -> bool:
    """A landline with its area code, or a 400/800 number with separators."""
    return bool(_LANDLINE.fullmatch(text)) and not (text.isdigit() and text[0] != "0")


def is_bank_card(text: str) -> bool:
    """A payment card: 13 to 19 digits, a known issuer range, Luhn's check digit."""
    if not _CARD.fullmatch(text):
        return False
    digits = text.replace(" ", "")
    if not (13 <= len(digits) <= 19 and digits[0] in "3456" and (digits[0] != "3" or digits[1] in "04567")):
        return False
    if len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_email(text: str) -> bool:
    """An e-mail address."""
    return bool(_EMAIL.fullmatch(text))


def is_passport(text: str) -> bool:
    """A Chinese passport or travel permit number. No check digit: weak evidence alone."""
    return bool(_PASSPORT.fullmatch(text))


def is_licence_plate(text: str) -> bool:
    """A licence plate of mainland China, the new-energy ones of eight characters included."""
    return bool(_PLATE.fullmatch(text))


def is_person_name(text: str) -> bool:
    """Perhaps a Chinese person's name: two to four characters of which the first are a surname, or names joined by ``·``.

    A heuristic: trust its share over a column, not one hit.
    """
    if not _NAME.fullmatch(text) or _NOT_NAMES.search(text):
        return False
    if "·" in text:
        return True
    if text[:2] in _COMPOUND:
        return 3 <= len(text) <= 4
    return text[0] in _SURNAMES and 2 <= len(text) <= 3


def is_address(text: str) -> bool:
    """A Chinese postal address: a division and a street, or a street and a number."""
    return 6 <= len(text) <= 200 and bool(_ADDRESS.match(text))


def is_ip_address(text: str) -> bool:
    """An IPv4 or IPv6 address."""
    if not (2 <= len(text) <= 45 and (text.count(".") == 3 or text.count(":") >= 2)):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_coordinates(text: str) -> bool:
    """A pair of geographic coordinates in degrees, with at least three decimals (about a hundred metres)."""
    found = _COORDINATES.fullmatch(text)
    if not found:
        return False
    first, second = abs(float(found[1])), abs(float(found[2]))
    return min(first, second) <= 90 and max(first, second) <= 180


@dataclass(frozen=True)
class Detector:
    """One kind of value.

    Attributes:
        strong: a check digit or an unmistakable form stands behind it.
        whole: says of a whole text whether it is one.
        inside: where to look in longer text; None: not looked for there.
    """

    kind: Kind
    strong: bool
    whole: Callable[[str], bool]
    inside: re.Pattern[str] | None


def _bounded(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9A-Za-z])(?:{pattern.pattern})(?![0-9A-Za-z])")


DETECTORS: Final[Mapping[Kind, Detector]] = {detector.kind: detector for detector in (
    Detector("resident_id", True, is_resident_id, _bounded(_RESIDENT)),
    Detector("credit_code", True, is_credit_code, _bounded(_CREDIT)),
    Detector("mobile", True, is_mobile, _bounded(_MOBILE)),
    Detector("landline", False, is_landline, _bounded(_LANDLINE)),
    Detector("bank_card", True, is_bank_card, _bounded(_CARD)),
    Detector("email", True, is_email, _bounded(_EMAIL)),
    Detector("passport", False, is_passport, _bounded(_PASSPORT)),
    Detector("licence_plate", True, is_licence_plate, _PLATE),
    Detector("address", False, is_address, None),
    Detector("ip_address", True, is_ip_address, None),
    Detector("coordinates", False, is_coordinates, None),
    Detector("person_name", False, is_person_name, None),
)}
"""All detectors, the more specific first."""


def detect(text: str) -> Kind | None:
    """What the whole of a text is, or None.

    >>> detect("11010519491231002X")
    'resident_id'
    """
    text = text.strip()
    return next((kind for kind, detector in DETECTORS.items() if detector.whole(text)), None)


def shares(texts: Iterable[str]) -> dict[Kind, float]:
    """For each kind found, the share of the texts that are one; a text counts for the first kind that fits."""
    counts: dict[Kind, int] = {}
    total = 0
    for text in texts:
        total += 1
        kind = detect(text)
        if kind:
            counts[kind] = counts.get(kind, 0) + 1
    return {kind: count / total for kind, count in counts.items()}


@dataclass(frozen=True)
class Finding:
    """A value found inside a text: its kind and where it stands, not the value itself."""

    kind: Kind
    start: int
    end: int


def find(text: str) -> Iterator[Finding]:
    """Every value of a kind with a checkable form inside a text; a stretch of text counts once.

    >>> [finding.kind for finding in find("电话13812345678，证件11010519491231002X")]
    ['resident_id', 'mobile']
    """
    taken: list[tuple[int, int]] = []
    for kind, detector in DETECTORS.items():
        if detector.inside is None:
            continue
        for match in detector.inside.finditer(text):
            start, end = match.span()
            if detector.whole(match.group()) and not any(start < upper and lower < end for lower, upper in taken):
                taken.append((start, end))
                yield Finding(kind, start, end)
