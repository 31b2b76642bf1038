"""Units of measurement as departments write them: no vocabulary, but one spelling of each.

There is no list of allowed units: a department may count in 亩 or in ‰. But ``µg/m³`` (with either of Unicode's two micro
signs) and ``ug/m3`` are one unit, and ``mg`` and ``Mg`` are two.
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_LENGTH: Final = 32

_MINUS: Final = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "μ": "u", "Ω": "ohm", "∕": "/", "⁄": "/", "÷": "/",
                               "·": ".", "⋅": ".", "∙": ".", "*": ".", "×": ".", "^": "", "º": "°", "˚": "°"})


class UnitError(ValueError):
    """Not a unit: control characters, or longer than 32 characters."""


def normalise(unit: str) -> str:
    """A unit as it is kept and shown: compatibility characters folded (NFKC), outer and repeated white space gone.

    >>> normalise(" µg/m³ ")
    'μg/m3'

    Raises:
        UnitError: it holds control characters or is longer than 32 characters.
    """
    folded = " ".join(unicodedata.normalize("NFKC", unit).split())
    if len(folded) > MAX_LENGTH or any(unicodedata.category(character)[0] == "C" for character in folded):
        raise UnitError(unit[:MAX_LENGTH])
    return folded


def same_unit(a: str, b: str) -> bool:
    """Whether two declared units are one unit written in two ways; undeclared (empty) is the same as undeclared only.

    Letters keep their case (``mS`` is not ``MS``); micro signs read as ``u``, the ways to write a product as one, and
    exponents with or without ``^``.

    >>> same_unit("µg/m³", "ug/m^3"), same_unit("kW·h", "kW*h"), same_unit("mg", "Mg")
    (True, True, False)
    """
    return _key(a) == _key(b)


def _key(unit: str) -> str:
    # ℃ folds to °C; the rest of what people type differently for the same sign is listed.
    return "".join(unicodedata.normalize("NFKC", unit).split()).translate(_MINUS)
