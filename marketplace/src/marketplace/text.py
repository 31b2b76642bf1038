"""Texts: which can be kept, and their words in Chinese and English, the same for whoever searches catalogue or storefront.

Chinese has no blanks between words, so jieba finds them, long words and the shorter ones within; every single character
is a word of its own besides, so that a query cut in another way than the text still finds it.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

MAX_WORD: Final = 32
_RUN = re.compile(r"[㐀-鿿豈-﫿]+|[a-z0-9]+")
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _jieba() -> Any:
    import jieba

    cutter = jieba.Tokenizer()
    # Built from the dictionary in memory: jieba's own cache is a file in a folder that every account may write to.
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter


def storable(text: str) -> bool:
    """Whether every database can hold ``text``: PostgreSQL has no U+0000, and half a surrogate pair has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def tokens(text: str) -> list[str]:
    """The words of a text for an index, each once, in order of appearance; at most :data:`MAX_WORD` characters each.

    >>> tokens("住院费用 COST")
    ['住院', '费用', '住院费', '住院费用', '住', '院', '费', '用', 'cost']
    """
    return list(dict.fromkeys(_words(text, single=True)))


def query_tokens(text: str) -> list[str]:
    """The words that a searched text must all contain: the shorter ones within a long word, so that longer texts match too.

    >>> query_tokens("住院费用 Cost")
    ['住院', '费用', 'cost']
    """
    return list(dict.fromkeys(_words(text, single=False)))


def _words(text: str, *, single: bool) -> Iterable[str]:
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match.group()
        if run.isascii():
            yield run[:MAX_WORD]
            continue
        with _lock:
            cutter = _jieba()
        if single:
            yield from (word[:MAX_WORD] for word in cutter.lcut_for_search(run, HMM=False) if len(word) > 1)
            yield from run
            continue
        for word in cutter.lcut(run, HMM=False):
            pairs = [pair for pair in (word[at:at + 2] for at in range(len(word) - 1)) if cutter.FREQ.get(pair)]
            yield from pairs if len(word) > 2 and set("".join(pairs)) == set(word) else [word[:MAX_WORD]]
