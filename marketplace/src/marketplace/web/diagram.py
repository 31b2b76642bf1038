"""A lifecycle as a picture: where its subject stands, where it can go, and what this reader may do about it.

Drawn on the server from the very table that the services check by, as SVG without a script. Beside the picture stands the
same in words, for those who read with their ears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from flask_babel import gettext as _

from marketplace.actor import Actor
from marketplace.lifecycle import Lifecycle
from marketplace.powers import LIFECYCLES
from marketplace.web.labels import label

_WIDE, _HIGH, _GAP_X, _GAP_Y, _EDGE = 124, 34, 38, 22, 12


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
    """A way from one state to another: an SVG path, and what leads along it."""

    path: str
    text: str
    mine: bool


@dataclass(frozen=True)
class Step:
    """A way out of the present state, in words."""

    action: str
    target: str
    who: str
    mine: bool


@dataclass(frozen=True)
class Diagram:
    """What a page draws."""

    title: str
    now: str
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def columns(life: Lifecycle) -> dict[str, int]:
    """Each state's column: as many steps from the start as the longest way there that turns back nowhere."""
    order = life.states
    place = {state: index for index, state in enumerate(order)}
    depth = dict.fromkeys(order, 0)
    for _round in order:
        for step in life.transitions:
            for source in step.sources:
                if place[step.target] > place[source] and step.target not in life.final:
                    depth[step.target] = max(depth[step.target], depth[source] + 1)
    for state in life.final:
        ways = [depth[source] for step in life.transitions if step.target == state for source in step.sources]
        depth[state] = min(ways, default=0) + 1
    return depth


def diagram(name: str, state: str, actor: Actor, owner: str | None = None) -> Diagram:
    """The picture of the lifecycle of this name for a subject in ``state`` owned by organisation ``owner``."""
    life = LIFECYCLES[name]
    mine = set(life.possible(state, actor, owner=owner))
    depth, rows, boxes = columns(life), dict[int, int](), dict[str, Box]()
    for one in life.states:
        row = rows.get(depth[one], 0)
        rows[depth[one]] = row + 1
        boxes[one] = Box(one, label("state", one), _EDGE + depth[one] * (_WIDE + _GAP_X), _EDGE + row * (_HIGH + _GAP_Y),
                         one == state, one in life.final)
    drawn: dict[tuple[str, str], list[str]] = {}
    for step in life.transitions:
        for source in sorted(step.sources):
            if source != step.target:
                actions = drawn.setdefault((source, step.target), [])
                if step.action not in actions:
                    actions.append(step.action)
    arrows = [Arrow(_path(boxes[source], boxes[target]), ", ".join(label("action", action) for action in actions),
                    source == state and bool(mine & set(actions)))
              for (source, target), actions in drawn.items()]
    return Diagram(
        title=str(_("Where this stands: %(state)s", state=label("state", state))), now=state,
        width=max(box.x for box in boxes.values()) + _WIDE + _EDGE, height=max(box.y for box in boxes.values()) + _HIGH + _EDGE + 10,
        boxes=list(boxes.values()), arrows=arrows, steps=_steps(life, state, mine))


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


def _path(source: Box, target: Box) -> str:
    """Forwards from side to side; back, or within a column, in a bow below or beside."""
    if target.x > source.x:
        x, y, to_x, to_y = source.x + _WIDE, source.y + _HIGH // 2, target.x, target.y + _HIGH // 2
        middle = (x + to_x) // 2
        return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"
    if target.x == source.x:
        x = source.x + _WIDE // 2
        down = target.y > source.y
        y, to_y = (source.y + _HIGH, target.y) if down else (source.y, target.y + _HIGH)
        return f"M{x} {y}L{x} {to_y}"
    x, y, to_x, to_y = source.x + _WIDE // 2, source.y + _HIGH, target.x + _WIDE // 2, target.y + _HIGH
    low = max(y, to_y) + 16
    return f"M{x} {y}C{x} {low} {to_x} {low} {to_x} {to_y}"
