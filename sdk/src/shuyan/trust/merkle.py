"""The Merkle tree of the audit log: hashes and proofs of RFC 6962 §2.1, verified as in RFC 9162 §2.1.

Proofs are made from the hashes of *complete* subtrees only: the node at ``(level, index)`` covers the leaves
``[index << level, (index + 1) << level)``. Such a hash never changes once its last leaf is there, so an append-only
table of them serves every proof at every size with O(log n) reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from shuyan.problems import ProblemError
from shuyan.trust.errors import CONSISTENCY_INVALID, INCLUSION_INVALID, PROOF_RANGE

Position = tuple[int, int]  # (level, index) of a complete subtree
Reader = Callable[[Sequence[Position]], Sequence[bytes]]  # the hashes at these positions, in their order

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed_by(index: int) -> list[Position]:
    """The complete subtrees whose last leaf is leaf ``index``, from level 0 upwards."""
    positions, level = [(0, index)], 0
    while (index >> level) & 1:
        level += 1
        positions.append((level, index >> level))
    return positions


def completed_hashes(index: int, leaf: bytes, read: Reader) -> list[tuple[Position, bytes]]:
    """What to store when the leaf hash ``leaf`` is appended at ``index``: every subtree that it completes."""
    positions = completed_by(index)
    # Each subtree but the highest is the right half of the next; its left sibling is in the table already.
    siblings = read([(level, position - 1) for level, position in positions[:-1]])
    hashes = [leaf]
    for sibling in siblings:
        hashes.append(node_hash(sibling, hashes[-1]))
    return list(zip(positions, hashes, strict=True))


class Frontier:
    """The hashes of the complete subtrees along the right edge of a growing tree: O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0
        self._stack: list[bytes] = []

    def append(self, leaf: bytes) -> list[tuple[Position, bytes]]:
        """Take the next leaf hash; the subtrees it completes, as :func:`completed_hashes`."""
        made = []
        for position in completed_by(self.size):
            if position[0]:
                leaf = node_hash(self._stack.pop(), leaf)
            made.append((position, leaf))
        self._stack.append(leaf)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._stack:
            return EMPTY_ROOT
        hashes = list(self._stack)
        root = hashes.pop()
        while hashes:
            root = node_hash(hashes.pop(), root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (≥ 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(start: int, stop: int) -> list[Position]:
    """The complete subtrees that make up the subtree over leaves ``[start, stop)``, left to right."""
    positions = []
    while start < stop:
        # ``start`` is a multiple of every power of two that fits: subtrees of a tree always begin like that.
        level = (stop - start).bit_length() - 1
        positions.append((level, start >> level))
        start += 1 << level
    return positions


def _hashes(ranges: list[tuple[int, int]], read: Reader) -> list[bytes]:
    """The hash of each subtree ``[start, stop)``, with one read for all."""
    covers = [_cover(start, stop) for start, stop in ranges]
    found = iter(read([position for cover in covers for position in cover]))
    result = []
    for cover in covers:
        parts = [next(found) for _ in cover]
        value = parts.pop()
        while parts:
            value = node_hash(parts.pop(), value)
        result.append(value)
    return result


def root_at(size: int, read: Reader) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Reader) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (RFC 6962 §2.1.1), leaf to root.

    Raises:
        ProblemError: ``proof_range``.
    """
    if not 0 <= index < size:
        raise ProblemError(PROOF_RANGE, condition="0 ≤ index < size")
    ranges, start, stop = [], 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return _hashes(ranges[::-1], read)


def consistency_proof(first: int, second: int, read: Reader) -> list[bytes]:
    """The proof that the tree of ``second`` leaves continues that of ``first`` (RFC 6962 §2.1.2).

    Empty when the sizes are equal.

    Raises:
        ProblemError: ``proof_range``.
    """
    if not 0 < first <= second:
        raise ProblemError(PROOF_RANGE, condition="0 < first ≤ second")
    ranges, start, stop = [], 0, second
    while first < stop:
        middle = start + _split(stop - start)
        if first <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # otherwise the old root itself is the starting point, and the verifier has it
        ranges.append((start, stop))
    return _hashes(ranges[::-1], read)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash ``leaf`` is at ``index`` of the tree with ``root`` (RFC 9162 §2.1.3.2).

    Raises:
        ProblemError: ``inclusion_invalid``.
    """
    bad = ProblemError(INCLUSION_INVALID, index=index, size=size)
    if not 0 <= index < size:
        raise bad
    fn, sn, value = index, size - 1, leaf
    for part in proof:
        if sn == 0:
            raise bad
        if fn & 1 or fn == sn:
            value = node_hash(part, value)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = node_hash(value, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or value != root:
        raise bad


def verify_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes,
                       second_root: bytes) -> None:
    """Check that the tree of ``second`` leaves continues that of ``first`` (RFC 9162 §2.1.4.2).

    Raises:
        ProblemError: ``consistency_invalid``.
    """
    bad = ProblemError(CONSISTENCY_INVALID, first=first, second=second)
    if not 0 < first <= second:
        raise bad
    if first == second:
        if proof or first_root != second_root:
            raise bad
        return
    path = list(proof)
    if first & (first - 1) == 0:  # a power of two: the old root is a complete subtree of the new one
        path.insert(0, first_root)
    if not path:
        raise bad
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for part in path[1:]:
        if sn == 0:
            raise bad
        if fn & 1 or fn == sn:
            old, new = node_hash(part, old), node_hash(part, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or old != first_root or new != second_root:
        raise bad
