"""What a price may be. Amounts are integer fen; ``True`` is not one and ``False`` is not nothing."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.pricing.errors import BAD_PRICE
from shuyan.problems import ProblemError

MAXIMUM_FEN = 10_000_000_000  # a hundred million yuan
MAXIMUM_CALLS = 1_000_000_000
MAXIMUM_TERM_DAYS = 1_096  # three years, the longest term an agreement may have


@dataclass(frozen=True)
class Price:
    """``access_fee_fen`` once for ``term_days`` with ``included_calls``; each call beyond costs ``call_fee_fen``."""

    access_fee_fen: int
    call_fee_fen: int
    included_calls: int
    term_days: int


_FEN = ("（单位：分）", " (fen)")
_LIMITS: dict[str, tuple[int, int, tuple[str, str]]] = {
    "access_fee_fen": (0, MAXIMUM_FEN, _FEN),
    "call_fee_fen": (0, MAXIMUM_FEN, _FEN),
    "included_calls": (0, MAXIMUM_CALLS, ("（次）", " (calls)")),
    "term_days": (1, MAXIMUM_TERM_DAYS, ("（天）", " (days)")),
}


def check_price(**values: object) -> Price:
    """The price, from values of whatever type came in.

    Raises:
        ProblemError: ``price_invalid`` naming the first field that is no integer within its limits.
    """
    for name, (minimum, maximum, (unit_zh, unit_en)) in _LIMITS.items():
        value = values.get(name)
        if type(value) is not int or not minimum <= value <= maximum:
            raise ProblemError(BAD_PRICE, field=name, minimum=minimum, maximum=maximum, unit_zh=unit_zh,
                               unit_en=unit_en)
    return Price(**values)  # type: ignore[arg-type]
