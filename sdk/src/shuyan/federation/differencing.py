"""The differencing guard's rules: which questions come too close to earlier ones, and which to others' departments.

Sums are additive. Whoever has the sums over two sets of rows has the sum over their difference as well, and a set that
differs from another by one row gives that row away. So a node remembers the row sets of what it answered, and refuses a
question whose row set

* holds fewer rows than the cohort, but not none;
* differs by fewer rows than the cohort, but not by none, from an earlier one, or from a union, intersection or
  difference of up to ``depth`` earlier ones;
* taken together with two earlier ones, added or subtracted, leaves fewer rows than the cohort: three sums A, B and A ∪ B
  give the sum over A ∩ B (depth 2 and more).

This is stricter than an attacker needs (an intersection's sum need not follow from two sums) and what was measured plays
no part. The general tracker (Denning, Denning & Schwartz, "The Tracker", ACM TODS 4, 1979) is refused with its second
padded question. A set that was answered before passes: it says nothing new.

The same holds across departments: sums over the same rows of A, B, C, D and of A, B, C give D's figure. The departments
asked form vectors of noughts and ones; a question is refused if some combination of what was opened and of it would be
about fewer than three departments. Departments that drop out between two questions are refused on the same ground: a node
cannot tell a drop-out from one that the coordinator claims. What was answered but never opened does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from shuyan.federation import problems, rowsets
from shuyan.federation.rowsets import RowSet
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

Participants = Literal["strict", "run", "off"]
EVERYBODY: Final = "*"
"""The scope of nodes that compare questions across grantees."""
MAX_AT_DEPTH_3: Final = 64
_CHUNK_BYTES: Final = 1 << 23
_PRIME: Final = (1 << 61) - 1
_FEWEST_DEPARTMENTS: Final = 3

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class GuardRules:
    """A department's settings.

    Attributes:
        depth: how many earlier row sets are combined, 1 to 3.
        max_sets: different row sets remembered of a resource and grantee; a further one is refused.
        max_mb: room for them, uncompressed; a further one is refused.
        across_grantees: whether what one grantee was answered counts for another one's questions.
        participants: ``strict``; ``run``: a run may go on without departments that it lost, as the coordinator says;
            ``off``: identical questions only (:mod:`shuyan.federation.opening`).
        max_refusals: questions of one grantee refused in a day for being too close, after which no new row set is answered
            that day: each refusal is a bit about few rows.
    """

    depth: int = 2
    max_sets: int = 500
    max_mb: int = 512
    across_grantees: bool = False
    participants: Participants = "strict"
    max_refusals: int = 20

    @property
    def set_limit(self) -> int:
        """Sets of one resource and grantee; combining three takes much longer than two."""
        return min(self.max_sets, MAX_AT_DEPTH_3) if self.depth >= 3 else self.max_sets


@dataclass(frozen=True)
class Basis:
    """What one question rests on, without the rows themselves.

    Attributes:
        scope: whose questions are compared with one another.
        columns: by resource, what is read.
        rows: by resource, digests of the row sets.
        own_figures: the grant lets single departments' figures show.
    """

    scope: str
    run_id: str
    participants: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, tuple[str, ...]]
    own_figures: bool = False


@dataclass(frozen=True)
class Asked:
    """A question and its row sets, by resource and label."""

    basis: Basis
    sets: Mapping[str, Mapping[str, RowSet]] = field(repr=False)

    @classmethod
    def under(
        cls, grant: Grant, rules: GuardRules, *, run_id: str, participants: tuple[str, ...],
        columns: Mapping[str, tuple[str, ...]], rows: bytes,
    ) -> Asked:
        """A question under a grant.

        Args:
            columns: by resource, what the task reads.
            rows: what the worker says it rests on (:mod:`shuyan.federation.rowsets`).

        Raises:
            ProblemError: ``output_undeclared`` if that cannot be read, or is about other resources.
        """
        try:
            given = rowsets.decode(rows)
        except ValueError:
            raise ProblemError(problems.OUTPUT_UNDECLARED) from None
        if not set(given) <= set(columns):
            raise ProblemError(problems.OUTPUT_UNDECLARED)
        sets = {name: given.get(name) or {rowsets.BASE: RowSet.everything()} for name in columns}
        digests = {name: tuple(sorted({one.digest() for one in labelled.values()})) for name, labelled in sets.items()}
        scope = EVERYBODY if rules.across_grantees else grant.grantee
        return cls(Basis(scope, run_id, participants, columns, digests, grant.own_figures), sets)


@dataclass(frozen=True)
class Opened:
    """Departments that a question about some rows and columns of a resource was opened with."""

    run_id: str
    rows: str
    columns: frozenset[str]
    participants: tuple[str, ...]


def check_rows(sets: Mapping[str, RowSet], earlier: Sequence[RowSet], minimum: int, rules: GuardRules) -> list[RowSet]:
    """Check all row sets of one question about one resource; returns those to be remembered from now on.

    Raises:
        ProblemError: ``differencing_refused``, ``guard_full``.
    """
    known, new = list(earlier), list[RowSet]()
    digests = {rows.digest() for rows in known}
    for label, rows in sorted(sets.items()):
        digest = rows.digest()
        if label.startswith(rowsets.GROUP) and rows.count < minimum:
            continue
        if digest in digests or rows.count == 0 < rows.universe:
            continue
        if too_close(rows, known, minimum, rules.depth):
            raise ProblemError(problems.DIFFERENCING_REFUSED, minimum=minimum)
        known.append(rows)
        new.append(rows)
        digests.add(digest)
        same = [one for one in known if one.universe in (0, rows.universe)]
        if len(same) > rules.set_limit or sum(one.universe for one in same) > rules.max_mb << 23:
            raise ProblemError(problems.GUARD_FULL)
    return new


def check_departments(basis: Basis, resource: str, opened: Iterable[Opened], rules: GuardRules) -> None:
    """Check among whom a question is put, given what was opened about the same resource.

    Questions are related if they rest on a set of the same rows and read a column in common, or neither reads any.

    Raises:
        ProblemError: ``participants_differ``.
    """
    if rules.participants == "off" or basis.own_figures:
        return
    columns, digests = frozenset(basis.columns[resource]), set(basis.rows[resource])
    related = [one.participants for one in opened
               if one.rows in digests and (one.columns & columns or not one.columns | columns)
               and (rules.participants == "strict" or one.run_id != basis.run_id)]
    if departments_exposed(basis.participants, related):
        raise ProblemError(problems.PARTICIPANTS_DIFFER)


def opened_now(basis: Basis) -> dict[str, list[Opened]]:
    """What an opening adds to what was opened, by resource."""
    return {resource: [Opened(basis.run_id, digest, frozenset(basis.columns[resource]), basis.participants)
                       for digest in digests] for resource, digests in basis.rows.items()}


@dataclass
class MemoryGuard:
    """The guard of a local federation: what it remembers is gone with it."""

    rules: GuardRules = field(default_factory=GuardRules)
    _sets: dict[tuple[str, str], list[RowSet]] = field(default_factory=dict)
    _opened: dict[tuple[str, str], list[Opened]] = field(default_factory=dict)

    def answer(self, asked: Asked, minimum: int) -> None:
        """Check a question and remember its row sets; raises what :func:`check_rows` and :func:`check_departments` do."""
        scope, new = asked.basis.scope, {}
        for resource, sets in asked.sets.items():
            check_departments(asked.basis, resource, self._opened.get((scope, resource), ()), self.rules)
            new[scope, resource] = check_rows(sets, self._sets.get((scope, resource), ()), minimum, self.rules)
        for key, sets_ in new.items():
            self._sets.setdefault(key, []).extend(sets_)

    def open(self, basis: Basis) -> None:
        """Check once more among whom it is opened, and remember it."""
        for resource in basis.rows:
            check_departments(basis, resource, self._opened.get((basis.scope, resource), ()), self.rules)
        for resource, opened in opened_now(basis).items():
            self._opened.setdefault((basis.scope, resource), []).extend(opened)


def too_close(asked: RowSet, earlier: Sequence[RowSet], minimum: int, depth: int = 2) -> bool:
    """Whether a row set may not be answered after earlier ones of the same resource.

    Sets of a resource of another size are passed over: they are of other data. Data of the same size are taken to be the
    same, rewritten files or not, since a job that writes a file every night would empty the guard's memory otherwise.
    """
    universe = asked.universe or max((rows.universe for rows in earlier), default=0)
    comparable = [rows for rows in earlier if rows.universe in (0, universe)]
    if any(rows.digest() == asked.digest() for rows in comparable):
        return False
    if universe == 0:  # all rows, and nothing but all rows before
        return False
    known = np.stack([_words(rows, universe) for rows in comparable]) if comparable else np.zeros((0, _length(universe)), np.uint64)
    return _Check(_words(asked, universe), known, minimum, depth).close()


class _Check:
    """One set against a matrix of earlier ones, as words of bits.

    Attributes:
        common, other, missing: by earlier set, rows it shares with the new one, has besides, and lacks.
    """

    def __init__(self, asked: Words, earlier: Words, minimum: int, depth: int) -> None:
        self.asked, self.earlier, self.minimum, self.depth = asked, earlier, minimum, depth
        self.size = _count(asked)
        self.common, self.other, self.missing = self._measure(earlier)

    def _measure(self, rows: Words) -> tuple[npt.NDArray[np.int64], ...]:
        common = _counts(rows, self.asked)
        return common, _counts(rows) - common, self.size - common

    def close(self) -> bool:
        if self._few(self.size):
            return True
        apart = self.other + self.missing
        if ((apart > 0) & (apart < self.minimum)).any():
            return True
        if self.depth < 2 or len(self.earlier) < 2:
            return False
        if self._pairs(self.earlier, self.common, self.other, self.missing):
            return True
        return self.depth >= 3 and self._triples()

    def _few(self, rows: int) -> bool:
        return 0 < rows < self.minimum

    def _pairs(self, left: Words, common: npt.NDArray[np.int64], other: npt.NDArray[np.int64],
               missing: npt.NDArray[np.int64]) -> bool:
        """Any of ``left`` with any of the earlier sets."""
        near, k = self.minimum, self.minimum
        for at in np.flatnonzero(other < near):  # nearly within: with another, it may make up the whole
            with_ = np.flatnonzero((self.other < near) & (self.common > self.size - k - common[at]))
            if self._unions(left[at], with_):
                return True
        for at in np.flatnonzero(missing < near):  # nearly around: less another, or cut by it
            around = np.flatnonzero(self.missing < near)
            if self._intersections(left[at], around):
                return True
            beside = np.flatnonzero((self.common < near) & (self.other > other[at] - k))
            if self._differences(left[at], beside):
                return True
        for at in np.flatnonzero(common < near):  # nearly apart: what an earlier one is less it
            around = np.flatnonzero((self.missing < near) & (self.other < other[at] + k))
            if self._differences_of(around, left[at]):
                return True
        return False

    def _unions(self, one: Words, others: npt.NDArray[np.intp]) -> bool:
        for at in self._where(others, self.asked & ~one, invert=True):
            both = self.earlier[at]
            apart = (one | both) ^ self.asked
            if self._few(_count(apart)) or self._few(_count(apart | (one & both))):
                return True
        return False

    def _intersections(self, one: Words, others: npt.NDArray[np.intp]) -> bool:
        return any(self._few(_count((one & self.earlier[at]) ^ self.asked))
                   for at in self._where(others, one & ~self.asked))

    def _differences(self, one: Words, others: npt.NDArray[np.intp]) -> bool:
        return any(self._difference(one, self.earlier[at])
                   for at in self._where(others, one & ~self.asked, invert=True))

    def _differences_of(self, wholes: npt.NDArray[np.intp], part: Words) -> bool:
        # |(A \ part) \ Q| has to be small
        return any(self._difference(self.earlier[at], part)
                   for at in self._where(wholes, ~(part | self.asked)))

    def _difference(self, whole: Words, part: Words) -> bool:
        if self._few(_count((whole & ~part) ^ self.asked)):
            return True
        return self._few(_count((whole ^ (self.asked | part)) | (self.asked & part)))

    def _where(self, candidates: npt.NDArray[np.intp], mask: Words, *, invert: bool = False) -> list[int]:
        """Those of the candidates that share few rows with ``mask``; inverted, that leave few of it."""
        found: list[int] = []
        if not len(candidates):
            return found
        step = max(1, _CHUNK_BYTES // max(mask.nbytes, 1))
        size = _count(mask)
        for start in range(0, len(candidates), step):
            part = candidates[start : start + step]
            shared = _counts(self.earlier[part], mask)
            found += part[(size - shared if invert else shared) < self.minimum].tolist()
        return found

    def _triples(self) -> bool:
        """Pairs of earlier sets, combined in every way, against all earlier ones."""
        for at in range(len(self.earlier)):
            one, rest = self.earlier[at], self.earlier[at + 1 :]
            for made in (one | rest, one & rest, one & ~rest, rest & ~one):
                common, other, missing = self._measure(made)
                keep = (other < self.minimum) | (missing < self.minimum) | (common < self.minimum)
                if keep.any() and self._pairs(made[keep], common[keep], other[keep], missing[keep]):
                    return True
        return False


def _length(universe: int) -> int:
    return (universe + 63) // 64


def _words(rows: RowSet, universe: int) -> Words:
    bits = rows.filled() if rows.universe else RowSet.everything(universe).filled()
    padded = np.zeros(8 * _length(universe), dtype=np.uint8)
    padded[: len(bits)] = bits
    return padded.view(np.uint64)


def _count(rows: Words) -> int:
    return int(np.bitwise_count(rows).sum(dtype=np.int64))


def _counts(rows: Words, mask: Words | None = None) -> npt.NDArray[np.int64]:
    """Rows per set, or of those in ``mask``; in pieces, so that no second matrix is needed."""
    counts = np.zeros(len(rows), dtype=np.int64)
    step = max(1, _CHUNK_BYTES // max(rows.shape[1] * 8, 1)) if rows.ndim == 2 and rows.size else 1
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        counts[start : start + step] = np.bitwise_count(part if mask is None else part & mask).sum(axis=1, dtype=np.int64)
    return counts


def departments_exposed(asked: Sequence[str], earlier: Iterable[Sequence[str]]) -> bool:
    """Whether sums over ``asked`` and over earlier sets of departments combine to one about fewer than three.

    Args:
        asked: the departments of the new question.
        earlier: those of the questions about the same rows that were opened before.
    """
    known = {tuple(sorted(set(group))) for group in earlier}
    new = tuple(sorted(set(asked)))
    if new in known:
        return False
    names = sorted({name for group in (*known, new) for name in group})
    rows = [[int(name in group) for name in names] for group in (*sorted(known), new)]
    rank = _rank(rows)
    # A combination about the departments in ``few`` alone exists if their columns are needed for the full rank.
    return any(_rank([[value for at, value in enumerate(row) if at not in few] for row in rows]) < rank
               for few in combinations(range(len(names)), min(_FEWEST_DEPARTMENTS - 1, len(names))))


def _rank(rows: list[list[int]]) -> int:
    """The rank modulo a prime, which a rank over the rationals of so few and small numbers equals."""
    left, rank = [row[:] for row in rows], 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((at for at in range(rank, len(left)) if left[at][column]), None)
        if pivot is None:
            continue
        left[rank], left[pivot] = left[pivot], left[rank]
        inverse = pow(left[rank][column], -1, _PRIME)
        for at in range(rank + 1, len(left)):
            if left[at][column]:
                factor = left[at][column] * inverse % _PRIME
                left[at] = [(value - factor * lead) % _PRIME for value, lead in zip(left[at], left[rank], strict=True)]
        rank += 1
    return rank
