"""A lifecycle as a picture: where its subject stands, where it can go, and what this reader may do about it.

Drawn on the server from the very table that the services check by, as SVG without a script. Beside the picture stands the
same in words, for those who read with their ears.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from flask_babel import gettext as _

from marketplace.actor import Actor
from marketplace.lifecycle import Lifecycle
from marketplace.powers import LIFECYCLES
from marketplace.web.labels import label

_HIGH, _GAP_Y, _EDGE, _BOW = 34, 26, 12, 26
_ROOMY, _NARROW, _MANY = (124, 38), (112, 20), 6
"""Width of a box and of the gap beside it, in pixels; narrow ones where the ordinary way has more than so many states."""


@dataclass(frozen=True)
class Box:
    """A state in the picture; ``x`` and ``y`` are its upper left corner in pixels."""

    state: str
    text: str
    x: int
    y: int
    now: bool
    final: bool


@dataclass(frozen=True)
class Arrow:
    """A way from one state to another: an SVG path, and what leads along it.

    ``kind``: ``mine`` may be taken by the reader now, ``near`` leaves the present state or is the ordinary course, else ``far``.
    """

    path: str
    text: str
    kind: str


@dataclass(frozen=True)
class Step:
    """A way out of the present state, in words."""

    action: str
    target: str
    who: str
    mine: bool


@dataclass(frozen=True)
class Diagram:
    """What a page draws; sizes in pixels, ``box`` being the width of each state's box."""

    title: str
    now: str
    width: int
    height: int
    box: int
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def places(life: Lifecycle) -> dict[str, tuple[int, int]]:
    """Column and row of each state: the ordinary way is the first row, what leaves it hangs below where it leaves it."""
    found = {state: (column, 0) for column, state in enumerate(life.way)}
    filled = dict.fromkeys(range(len(life.way) or 1), 1)
    left = [state for state in life.states if state not in found]
    while left:
        ways = {state: sorted({found[source][0] for step in life.transitions if step.target == state for source in step.sources
                               if source in found}) for state in left}
        state = next((one for one in left if ways[one]), left[0])
        column = min(ways[state] or [0], key=lambda one: (filled[one], one))
        found[state] = column, filled[column]
        filled[column] += 1
        left.remove(state)
    return found


def diagram(name: str, state: str, actor: Actor, owner: str | None = None, able: Collection[str] | None = None) -> Diagram:
    """The picture of the lifecycle of this name for a subject in ``state`` owned by organisation ``owner``.

    Args:
        able: the actions that this reader can take now, where more than the lifecycle decides that: who has signed already may not again.
    """
    life = LIFECYCLES[name]
    mine, placed = set(life.possible(state, actor, owner=owner)), places(life)
    if able is not None:
        mine &= set(able)
    wide, gap = _ROOMY if len(life.way) <= _MANY else _NARROW
    boxes = {one: Box(one, label("state", one), _EDGE + column * (wide + gap), _EDGE + row * (_HIGH + _GAP_Y), one == state,
                      one in life.final) for one, (column, row) in placed.items()}
    drawn: dict[tuple[str, str], list[str]] = {}
    for step in life.transitions:
        for source in sorted(step.sources):
            if source != step.target:
                actions = drawn.setdefault((source, step.target), [])
                if step.action not in actions:
                    actions.append(step.action)
    course = set(itertools.pairwise(life.way))
    arrows = [Arrow(_path(boxes[source], boxes[target], wide), ", ".join(label("action", action) for action in actions),
                    "mine" if source == state and mine & set(actions) else
                    "near" if source == state or (source, target) in course else "far")
              for (source, target), actions in drawn.items()]
    arrows.sort(key=lambda arrow: ("far", "near", "mine").index(arrow.kind))  # what matters is drawn over what does not
    bows = [boxes[source].x + wide + _BOW for source, target in drawn if _around(boxes[source], boxes[target])]
    return Diagram(
        title=str(_("Where this stands: %(state)s", state=label("state", state))), now=state,
        width=max([max(box.x for box in boxes.values()) + wide, *bows]) + _EDGE, height=max(box.y for box in boxes.values()) + _HIGH + _EDGE + 10,
        box=wide, boxes=list(boxes.values()), arrows=arrows, steps=_steps(life, state, mine))


def _steps(life: Lifecycle, state: str, mine: set[str]) -> list[Step]:
    comma: str = _(", ")
    ways: dict[tuple[str, str], set[str]] = {}
    for step in life.transitions:
        if state in step.sources:
            ways.setdefault((step.action, step.target), set()).update(step.parties)
    return [Step(label("action", action), label("state", target),
                 comma.join(label("party", party) for party in _PARTIES if party in parties), action in mine)
            for (action, target), parties in ways.items()]


_PARTIES: Final = ("data_authority", "source_department", "operator", "developer", "industry_department", "security_supervisor",
                   "finance_department", "consumer", "public", "system")


def _around(source: Box, target: Box) -> bool:
    """Whether the way down or up a column has to go around a box between."""
    return source.x == target.x and abs(target.y - source.y) > _HIGH + _GAP_Y


def _path(source: Box, target: Box, wide: int) -> str:
    """Along a row or down a column straight if nothing lies between; else in a bow around."""
    x, y, to_x, to_y = source.x, source.y, target.x, target.y
    if x == to_x:
        side = x + wide // 2 + (10 if to_y > y else -10)
        if not _around(source, target):
            return f"M{side} {y + _HIGH if to_y > y else y}L{side} {to_y if to_y > y else to_y + _HIGH}"
        far = x + wide + _BOW
        return f"M{x + wide} {y + _HIGH // 2}C{far} {y + _HIGH // 2} {far} {to_y + _HIGH // 2} {x + wide} {to_y + _HIGH // 2}"
    if y == to_y and to_x > x and to_x - x < 2 * wide:
        return f"M{x + wide} {y + _HIGH // 2}L{to_x} {y + _HIGH // 2}"
    if y == to_y:
        low = y + _HIGH + _GAP_Y - 8
        return f"M{x + wide // 2} {y + _HIGH}C{x + wide // 2} {low} {to_x + wide // 2} {low} {to_x + wide // 2} {to_y + _HIGH}"
    down = to_y > y
    start, end = (y + _HIGH, to_y) if down else (y, to_y + _HIGH)
    middle = start + _GAP_Y // 2 if down else start - _GAP_Y // 2
    return f"M{x + wide // 2} {start}C{x + wide // 2} {middle} {to_x + wide // 2} {middle} {to_x + wide // 2} {end}"
