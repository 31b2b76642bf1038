"""Words that resources are found by, computed here so that every database finds the same.

Chinese is written without spaces: a run of Chinese characters is indexed by every pair of neighbours, and found by every pair of
the question's. Other scripts are split into words and, in titles, found by their beginnings as well. Filters are words too.

A word's place says where it stood: ``t`` title, ``k`` title, name, tags, elements and department, ``w`` anywhere. Words are
indexed as short hashes: every database splits, folds and quotes text in ways of its own, and none of it touches these.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from marketplace.text import query_tokens

PLACES: Final = ("t", "k", "w")
"""Where the words of a question are looked for, the better places first; each holds what the one before does."""

MAX_QUESTION: Final = 100
"""Characters of a question that are looked at."""

BANDS: Final = (60, 70, 80, 90, 95)
"""Quality, in percent, that a filter can ask for at least."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_CHINESE = re.compile(rf"[{_CJK}]")
_PREFIXES = range(3, 9)
_MOST_WORDS = 3000  # of one resource; one with two thousand columns has more to say than anybody looks for

SECTOR_WORDS: Final[Mapping[str, str]] = {
    "manufacturing": "工业制造", "agriculture": "现代农业", "commerce": "商贸流通", "transport": "交通运输", "finance": "金融服务",
    "science": "科技创新", "culture_tourism": "文化旅游", "health": "医疗健康", "meteorology": "应急与气象",
    "urban_governance": "城市治理", "livelihood": "社会保障与民生", "environment": "生态环境"}


def runs(text: str) -> list[str]:
    """The runs of one script in a text, folded: ``"PM2.5 空气质量"`` gives ``["pm2", "5", "空气质量"]``."""
    return _RUN.findall(unicodedata.normalize("NFKC", text).casefold())


def grams(run: str) -> list[str]:
    """What a run is looked for by: pairs of Chinese neighbours, or the word itself."""
    if not _CHINESE.match(run) or len(run) == 1:
        return [run]
    return [run[place:place + 2] for place in range(len(run) - 1)]


def _indexed(text: str, *, parts: bool) -> Iterator[str]:
    for run in runs(text):
        yield from grams(run)
        if parts and _CHINESE.match(run):
            yield from run
        elif parts:
            yield from (run[:length] for length in _PREFIXES if length < len(run))


def hashed(word: str) -> str:
    """A word as it stands in the index: seven letters and digits."""
    return base64.b32encode(hashlib.blake2s(word.encode("utf-8", "replace"), digest_size=5).digest()).decode().lower()[:7]


def of_resource(item: Mapping[str, Any], department: Iterable[str]) -> list[str]:
    """Every word of a resource as it stands in the index.

    Args:
        item: ``title, title_en, name, description, sector, grade, organisation_id, frequency, standard, tags, columns, quality``.
        department: the names of its department.
    """
    columns = item["columns"][:400]
    title = set(_indexed(f"{item['title']} {item['title_en']}", parts=True))
    key = set(title)
    for text in (item["name"], item["name"].replace("_", " "), *item["tags"], *department, SECTOR_WORDS.get(item["sector"], ""),
                 *(str(column.get("element") or "") for column in columns)):
        key.update(_indexed(text, parts=True))
    anywhere = set(key)
    for text in (item["description"], item["standard"], item["sector"], *(f"{column['name']} {column.get('title') or ''}"
                                                                         for column in columns)):
        anywhere.update(_indexed(text, parts=False))
    words = [*(f"t:{word}" for word in sorted(title)), *(f"k:{word}" for word in sorted(key)),
             *(f"w:{word}" for word in sorted(anywhere))][:_MOST_WORDS]
    words += [filtered(name, item[name]) for name in ("sector", "grade", "organisation_id", "frequency", "standard")]
    words += [filtered("tag", tag) for tag in item["tags"]]
    words += [filtered("quality", band) for band in BANDS if item["quality"] >= band]
    return sorted({hashed(word) for word in words})


def filtered(name: str, value: object) -> str:
    """The word that stands for a field's value."""
    return f"={name}:{value}"


def of_question(q: str) -> list[str]:
    """The words of a question, each to be found; without a place."""
    return list(dict.fromkeys(gram for run in runs(q[:MAX_QUESTION]) for gram in grams(run)))


def loosely(q: str) -> list[str]:
    """The words of a question whose Chinese was cut into words that may stand apart: ``空气监测`` finds ``空气自动监测``."""
    found = list(dict.fromkeys(gram for word in query_tokens(q[:MAX_QUESTION]) for run in runs(word) for gram in grams(run)))
    longer = [word for word in found if len(word) > 1 or not _CHINESE.match(word)]
    return longer or found  # a single character says little, and is not indexed everywhere
