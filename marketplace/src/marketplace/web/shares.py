"""Declared ownership as a picture: who holds how much of whom, and by which holdings an operator controls somebody.

Drawn on the server as SVG without a script, like the lifecycles (:mod:`.diagram`). Owners stand above what they own; circular
ownership is drawn with an arrow that leads back up. The page says the same in words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from marketplace.registration.holdings import Controller, Declared

_WIDE, _HIGH, _GAP_X, _GAP_Y, _EDGE = 176, 44, 36, 66, 14
_LANE, _PAST = 12, "|"
"""Width of a lane by which a holding passes a row, and how its name begins; no code does."""
_MOST: Final = 60
"""Organisations in one picture; beyond that it shows those that an operator controls, and who makes it so, first."""
_LETTERS: Final = 22
"""Half-width letters of a name that fit into its box."""


@dataclass(frozen=True)
class Box:
    """An organisation; ``x`` and ``y`` are its upper left corner in pixels. ``kind``: ``operator``, ``controlled`` or ``other``."""

    code: str
    name: str
    short: str
    x: int
    y: int
    kind: str


@dataclass(frozen=True)
class Arrow:
    """A holding: an SVG path from owner to owned, its share, where to write it, and whether an operator controls by it."""

    path: str
    share: str
    x: int
    y: int
    controls: bool


@dataclass(frozen=True)
class Picture:
    """What the page draws; sizes in pixels. ``left_out``: organisations that found no room."""

    width: int
    height: int
    box: tuple[int, int] = (_WIDE, _HIGH)
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    left_out: int = 0


def picture(holdings: Sequence[Declared], controlled: Mapping[str, Controller], operators: Set[str]) -> Picture | None:
    """The picture of holdings in force; ``None`` where there is none.

    Args:
        controlled: by credit code, who is controlled by an operator and by which holdings.
        operators: their credit codes.
    """
    if not holdings:
        return None
    ruling = {(row.owner_code, row.owned_code) for one in controlled.values() for row in one.chain}
    first = {*operators, *controlled, *(code for pair in ruling for code in pair)}
    names = {code: name for row in holdings for code, name in ((row.owner_code, row.owner_name), (row.owned_code, row.owned_name))}
    chosen = set(sorted(names, key=lambda code: (code not in first, code))[:_MOST])
    drawn = [row for row in holdings if row.owner_code in chosen and row.owned_code in chosen]
    rows, lanes = _rows(chosen, drawn)
    total = max(sum(map(_wide, row)) + _GAP_X * (len(row) - 1) for row in rows)
    boxes: dict[str, Box] = {}
    for level, row in enumerate(rows):
        x = _EDGE + (total - sum(map(_wide, row)) - _GAP_X * (len(row) - 1)) // 2
        for code in row:
            kind = "lane" if code not in names else "operator" if code in operators else "controlled" if code in controlled else "other"
            boxes[code] = Box(code, names.get(code, ""), _short(names.get(code, "")), x, _EDGE + level * (_HIGH + _GAP_Y), kind)
            x += _wide(code) + _GAP_X
    arrows = _arrows(drawn, boxes, lanes, ruling)
    return Picture(2 * _EDGE + total + (30 if any(" C" in one.path for one in arrows) else 0),
                   2 * _EDGE + len(rows) * (_HIGH + _GAP_Y) - _GAP_Y, boxes=[box for box in boxes.values() if box.kind != "lane"],
                   arrows=arrows, left_out=len(names) - len(chosen))


def _wide(code: str) -> int:
    return _LANE if code.startswith(_PAST) else _WIDE


def _rows(codes: Iterable[str], holdings: Sequence[Declared]) -> tuple[list[list[str]], dict[tuple[str, str], list[str]]]:
    """Codes row by row: each under all its owners, but for a circle, which is opened at one of its members; in a row by their owners'
    places. A holding that passes a row by has a lane in it, named like a code: by holding, its lanes from above."""
    owners: dict[str, set[str]] = {code: set() for code in codes}
    for one in holdings:
        if one.owner_code != one.owned_code:
            owners[one.owned_code].add(one.owner_code)
    level: dict[str, int] = {}
    left = set(owners)
    while left:
        free = sorted(code for code in left if owners[code] <= level.keys())
        if not free:  # a circle: open it where most owners are placed already
            free = [min(left, key=lambda code: (-len(owners[code] & level.keys()), code))]
        placed = {code: max((level[one] + 1 for one in owners[code] if one in level), default=0) for code in free}
        level |= placed
        left -= placed.keys()
    lanes: dict[tuple[str, str], list[str]] = {}
    above = {code: [one for one in found if level[one] < level[code]] for code, found in owners.items()}
    for owned, found in sorted(above.items()):
        for owner in sorted(found):
            passed = [f"{_PAST}{owner} {owned} {number}" for number in range(level[owner] + 1, level[owned])]
            lanes[owner, owned] = passed
            for number, lane in enumerate(passed, level[owner] + 1):
                level[lane], above[lane] = number, [passed[number - level[owner] - 2] if number > level[owner] + 1 else owner]
    rows: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    place: dict[str, float] = {}
    for number, row in enumerate(rows):
        at = {code: [place[one] for one in above[code] if one in place] for code in level if level[code] == number}
        row += sorted(at, key=lambda code: (sum(at[code]) / len(at[code]) if at[code] else 0.0, code))
        place |= {code: index - len(row) / 2 for index, code in enumerate(row)}
    return rows, lanes


def _arrows(holdings: Sequence[Declared], boxes: Mapping[str, Box], lanes: Mapping[tuple[str, str], Sequence[str]],
            ruling: set[tuple[str, str]]) -> list[Arrow]:
    out = []
    for row in holdings:
        owner, owned = boxes[row.owner_code], boxes[row.owned_code]
        leaving = sorted((one.owned_code for one in holdings if one.owner_code == row.owner_code), key=lambda code: boxes[code].x)
        coming = sorted((one.owner_code for one in holdings if one.owned_code == row.owned_code), key=lambda code: boxes[code].x)
        x = owner.x + _WIDE * (leaving.index(row.owned_code) + 1) // (len(leaving) + 1)
        to_x = owned.x + _WIDE * (coming.index(row.owner_code) + 1) // (len(coming) + 1)
        y, to_y = owner.y + _HIGH, owned.y
        if to_y > owner.y:
            path = f"M{x} {y}"
            for lane in lanes[row.owner_code, row.owned_code]:
                past = boxes[lane]
                path += _down(x, y, past.x + _LANE // 2, past.y) + f"V{past.y + _HIGH}"
                x, y = past.x + _LANE // 2, past.y + _HIGH
            path, label = path + _down(x, y, to_x, to_y), ((x + 3 * to_x) // 4, to_y - _GAP_Y // 4)
        else:  # back up, or beside: round the right
            side = max(owner.x, owned.x) + _WIDE + 28
            start, end = owner.y + _HIGH // 2, owned.y + _HIGH // 2
            path = f"M{owner.x + _WIDE} {start} C{side} {start} {side} {end} {owned.x + _WIDE} {end}"
            label = (side - 8, (start + end) // 2)
        out.append(Arrow(path, percent(row.share_bp), *label, (row.owner_code, row.owned_code) in ruling))
    return sorted(out, key=lambda arrow: arrow.controls)  # what matters is drawn over what does not


def _down(x: int, y: int, to_x: int, to_y: int) -> str:
    middle = (y + to_y) // 2
    return f"C{x} {middle} {to_x} {middle} {to_x} {to_y}"


def percent(basis_points: int) -> str:
    """Basis points as people write them: 6050 reads ``60.5%``."""
    return f"{basis_points / 100:g}%"


def _short(name: str) -> str:
    """A name cut so that it fits; Chinese letters are twice as wide."""
    out, used = "", 0
    for letter in name:
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > _LETTERS:
            return out + "…"
        out += letter
    return out
