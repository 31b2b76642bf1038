"""Which rows of a resource an answer rests on: what a worker hands to its agent for the differencing guard.

A row set is one bit a row, in the order the resource is read: 150 million rows are 19 MB. What crosses from worker to
agent is a JSON header and plain bits or numbers, read with NumPy and checked: a worker is not trusted, and there is
nothing to deserialise.

An app names each set: ``rows`` for the rows its filter leaves, and one for every condition inside an aggregate. An app
that says nothing rests on all rows.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.schema import quote

if TYPE_CHECKING:
    import duckdb

    from shuyan.federation.inputs import Inputs

BASE: Final = "rows"
"""The usual name of the set of rows that a question's filter leaves."""
GROUP: Final = "group-"
"""Labels of the rows of one group of a table begin so: where few, they are for suppression to hide, not for the guard to refuse."""
MAX_SETS: Final = 256
MAX_ROWS: Final = 1 << 32
_MAGIC: Final = b"RWS1"
_HEAD: Final = struct.Struct("<4sI")
_STORED: Final = struct.Struct("<Q")
_SPARSE: Final = 32  # one number takes as much as the bits of this many rows
_MANY: Final = 1 << 28  # bytes, one a row and condition, that are held twice for a moment

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RowSet:
    """A set of rows of one resource.

    Attributes:
        universe: rows of the resource; 0 says "all of them" without saying how many.
        bits: little-endian bits; None: all rows.
        count: rows in the set.
    """

    universe: int
    bits: Bits | None = field(repr=False)
    count: int

    @classmethod
    def everything(cls, universe: int = 0) -> RowSet:
        """All rows."""
        return cls(universe, None, universe)

    @classmethod
    def of(cls, rows: npt.NDArray[Any], universe: int) -> RowSet:
        """The set of given places, counted from 0, in any order.

        Raises:
            ValueError: a place outside the resource.
        """
        chosen = np.zeros(universe, dtype=bool)
        if len(rows) and not 0 <= int(np.min(rows)) <= int(np.max(rows)) < universe:
            raise ValueError("a row outside the resource")
        chosen[np.asarray(rows, dtype=np.int64)] = True
        return cls.where(chosen)

    @classmethod
    def where(cls, chosen: npt.NDArray[np.bool_]) -> RowSet:
        """The set of the rows that are marked."""
        bits = np.packbits(chosen, bitorder="little")
        return cls(len(chosen), bits, count(bits))

    @property
    def whole(self) -> bool:
        """Whether it is all rows."""
        return self.bits is None or self.count == self.universe

    def filled(self) -> Bits:
        """The bits, also of all rows."""
        return _ones(self.universe) if self.bits is None else self.bits

    def digest(self) -> str:
        """``sha256`` of which rows these are; all rows have one digest, however many there are."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        if self.whole:
            return "all"
        return sha256(str(self.universe).encode() + b"\0" + self.filled().tobytes()).hexdigest()

    def stored(self) -> bytes:
        """For :meth:`restored`: compressed, for the agent's own database."""
        packed = b"" if self.bits is None else zlib.compress(self.bits.tobytes(), 1)
        return _STORED.pack(self.universe) + packed

    @classmethod
    def restored(cls, data: bytes) -> RowSet:
        """What :meth:`stored` made; only for what the agent itself wrote."""
        (universe,) = _STORED.unpack_from(data)
        if len(data) == _STORED.size:
            return cls.everything(universe)
        bits = np.frombuffer(zlib.decompress(data[_STORED.size :]), dtype=np.uint8)
        return cls(universe, bits, count(bits))


def count(bits: Bits) -> int:
    """How many bits are set."""
    whole = len(bits) & ~7
    ones = int(np.bitwise_count(bits[:whole].view(np.uint64)).sum()) if whole else 0
    return ones + int(np.bitwise_count(bits[whole:]).sum())


def encode(sets: Mapping[str, Mapping[str, RowSet]]) -> bytes:
    """Row sets by resource and label, as they cross from worker to agent."""
    listed, payload = [], []
    for resource, labelled in sorted(sets.items()):
        for label, rows in sorted(labelled.items()):
            kind, data = _packed(rows)
            listed.append({"resource": resource, "label": label, "universe": rows.universe, "kind": kind, "bytes": len(data)})
            payload.append(data)
    head = json.dumps({"sets": listed}).encode()
    return b"".join([_HEAD.pack(_MAGIC, len(head)), head, *payload])


def decode(data: bytes) -> dict[str, dict[str, RowSet]]:
    """Read what :func:`encode` wrote; by resource, then label.

    Raises:
        ValueError: anything else. Nothing is allocated that the data do not hold themselves, but for the bits of a
            resource of a stated size of at most 2^32 rows.
    """
    if not data:
        return {}
    sets: dict[str, dict[str, RowSet]] = {}
    try:
        magic, size = _HEAD.unpack_from(data)
        listed = json.loads(data[_HEAD.size : _HEAD.size + size])["sets"]
        if magic != _MAGIC or not isinstance(listed, list) or len(listed) > MAX_SETS:
            raise ValueError("malformed row sets")
        at = _HEAD.size + size
        for entry in listed:
            resource, label, length = entry["resource"], entry["label"], entry["bytes"]
            universe = entry["universe"]
            if any(type(number) is not int or number < 0 for number in (length, universe)) or universe > MAX_ROWS:
                raise ValueError("malformed row sets")
            if type(resource) is not str or type(label) is not str or label in sets.setdefault(resource, {}):
                raise ValueError("malformed row sets")
            sets[resource][label] = _unpacked(entry["kind"], universe, data[at : at + length], length)
            at += length
        if at != len(data):
            raise ValueError("malformed row sets")
    except (struct.error, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError("malformed row sets") from error
    return sets


def collect(inputs: Inputs, resource: str, conditions: Mapping[str, str], *, alias: str = "") -> dict[str, RowSet]:
    """The rows of a relation that meet each condition; for an app's client side.

    Rows come in the order of the source (DuckDB's ``preserve_insertion_order``, on by default), which is the same in
    place and in memory.

    Args:
        conditions: by label, an SQL condition over the relation of that resource; empty: all rows. Where it is null, the
            row is not in the set.
        alias: what the conditions call the relation, if not by its own name.
    """
    found = {label: RowSet.everything() for label, condition in conditions.items() if not condition}
    asked = {label: condition for label, condition in conditions.items() if condition}
    if asked:
        marks = ", ".join(f"CAST(({condition}) AS BOOLEAN) AS c{at}" for at, condition in enumerate(asked.values()))
        relation = f"{quote(resource)} AS {quote(alias or resource)}"
        columns = numbers(inputs.connection, f"SELECT {marks} FROM {relation}",  # noqa: S608
                          many=inputs.count(resource) * len(asked) > _MANY)
        found |= {label: RowSet.where(_true(columns[f"c{at}"])) for at, label in enumerate(asked)}
    return found


def numbers(connection: duckdb.DuckDBPyConnection, sql: str, *, many: bool = False) -> dict[str, npt.NDArray[Any]]:
    """A query's columns as arrays; masked arrays where there are nulls.

    Made as a whole before it is converted, which takes half the time of converting it in pieces of 2,048 rows, and room
    for a second copy.

    Args:
        many: there may be no room.
    """
    result: dict[str, npt.NDArray[Any]] = connection.execute(sql).fetchnumpy() if many else connection.sql(sql).fetchnumpy()
    return result


def _true(marks: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(marks.filled(False) if isinstance(marks, np.ma.MaskedArray) else marks, dtype=bool)


def _bytes(size: int) -> int:
    return (size + 7) // 8


def _ones(size: int) -> Bits:
    ones = np.full(_bytes(size), 255, dtype=np.uint8)
    if size & 7:
        ones[-1] = (1 << (size & 7)) - 1
    return ones


def _packed(rows: RowSet) -> tuple[str, bytes]:
    if rows.bits is None:
        return "all", b""
    if rows.count * _SPARSE >= rows.universe:
        return "bits", rows.bits.tobytes()
    where = np.flatnonzero(rows.bits != 0)  # of truth values, which is several times as fast as of numbers
    set_ = np.flatnonzero(np.unpackbits(rows.bits[where], bitorder="little").view(np.bool_))
    return "numbers", ((where[set_ >> 3] << 3) + (set_ & 7)).astype("<u4").tobytes()


def _unpacked(kind: str, universe: int, data: bytes, length: int) -> RowSet:
    if len(data) != length:
        raise ValueError("malformed row sets")
    if kind == "all" and not data:
        return RowSet.everything(universe)
    size = _bytes(universe)
    if kind == "bits" and len(data) == size:
        bits = np.frombuffer(data, dtype=np.uint8)
        if universe & 7 and bits[-1] >> (universe & 7):
            raise ValueError("malformed row sets")
    elif kind == "numbers" and len(data) % 4 == 0:
        numbers = np.frombuffer(data, dtype="<u4").astype(np.int64)
        if len(numbers) and (int(numbers[-1]) >= universe or (np.diff(numbers) <= 0).any()):
            raise ValueError("malformed row sets")
        bits = np.zeros(size, dtype=np.uint8)
        np.bitwise_or.at(bits, numbers >> 3, np.left_shift(1, numbers & 7).astype(np.uint8))
    else:
        raise ValueError("malformed row sets")
    return RowSet(universe, bits, count(bits))
