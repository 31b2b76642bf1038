"""Numbers and names that identify nobody: their check digits hold, and what they name cannot exist.

Numbers follow GB 11643 (resident number), GB 32100 and GB 11714 (unified social credit code), ISO/IEC 7812 (bank card).
Resident numbers and credit codes are of division 99, which GB/T 2260 gives to no province; mobile numbers begin with 120,
cards with 0, which no operator and no issuer has.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from shuyan.detect import check_character, check_digit

_DIVISION: Final = "990000"
_BIRTHDAYS: Final = (dt.date(1940, 1, 1).toordinal(), dt.date(2007, 12, 31).toordinal())
_FAMILY: Final = "甲乙丙丁戊己庚辛壬癸"
_GIVEN: Final = "一二三四五六七八九十"


def resident_id(number: int) -> str:
    """An 18-digit resident number of division 990000.

    Args:
        number: which; 0 ≤ number. About 25 million are different.
    """
    first, last = _BIRTHDAYS
    born = dt.date.fromordinal(first + number * 7919 % (last - first + 1))
    body = f"{_DIVISION}{born:%Y%m%d}{number // (last - first + 1) % 1000:03d}"
    return body + check_digit(body)


def credit_code(number: int) -> str:
    """A unified social credit code of division 990000, with both of its check characters."""
    digits, rest = "", number
    for _ in range(8):
        rest, place = divmod(rest, 10)
        digits = str(place) + digits
    total = sum(weight * int(digit) for weight, digit in zip((3, 7, 9, 10, 5, 8, 4, 2), digits, strict=True))
    check = "0123456789X"[(11 - total % 11) % 11]  # GB 11714
    body = f"91{_DIVISION}{digits}{check}"
    return body + check_character(body)


def mobile(number: int) -> str:
    """Eleven digits that begin with 120."""
    return f"120{number % 100_000_000:08d}"


def bank_card(number: int) -> str:
    """Sixteen digits that begin with 0, with Luhn's check digit."""
    body = f"000000{number % 1_000_000_000:09d}"
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def person_name(number: int) -> str:
    """Two characters that are nobody's name: a heavenly stem and numerals."""
    return "测" + _FAMILY[number % 10] + _GIVEN[number // 10 % 10]


KINDS: Final[Mapping[str, Callable[[int], str]]] = {
    "resident_id": resident_id, "credit_code": credit_code, "mobile": mobile, "bank_card": bank_card, "person_name": person_name}
"""By kind, what makes the value of a number from 0 on."""

_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "resident_id": ("身份证", "公民身份号码", "id_card", "idcard", "resident_id", "sfzh"),
    "credit_code": ("统一社会信用代码", "信用代码", "credit_code", "uscc", "tyshxydm"),
    "mobile": ("手机", "移动电话", "mobile", "phone"),
    "bank_card": ("银行卡", "卡号", "bank_card"),
    "person_name": ("姓名", "person_name")}


def kind_of(texts: Iterable[str]) -> str:
    """What a column of words identifies by what it is called: name, title, element; empty where nothing says so."""
    told = " ".join(texts).lower()
    return next((kind for kind, signs in _SIGNS.items() if any(sign in told for sign in signs)), "")
