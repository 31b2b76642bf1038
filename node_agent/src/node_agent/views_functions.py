"""What a department's views can call beyond SQL: masking, generalising, and standardising, as DuckDB macros.

Every function keeps null as null. Codes follow GB/T 2261.1 (gender), GB/T 2260 (divisions) and GB 11643 (resident number).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from node_agent.sources_database import literal


@dataclass(frozen=True)
class Function:
    """One helper: its name, parameters, SQL body and what it does, in both languages."""

    name: str
    parameters: str
    body: str
    zh: str
    en: str
    uses: tuple[str, ...] = ()


# unit -> (dimension, factor to the dimension's base, offset): base = value * factor + offset
_UNITS: Final[Mapping[str, tuple[str, float, float]]] = {
    "mm": ("length", 0.001, 0), "cm": ("length", 0.01, 0), "m": ("length", 1, 0), "km": ("length", 1000, 0),
    "里": ("length", 500, 0), "ft": ("length", 0.3048, 0), "in": ("length", 0.0254, 0),
    "m2": ("area", 1, 0), "km2": ("area", 1e6, 0), "ha": ("area", 1e4, 0), "公顷": ("area", 1e4, 0),
    "亩": ("area", 2000 / 3, 0),
    "ml": ("volume", 1e-6, 0), "mL": ("volume", 1e-6, 0), "l": ("volume", 0.001, 0), "L": ("volume", 0.001, 0),
    "m3": ("volume", 1, 0),
    "ug": ("mass", 1e-9, 0), "mg": ("mass", 1e-6, 0), "g": ("mass", 0.001, 0), "kg": ("mass", 1, 0), "t": ("mass", 1000, 0),
    "斤": ("mass", 0.5, 0), "公斤": ("mass", 1, 0), "吨": ("mass", 1000, 0),
    "ug/m3": ("concentration", 1e-9, 0), "mg/m3": ("concentration", 1e-6, 0), "g/m3": ("concentration", 1e-3, 0),
    "mg/L": ("concentration", 1e-3, 0), "g/L": ("concentration", 1, 0), "mg/dL": ("concentration", 1e-2, 0),
    "s": ("time", 1, 0), "min": ("time", 60, 0), "h": ("time", 3600, 0), "d": ("time", 86400, 0),
    "W": ("power", 1, 0), "kW": ("power", 1e3, 0), "MW": ("power", 1e6, 0),
    "J": ("energy", 1, 0), "kJ": ("energy", 1e3, 0), "MJ": ("energy", 1e6, 0), "kWh": ("energy", 3.6e6, 0),
    "度": ("energy", 3.6e6, 0), "kcal": ("energy", 4184, 0),
    "Pa": ("pressure", 1, 0), "hPa": ("pressure", 100, 0), "kPa": ("pressure", 1e3, 0),
    "mmHg": ("pressure", 133.322387415, 0), "bar": ("pressure", 1e5, 0),
    "m/s": ("speed", 1, 0), "km/h": ("speed", 1 / 3.6, 0),
    "°C": ("temperature", 1, 273.15), "K": ("temperature", 1, 0), "°F": ("temperature", 5 / 9, 459.67 * 5 / 9),
    "元": ("money", 1, 0), "千元": ("money", 1e3, 0), "万元": ("money", 1e4, 0), "亿元": ("money", 1e8, 0),
    "人": ("count", 1, 0), "千人": ("count", 1e3, 0), "万人": ("count", 1e4, 0),
    "%": ("share", 0.01, 0), "‰": ("share", 0.001, 0), "1": ("share", 1, 0),
}


@cache
def divisions() -> dict[str, str]:
    """Names of provinces (two digits) and prefectures (four) by GB/T 2260 code, as of mid-2023."""
    text = files("node_agent").joinpath("data/divisions.csv").read_text(encoding="utf-8")
    return {row["code"]: row["name"] for row in csv.DictReader(text.splitlines())}


def _map(pairs: Iterable[tuple[str, object]]) -> str:
    return "MAP {" + ", ".join(f"{literal(key)}: {literal(value) if isinstance(value, str) else repr(value)}"
                               for key, value in pairs) + "}"


def _normal_unit(parameter: str) -> str:
    return (f"replace(replace(replace(replace(replace(replace({parameter}, 'µ', 'u'), 'μ', 'u'), '³', '3'), '²', '2'), "
            "'^', ''), '℃', '°C')")


_FULL = "".join(chr(0xFF01 + place) for place in range(94)) + "\u3000"
_HALF = "".join(chr(0x21 + place) for place in range(94)) + " "
_GENDERS = {"1": "男 男性 m male 1", "2": "女 女性 f female 2", "9": "未说明 未说明的性别 9", "0": "未知 未知的性别 unknown 不详 0"}


def _functions() -> list[Function]:
    provinces = [(code, name) for code, name in divisions().items() if len(code) == 2]
    cities = [(code, name) for code, name in divisions().items() if len(code) == 4]
    units = [(name, value) for name, value in _UNITS.items()]
    return [
        # masking
        Function("mask_hash", "v", "left(sha256({salt} || sha256({salt} || CAST(v AS VARCHAR))), 32)",
                 "带本节点密钥的散列：同值同码，不可还原，别的节点算不出。",
                 "A hash keyed with this node's secret: equal values stay equal; no one else can compute it."),
        Function("mask_middle", "v, head, tail",
                 "CASE WHEN length(CAST(v AS VARCHAR)) <= head + tail THEN repeat('*', length(CAST(v AS VARCHAR))) ELSE"
                 " left(CAST(v AS VARCHAR), head) || repeat('*', length(CAST(v AS VARCHAR)) - head - tail) ||"
                 " (CASE WHEN tail = 0 THEN '' ELSE right(CAST(v AS VARCHAR), tail) END) END",
                 "只留首尾若干字符，其余为星号。", "Keeps the first and last characters; stars between."),
        Function("mask_id", "v", "mask_middle(v, 6, 0)", "身份证号只留前 6 位（区划）。",
                 "A resident number's first six digits (its division) only.", ("mask_middle",)),
        Function("mask_mobile", "v", "mask_middle(v, 3, 4)", "手机号留前 3 后 4 位。",
                 "A mobile number's first three and last four digits.", ("mask_middle",)),
        Function("mask_name", "v", "left(v, 1) || repeat('*', greatest(length(v) - 1, 1))", "姓名只留首字。",
                 "A name's first character."),
        # generalising
        Function("age_at", "born, on_date", "date_sub('year', CAST(born AS DATE), CAST(on_date AS DATE))",
                 "某日的周岁。", "Age in completed years on a date."),
        Function("age_band", "age, width",
                 "CAST(CAST(floor(age / width) * width AS BIGINT) AS VARCHAR) || '-' ||"
                 " CAST(CAST(floor(age / width) * width + width - 1 AS BIGINT) AS VARCHAR)",
                 "年龄段，如 30-39。", "An age band such as 30-39."),
        Function("band", "x, width", "floor(x / width) * width", "按固定宽度分段，取下界。",
                 "The lower bound of the band of a fixed width that a number falls into."),
        Function("month_of", "d", "CAST(date_trunc('month', CAST(d AS DATE)) AS DATE)", "日期截到月。", "The first of a date's month."),
        Function("quarter_of", "d", "CAST(date_trunc('quarter', CAST(d AS DATE)) AS DATE)", "日期截到季度。",
                 "The first day of a date's quarter."),
        Function("year_of", "d", "CAST(date_trunc('year', CAST(d AS DATE)) AS DATE)", "日期截到年。", "The first day of a date's year."),
        Function("city_code", "code", "left(CAST(code AS VARCHAR), 4) || '00'", "区划代码截到地市（GB/T 2260）。",
                 "A division's code at the level of the prefecture (GB/T 2260)."),
        Function("province_code", "code", "left(CAST(code AS VARCHAR), 2) || '0000'", "区划代码截到省（GB/T 2260）。",
                 "A division's code at the level of the province (GB/T 2260)."),
        Function("city_name", "code", f"{_map(cities)}[left(CAST(code AS VARCHAR), 4)]", "区划代码所属地市的名称。",
                 "The name of a division's prefecture."),
        Function("province_name", "code", f"{_map(provinces)}[left(CAST(code AS VARCHAR), 2)]", "区划代码所属省份的名称。",
                 "The name of a division's province."),
        # from a resident number
        Function("id_birth_date", "id",
                 "CAST(try_strptime(substr(CAST(id AS VARCHAR), 7, 8), '%Y%m%d') AS DATE)", "身份证号中的出生日期。",
                 "The birth date in a resident number."),
        Function("id_gender", "id",
                 "CASE WHEN length(CAST(id AS VARCHAR)) = 18 THEN CASE TRY_CAST(substr(CAST(id AS VARCHAR), 17, 1) AS INTEGER) % 2"
                 " WHEN 1 THEN '1' WHEN 0 THEN '2' END END", "身份证号中的性别代码。", "The gender code in a resident number."),
        Function("id_division", "id", "left(CAST(id AS VARCHAR), 6)", "身份证号中的区划代码。",
                 "The division code in a resident number."),
        # standardising
        Function("half_width", "v", f"translate(v, {literal(_FULL)}, {literal(_HALF)})", "全角字符转半角。",
                 "Full-width characters as half-width ones."),
        Function("clean_text", "v", r"trim(regexp_replace(half_width(v), '\s+', ' ', 'g'))", "转半角并去除多余空白。",
                 "Half-width, without superfluous white space.", ("half_width",)),
        Function("standard_mobile", "v",
                 r"regexp_extract(regexp_replace(half_width(CAST(v AS VARCHAR)), '[\s\-()]', '', 'g'), '^(?:\+?86|0086)?(1[3-9]\d{9})$', 1)",
                 "手机号去除国家码和分隔符；不是手机号则为空串。",
                 "A mobile number without country code and separators; empty if it is none.", ("half_width",)),
        Function("standard_date", "v",
                 "CAST(coalesce(" + ", ".join(f"try_strptime(trim(half_width(CAST(v AS VARCHAR))), {literal(form)})" for form in (
                     "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日", "%Y-%m-%d %H:%M:%S")) + ") AS DATE)",
                 "识别常见写法的日期；认不出则为空。", "A date in any common notation; null if it is none.", ("half_width",)),
        Function("gender_code", "v",
                 "CASE lower(trim(CAST(v AS VARCHAR))) " + " ".join(
                     f"WHEN {literal(word)} THEN {literal(code)}" for code, words in _GENDERS.items() for word in words.split())
                 + " WHEN NULL THEN NULL ELSE CASE WHEN v IS NOT NULL THEN '9' END END",
                 "性别代码（GB/T 2261.1）：0 未知、1 男、2 女、9 未说明。",
                 "Gender code (GB/T 2261.1): 0 unknown, 1 male, 2 female, 9 not stated."),
        Function("convert_unit", "x, unit, into_unit",
                 "CASE WHEN {dimension}[{unit}] = {dimension}[{into}] THEN (x * {factor}[{unit}] + {offset}[{unit}] -"
                 " {offset}[{into}]) / {factor}[{into}] ELSE error('units that do not convert: ' || unit || ' -> ' || into_unit)"
                 " END".replace("{unit}", _normal_unit("unit")).replace("{into}", _normal_unit("into_unit"))
                 .replace("{dimension}", _map((name, value[0]) for name, value in units))
                 .replace("{factor}", _map((name, float(value[1])) for name, value in units))
                 .replace("{offset}", _map((name, float(value[2])) for name, value in units)),
                 "单位换算，如 convert_unit(x, '亩', '公顷')；不能换算的单位报错。",
                 "Converts units, as in convert_unit(x, '亩', 'ha'); an error where they do not convert."),
    ]


@cache
def functions() -> Mapping[str, Function]:
    """All helper functions by name."""
    return {function.name: function for function in _functions()}


def define_functions(names: Iterable[str], salt: str) -> tuple[str, ...]:
    """Statements that define these functions, those they use first.

    Args:
        salt: the node's secret; needed where ``mask_hash`` is among them.
    """
    return tuple(f"CREATE OR REPLACE TEMP MACRO {function.name}({function.parameters}) AS"
                 f" ({function.body.replace('{salt}', literal(salt))})" for function in _needed(names))


def drop_functions(names: Iterable[str]) -> tuple[str, ...]:
    """Statements that forget them, and with them the secret."""
    return tuple(f"DROP MACRO IF EXISTS temp.main.{function.name}" for function in reversed(_needed(names)))


def _needed(names: Iterable[str]) -> list[Function]:
    found: dict[str, Function] = {}

    def add(name: str) -> None:
        for used in functions()[name].uses:
            add(used)
        found[name] = functions()[name]

    for name in names:
        add(name)
    return list(found.values())
