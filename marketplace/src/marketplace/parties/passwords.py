"""What a password must be (NIST SP 800-63B, section 5.1.1.2): long enough, not among the commonest, no other rule."""

from __future__ import annotations

import itertools
import unicodedata
from functools import lru_cache
from typing import Final

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from marketplace.db import storable
from marketplace.parties.errors import COMMON_PASSWORD, LONG_PASSWORD, WEAK_PASSWORD
from shuyan.problems import ProblemError

MINIMUM: Final = 8
MAXIMUM: Final = 256

_OURS: Final = frozenset({"shuyan", "shuyan123", "shuyan数堰", "数堰数堰数堰数堰", "12345678", "woaizhongguo", "admin123", "admin@123", "a1234567", "aa123456",
                          "abc12345", "1qaz2wsx", "1qaz@wsx", "p@ssw0rd", "passw0rd", "password1!", "woaini1314", "5201314520"})


def normal(password: str) -> str:
    """The form that is hashed: NFKC, so that the same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password) if storable(password) else password.encode("utf-8", "replace").decode()


@lru_cache(maxsize=1)
def _commonest() -> frozenset[str]:
    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MINIMUM) | _OURS


def check(password: str, email: str = "") -> str:
    """The normal form of an acceptable password.

    Raises:
        ProblemError: ``weak_password`` (too short), ``long_password``, ``common_password`` (commonest, one character or
            one short run repeated, a run of neighbours, or the person's own address).
    """
    text = normal(password)
    if len(text) < MINIMUM:
        raise ProblemError(WEAK_PASSWORD, field="password", minimum=MINIMUM)
    if len(text) > MAXIMUM:
        raise ProblemError(LONG_PASSWORD, field="password", maximum=MAXIMUM)
    folded = text.casefold()
    if folded in _commonest() or _repeats(folded) or _runs(folded) or (email and folded in (email, email.partition("@")[0])):
        raise ProblemError(COMMON_PASSWORD, field="password")
    return text


def _repeats(text: str) -> bool:
    return any(text == (text[:size] * (len(text) // size + 1))[:len(text)] for size in (1, 2, 3))


def _runs(text: str) -> bool:
    return len({ord(b) - ord(a) for a, b in itertools.pairwise(text)}) == 1
