"""The search for complementary suppressions: certificates by hypercubes, until every hidden cell has one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.release._tables import Joint, Mask, Table
from shuyan.federation.ring import Floats

_SEARCHED: Final = 512  # candidates looked at first
_SEARCHED_AT_MOST: Final = 262_144
_AT_ONCE: Final = 256  # hidden cells so many that it is worth looking for certificates among them all at once
_TRIES: Final = 24
_INF: Final = math.inf
_PARITY: Final = {size: np.array([sum(flips) % 2 == 1 for flips in product((0, 1), repeat=size)]) for size in range(1, 17)}


@dataclass(frozen=True)
class _Move:
    """A shift: flips of some dimensions, the sign of each corner, and the tables it changes."""

    dims: tuple[int, ...]
    corners: tuple[tuple[tuple[int, ...], int], ...]
    tables: tuple[int, ...]


class Cover:
    """Hides cells until every hidden one has its certificate."""

    def __init__(self, joint: Joint, tables: list[Table], minimum: int, protect_empty: bool, needs: list[Floats]) -> None:
        self.joint, self.tables, self.minimum, self.needs = joint, tables, float(minimum), needs
        # What cannot be hidden: what is known to be empty, and rows without a value where they are many.
        self.fixed = []
        for table in tables:
            outside = np.ones(table.counts.shape, dtype=bool)
            outside[tuple(slice(0, -1) for _ in table.dims)] = False
            known = (table.counts <= 0) & ~table.hidden if not protect_empty else np.zeros_like(outside)
            self.fixed.append((outside | known) & ~table.hidden)
        self.loss = [(np.log2(1 + np.maximum(table.counts, 0)) + 1) * table.weight for table in tables]
        # What hiding a cell costs now, infinitely much if it cannot be hidden; in one piece, for flat indices.
        self.price = [np.ascontiguousarray(np.where(table.hidden, 0.0, np.where(fixed, _INF, loss)))
                      for table, fixed, loss in zip(tables, self.fixed, self.loss, strict=True)]
        self.strides = [tuple(stride // price.itemsize for stride in price.strides) for price in self.price]
        self.mass = np.ascontiguousarray(joint.cells)
        self.joint_strides = tuple(stride // self.mass.itemsize for stride in self.mass.strides)
        self.moves = [list(self._moves(index)) for index in range(len(tables))]
        self.last = [list(self._last_moves(index)) for index in range(len(tables))]

    def hide(self, at: int, cell: tuple[int, ...], width: float) -> None:
        """Hide a cell of a table, in which an observer is left with an interval of at least that width."""
        table = self.tables[at]
        table.hidden[cell] = True
        table.certified[cell] = max(float(table.certified[cell]), width)
        self.price[at][cell] = 0.0

    def run(self) -> None:
        self._pair()
        while True:
            again = False
            for index in sorted(range(len(self.tables)), key=lambda index: len(self.tables[index].dims)):
                table = self.tables[index]
                open_ = np.argwhere(table.hidden & (table.certified < self.needs[index]))
                order = [int(at) for at in np.argsort(-table.counts[tuple(open_.T)], kind="stable")]
                for number, at in enumerate(order):
                    if number % max(_AT_ONCE, len(order) // 8) == 0:
                        self._shift(index)
                    cell = tuple(int(level) for level in open_[at])
                    if table.certified[cell] < self.needs[index][cell]:
                        again = True
                        self._protect(index, cell)
            if not again:
                return

    def _pair(self) -> None:
        """In a single list of counts every hidden cell has the fullest other one to shift rows to, at no cost."""
        if len(self.tables) != 1 or len(self.tables[0].dims) != 1:
            return
        table = self.tables[0]
        hidden = np.flatnonzero(table.hidden)
        if len(hidden) < 2:
            return
        counts = table.counts[hidden]
        second, first = np.argsort(counts, kind="stable")[-2:]
        width = counts + counts[first]
        width[first] = counts[first] + counts[second]
        enough = width >= self.needs[0][hidden] - 1e-9
        table.certified[hidden[enough]] = width[enough]

    def _shift(self, index: int) -> None:
        """Certificates that cost nothing: cubes whose corners are hidden anyhow, tried for many cells at once.

        Only in a joint table itself, where a cube in all its dimensions changes nothing else.
        """
        table, size = self.tables[index], len(self.tables[index].dims)
        if size < 2 or size != len(self.joint.sizes):
            return
        open_ = np.argwhere(table.hidden & (table.certified < self.needs[index]))
        if len(open_) < _AT_ONCE:
            return
        random = np.random.default_rng(0)  # the same table gets the same answer
        lines = [_Lines(table.hidden, self.mass, axis) for axis in range(size)]
        flips = [np.array(flip, dtype=bool) for flip in product((0, 1), repeat=size)]
        for _ in range(_TRIES):
            other = np.stack([line.another(open_, random) for line in lines], axis=1)
            apart = (other != open_).all(axis=1)
            least = [np.full(len(open_), _INF), np.full(len(open_), _INF)]
            for flip in flips:
                corner = tuple(np.where(flip, other, open_).T)
                apart &= table.hidden[corner]
                side = int(flip.sum()) % 2
                least[side] = np.minimum(least[side], self.mass[corner])
            width = least[0] + least[1]
            done = apart & (width >= self.needs[index][tuple(open_.T)] - 1e-9)
            table.certified[tuple(open_[done].T)] = width[done]
            open_ = open_[~done]
            if len(open_) < _AT_ONCE or 16 * int(done.sum()) < len(open_):
                return

    def _moves(self, index: int) -> Iterator[_Move]:
        """Cubes in every choice of a table's dimensions."""
        for size in range(len(self.tables[index].dims), 0, -1):
            for dims in combinations(self.tables[index].dims, size):
                changed = tuple(at for at, table in enumerate(self.tables) if set(dims) <= set(table.dims))
                yield _Move(dims, tuple((flips, sum(flips) % 2) for flips in product((0, 1), repeat=size)), changed)

    def _last_moves(self, index: int) -> Iterator[_Move]:
        """From one cell straight to another, whatever lies between: hides more."""
        for size in range(1, len(self.tables[index].dims) + 1):
            for dims in combinations(self.tables[index].dims, size):
                changed = tuple(at for at, table in enumerate(self.tables) if set(dims) & set(table.dims))
                yield _Move(dims, (((0,) * size, 0), ((1,) * size, 1)), changed)

    def _at_least(self, index: int, cell: tuple[int, ...], move: _Move) -> float:
        """What a move costs at least: hiding the cell's own margins."""
        level = dict(zip(self.tables[index].dims, cell, strict=True))
        cost = 0.0
        for at in move.tables:
            dims = self.tables[at].dims
            if all(dim in level for dim in dims):
                place = tuple(level[dim] for dim in dims)
                cost += 0.0 if self.tables[at].hidden[place] else float(self.loss[at][place])
        return cost

    def _protect(self, index: int, cell: tuple[int, ...]) -> None:
        need = float(self.needs[index][cell])
        for moves in (self.moves[index], self.last[index]):
            for limit in (_SEARCHED, _SEARCHED_AT_MOST):
                best: tuple[float, _Move, _Search, tuple[int, ...]] | None = None
                for move in moves:
                    if best is not None and self._at_least(index, cell, move) >= best[0]:
                        continue
                    search = (_Cube if self._is_cube(index, move) else _Search)(self, index, cell, move, limit)
                    found = search.best(need)
                    if found is not None and (best is None or found[0] < best[0]):
                        best = (found[0], move, search, found[1])
                        if found[0] == 0:
                            break
                if best is not None:
                    best[2].apply(best[3])
                    return
        # Nothing is left but to show none of these tables.
        for at, table in enumerate(self.tables):
            table.hidden[tuple(slice(0, -1) for _ in table.dims)] |= table.counts[tuple(slice(0, -1) for _ in table.dims)] > 0
            table.certified[table.hidden] = _INF
            self.price[at][table.hidden] = 0.0

    def _is_cube(self, index: int, move: _Move) -> bool:
        """Whether all that changes are corners of a cube in a table that is the joint one, and sums of it."""
        dims = self.tables[index].dims
        return len(dims) == len(self.joint.sizes) and len(move.corners) == 1 << len(move.dims) and all(
            set(move.dims) <= set(self.tables[at].dims) for at in move.tables)


class _Lines:
    """The hidden cells along one axis of a table, to choose among those in a cell's own line."""

    def __init__(self, hidden: Mask, mass: Floats, axis: int) -> None:
        self._axis, self._shape = axis, tuple(length for at, length in enumerate(hidden.shape) if at != axis)
        by_line = np.moveaxis(hidden, axis, -1).reshape(-1, hidden.shape[axis])
        self._count = by_line.sum(axis=1)
        self._start = np.cumsum(self._count) - self._count
        line, levels = np.nonzero(by_line)
        fullest = np.lexsort((-np.moveaxis(mass, axis, -1).reshape(by_line.shape)[line, levels], line))
        self._levels = levels[fullest]

    def another(self, cells: npt.NDArray[np.intp], random: np.random.Generator) -> npt.NDArray[np.intp]:
        """For each hidden cell, the level of a hidden one in its line, by chance, but rather a full one."""
        line = np.ravel_multi_index(tuple(np.delete(cells, self._axis, axis=1).T), self._shape)
        place = (random.random(len(line)) ** 2 * self._count[line]).astype(np.intp)
        return np.asarray(self._levels[self._start[line] + place])


class _Search:
    """All places of one move for one cell, or the most promising of them."""

    def __init__(self, cover: Cover, index: int, cell: tuple[int, ...], move: _Move, limit: int) -> None:
        self.cover, self.move = cover, move
        table = cover.tables[index]
        self.level = dict(zip(table.dims, cell, strict=True))
        changed = {dim for at in move.tables for dim in cover.tables[at].dims}
        self.extra = tuple(sorted(changed - set(table.dims)))
        self.free = tuple(dim for dim in range(len(cover.joint.sizes)) if dim not in self.level and dim not in self.extra)
        self.axes = (*move.dims, *self.extra)
        per_axis = max(4, int(limit ** (1 / max(len(self.axes), 1)) + 1e-9))
        self.levels = [self._levels(index, dim, per_axis) for dim in self.axes]

    def _levels(self, index: int, dim: int, at_most: int) -> npt.NDArray[np.intp]:
        """Levels worth trying along one axis, the most promising first."""
        cover, table = self.cover, self.cover.tables[index]
        if dim in self.level:
            line = tuple(slice(None) if place == dim else self.level[place] for place in table.dims)
            counts, hidden, fixed = table.counts[line], table.hidden[line], cover.fixed[index][line]
            usable = ~fixed
            usable[self.level[dim]] = False
            levels = np.flatnonzero(usable)
            if len(levels) <= at_most:
                return levels
            enough = counts >= cover.minimum
            rank = np.where(enough & hidden, 0, np.where(enough, 1, np.where(hidden, 2, 3)))
            order = np.lexsort((levels, np.where(rank[levels] == 1, counts[levels], -counts[levels]), rank[levels]))
            return np.sort(levels[order[:at_most]])
        sizes = cover.joint.shape[dim]
        if sizes <= at_most:
            return np.arange(sizes)
        line = tuple(slice(None) if place == dim else self.level.get(place, slice(None))
                     for place in range(len(cover.joint.shape)))
        part = cover.joint.cells[line]
        kept = [place for place in range(len(cover.joint.shape)) if place == dim or place not in self.level]
        mass = part.sum(axis=tuple(at for at, place in enumerate(kept) if place != dim))
        return np.sort(np.argsort(-mass, kind="stable")[:at_most])

    def _index(self, dims: Sequence[int], flips: tuple[int, ...]) -> Any:
        """Open mesh over ``dims`` for one corner; every searched axis keeps its place, of length 1 where it is fixed."""
        flipped = dict(zip(self.move.dims, flips, strict=True))
        total = len(self.axes) + len(self.free)
        parts = []
        for dim in dims:
            if dim in flipped and not flipped[dim]:
                values, at = np.array([self.level[dim]]), self.axes.index(dim)
            elif dim in self.axes:
                at = self.axes.index(dim)
                values = self.levels[at]
            elif dim in self.level:
                values, at = np.array([self.level[dim]]), 0
            else:
                values, at = np.arange(self.cover.joint.shape[dim]), len(self.axes) + self.free.index(dim)
            shape = [1] * total
            shape[at] = len(values)
            parts.append(values.reshape(shape))
        return tuple(parts)

    def best(self, need: float) -> tuple[float, tuple[int, ...]] | None:
        """The cheapest place that is wide enough: what hiding costs, and its index along the searched axes."""
        if any(len(levels) == 0 for levels in self.levels):
            return None
        cover, shape = self.cover, tuple(len(levels) for levels in self.levels)
        sides: list[Any] = [None, None]
        for flips, sign in self.move.corners:
            mass = cover.joint.cells[self._index(range(len(cover.joint.shape)), flips)]
            sides[sign] = mass if sides[sign] is None else np.minimum(sides[sign], mass)
        free = tuple(range(len(self.axes), len(self.axes) + len(self.free)))
        self.width = np.broadcast_to(sum(np.asarray(side.sum(axis=free) if free else side) for side in sides), shape)
        cost = np.zeros(shape)
        possible = self.width >= need - 1e-9
        if not possible.any():
            return None
        self.changed = list(self._cells())
        for at, place in self.changed:
            table = cover.tables[at]
            hidden = table.hidden[place]
            cost = cost + np.where(hidden, 0.0, cover.loss[at][place])
            possible = possible & ~cover.fixed[at][place]
        if not possible.any():
            return None
        cost = np.where(possible, cost, _INF)
        chosen = int(np.argmin(cost))
        where = tuple(int(level) for level in np.unravel_index(chosen, shape))
        return float(cost[where]), where

    def _cells(self) -> Iterator[tuple[int, Any]]:
        """The cells of every changed table at every corner, as meshes over the searched axes."""
        free = tuple(range(len(self.axes), len(self.axes) + len(self.free)))
        for at in self.move.tables:
            seen = set()
            dims = self.cover.tables[at].dims
            for flips, _ in self.move.corners:
                own = tuple(flip for dim, flip in zip(self.move.dims, flips, strict=True) if dim in dims)
                if own in seen:
                    continue
                seen.add(own)
                yield at, tuple(part.squeeze(axis=free) if free else part for part in self._index(dims, flips))

    def apply(self, where: tuple[int, ...]) -> None:
        """Hide the corners and note how wide they are now."""
        width = float(self.width[where])
        for at, place in self.changed:
            # Each part runs along one axis at most.
            self.cover.hide(at, tuple(
                int(part.ravel()[where[part.shape.index(part.size)] if part.size > 1 else 0]) for part in place), width)


class _Cube(_Search):
    """The same search where nothing lies between the corners, so that flat indices do: most searches by far."""

    def best(self, need: float) -> tuple[float, tuple[int, ...]] | None:
        if any(len(levels) == 0 for levels in self.levels):
            return None
        cover, shape, size = self.cover, tuple(len(levels) for levels in self.levels), len(self.axes)
        corners, sign = self._corners(tuple(range(len(cover.joint.shape))), cover.joint_strides), _PARITY[size]
        mass = cover.mass.take(corners)
        self.width = (mass[~sign].min(axis=0) + mass[sign].min(axis=0)).reshape(shape)
        cost = np.where(self.width.ravel() >= need - 1e-9, 0.0, _INF)
        for at in self.move.tables:
            cost += cover.price[at].take(self._corners(cover.tables[at].dims, cover.strides[at])).sum(axis=0)
        chosen = int(np.argmin(cost))
        if cost[chosen] == _INF:
            return None
        return float(cost[chosen]), tuple(int(level) for level in np.unravel_index(chosen, shape))

    def _corners(self, dims: Sequence[int], strides: Sequence[int]) -> npt.NDArray[np.intp]:
        """Flat indices into a table, shape (corners, places)."""
        size = len(self.axes)
        found: Any = 0
        for dim, stride in zip(dims, strides, strict=True):
            if dim not in self.axes:
                found = found + self.level[dim] * stride
                continue
            at, levels = self.axes.index(dim), self.levels[self.axes.index(dim)]
            part = np.empty((2, len(levels)), dtype=np.intp)
            part[0], part[1] = self.level[dim] * stride, levels * stride
            shape = [1] * (2 * size)
            shape[at], shape[size + at] = part.shape
            found = found + part.reshape(shape)
        return np.asarray(found).reshape(1 << size, -1)

    def apply(self, where: tuple[int, ...]) -> None:
        width = float(self.width[where])
        partner = {dim: int(levels[place]) for dim, levels, place in zip(self.axes, self.levels, where, strict=True)}
        for at in self.move.tables:
            dims = self.cover.tables[at].dims
            for flips, _ in self.move.corners:
                flipped = {dim for dim, flip in zip(self.move.dims, flips, strict=True) if flip}
                self.cover.hide(at, tuple(partner[dim] if dim in flipped else self.level[dim] for dim in dims), width)
