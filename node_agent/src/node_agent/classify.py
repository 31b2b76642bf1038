"""What each column of a source probably is, suggested from a sample that is looked at here and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from node_agent.sources import logical_type
from node_agent.sources_reading import opened
from shuyan import detect
from shuyan.federation.schema import quote
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    import duckdb

DIRECT, QUASI, SENSITIVE, FREE = "direct_identifier", "quasi_identifier", "sensitive", "free"
CLASSES: Final = (DIRECT, QUASI, SENSITIVE, FREE)

SAMPLE: Final = 2_000
_RESERVOIR_ROWS: Final = 5_000_000  # above, the sample is the first rows: one must not read a huge table for it
_ENOUGH: Final = 5  # values below which a share says nothing
_STRONG_SHARE: Final = 0.5
_WEAK_SHARE: Final = 0.7
_NAMES_DISTINCT: Final = 0.3  # names of persons differ; names of wards or cities repeat
_UNIQUE_FROM: Final = 20
_MOST_DECIMALS: Final = 6
_MOST_STEPS: Final = 200_000

_HINT_DIRECT: Final = re.compile(
    r"(^|_)(id|no|uuid|openid|xm|sfz|sfzh|idcard|id_?card|id_?number|phone|mobile|tel|email|passport|card_?no|account|row|row_?(no|number|id))($|_|\d)"
    r"|序号|行号|姓名|身份证|证件号|手机|电话|邮箱|账号|卡号|护照|编号|流水号|病历号|住院号|社保号", re.IGNORECASE)
_HINT_QUASI: Final = re.compile(
    r"(^|_)(birth\w*|dob|born|age|sex|gender|zip|postcode|post_?code|county|district|division|region|area_?code|street|village|"
    r"ethnic\w*|nation\w*|race|education\w*|degree|occupation|job|marital\w*|marriage|native\w*|lat|lon|lng|latitude|longitude|"
    r"admission\w*|discharge\w*)($|_|\d)|出生|年龄|性别|民族|籍贯|区划|行政区|街道|乡镇|社区|邮编|学历|文化程度|职业|婚姻|经度|纬度|入院|出院",
    re.IGNORECASE)
_HINT_SENSITIVE: Final = re.compile(
    r"(^|_)(diagnos\w*|disease\w*|icd\w*|symptom\w*|hiv|cancer|drug\w*|religion|income|salary|wage|debt|loan|balance|deposit|"
    r"credit_?score|default\w*|crime\w*|conviction\w*|verdict|disab\w*|pregnan\w*|y|target|num)($|_|\d)"
    r"|诊断|疾病|病种|病情|药|收入|工资|薪|贷款|欠|存款|余额|资产|违约|犯罪|前科|判决|处罚|宗教|残疾|怀孕|孕", re.IGNORECASE)
_KIND_CLASS: Final = {"coordinates": QUASI}


@dataclass(frozen=True)
class Suggestion:
    """What a column probably is, and why.

    Attributes:
        evidence: detector (or ``name``, ``unique``) and the share of the sampled values it fits.
        distinct_share: different values among those present in the sample.
        certain: an identifier by check digit or unmistakable form: registering it as anything else needs a word.
    """

    name: str
    type: str
    classification: str
    evidence: tuple[tuple[str, float], ...]
    distinct_share: float
    certain: bool = False
    resolution: float | None = None

    def message(self) -> local_pb2.ClassifiedColumn:
        return local_pb2.ClassifiedColumn(
            name=self.name, type=self.type, suggestion=self.classification, distinct_share=self.distinct_share,
            evidence=[local_pb2.Evidence(kind=kind, share=share) for kind, share in self.evidence],
            resolution=self.resolution)


@dataclass(frozen=True)
class Classified:
    """Suggestions for the columns of a source, from so many rows."""

    columns: tuple[Suggestion, ...]
    sampled: int

    def message(self) -> local_pb2.Classification:
        return local_pb2.Classification(columns=[column.message() for column in self.columns], sampled=self.sampled)


def classify(kind: str, location: str, *, rows: int, sample: int = SAMPLE, steps: bool = True,
             only: Sequence[str] = ()) -> Classified:
    """Look at a sample of a source.

    Args:
        location: resolved, see :func:`node_agent.sources_reading.reading`.
        rows: about how many rows there are.
        steps: whether numeric columns' resolutions are looked for too, which reads every value.
        only: these columns; empty: all.

    Raises:
        ProblemError: a ``source_…`` code.
    """
    with opened(kind, location) as (connection, table):
        described = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()  # noqa: S608
                     if not only or row[0] in only]
        texts = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name, _type in described) or "1"
        limit = f"USING SAMPLE reservoir({sample} ROWS) REPEATABLE (1)" if rows <= _RESERVOIR_ROWS else f"LIMIT {sample}"
        taken = connection.execute(f"SELECT {texts} FROM (SELECT * FROM {table}) {limit}").fetchall()  # noqa: S608
        found = []
        for place, (name, duck) in enumerate(described):
            logical = logical_type(duck)
            step = None
            if steps and logical in ("integer", "number"):
                step = resolution(connection, table, name)
            values = [row[place] for row in taken if row[place] is not None and row[place].strip()]
            found.append(suggest(name, logical or duck.lower(), values, step))
    return Classified(tuple(found), len(taken))


def suggest(name: str, type_: str, values: Sequence[str], step: float | None = None) -> Suggestion:
    """A suggestion for one column from its non-empty values as text."""
    distinct = len(set(values)) / len(values) if values else 0.0
    evidence: list[tuple[str, float]] = []
    classification, certain = FREE, False
    if len(values) >= _ENOUGH and type_ in ("string", "integer"):
        shares = detect.shares(values)
        evidence = sorted(((kind, round(share, 4)) for kind, share in shares.items() if share >= 0.05),
                          key=lambda item: -item[1])
        for kind, share in shares.items():
            detector = detect.DETECTORS[kind]
            if kind == "person_name" and distinct < _NAMES_DISTINCT and not _HINT_DIRECT.search(name):
                continue
            if share >= (_STRONG_SHARE if detector.strong else _WEAK_SHARE):
                classification = _KIND_CLASS.get(kind, DIRECT)
                certain = detector.strong and classification == DIRECT and kind != "ip_address"
                break
    if classification == FREE and _unique(type_, values, distinct, name):
        evidence.append(("unique", round(distinct, 4)))
        classification = DIRECT
    for hint, meant in ((_HINT_SENSITIVE, SENSITIVE), (_HINT_QUASI, QUASI)):
        if classification == FREE and hint.search(name):
            evidence.append(("name", 1.0))
            classification = meant
    return Suggestion(name, type_, classification, tuple(evidence), round(distinct, 4), certain, step)


def _unique(type_: str, values: Sequence[str], distinct: float, name: str) -> bool:
    """Whether nearly every value is another one, as in a key; measurements may be too, and are none."""
    if len(values) < _UNIQUE_FROM or distinct < 0.95:
        return False
    if type_ == "string":
        return True
    return type_ == "integer" and distinct == 1.0 and bool(_HINT_DIRECT.search(name))


def resolution(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> float | None:
    """The step of which all values of a numeric column are whole multiples; None where there is none of six decimals.

    It is exact for values written in decimals: 36.6 and 37.2 have the step 0.6 and, with 36.5 among them, 0.1.
    """
    column = f"CAST({quote(name)} AS DOUBLE)"
    present = f"{quote(name)} IS NOT NULL AND isfinite({column}) AND abs({column}) < 1e9"
    fits = ", ".join(f"bool_and(round({column}, {places}) = {column})" for places in range(_MOST_DECIMALS + 1))
    row = connection.execute(f"SELECT count(*), {fits} FROM {table} WHERE {present}").fetchone()  # noqa: S608
    if not row or not row[0]:
        return None
    decimals = next((places for places in range(_MOST_DECIMALS + 1) if row[1 + places]), None)
    if decimals is None:
        return None
    scale = 10 ** decimals
    rows: list[Any] = connection.execute(
        f"SELECT DISTINCT CAST(round({column} * {scale}) AS BIGINT) FROM {table} WHERE {present}"  # noqa: S608
        f" LIMIT {_MOST_STEPS + 1}").fetchall()
    step = 1 if len(rows) > _MOST_STEPS else _common(value for (value,) in rows)
    return step / scale if step else None


def _common(values: Iterable[int]) -> int:
    found = 0
    for value in values:
        found = math.gcd(found, value)
        if found == 1:
            break
    return found
