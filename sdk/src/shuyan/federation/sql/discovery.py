"""Finding the groups of a key whose values nobody declared, under differential privacy.

No key leaves a department, hashed or otherwise. Every department counts its units in a *sketch* of a size that is fixed
beforehand, and of which only the sum over all departments is ever seen, with noise on every element:

* the text of a key says by its SHA-256 in which of so many buckets it lies, once for each of two tables;
* a bucket holds the number of distinct units with one of its keys and, for every bit of a key's text and of a checksum,
  the number of units whose key has that bit, less those whose key has not.

Where one key holds most units of a bucket, the signs of the sums spell it out. What that reads is worked out from sums with
noise, so all of it is as private as they are (ρ-zCDP; no further δ): a key of few units drowns in the noise like any other small
figure. Beyond that a bucket is read only if its noisy number of units exceeds
:func:`~shuyan.federation.privacy.accounting.threshold`, which the bucket of a single unit does with probability δ at most, and if
what was read has the right checksum and belongs there. (The idea of reading heavy keys from sums of bits: Cormode &
Muthukrishnan, "What's hot and what's not", PODS 2003; of thresholds: Korolova et al., WWW 2009.)

A unit counts in at most ``max_groups_per_unit`` groups, and in each bucket of a table with one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
from sqlglot import exp

from shuyan.federation.inputs import Inputs
from shuyan.federation.privacy import Sensitivity, accounting
from shuyan.federation.privacy.bounding import NOISY_COUNT, UNIT, bounded_relation
from shuyan.federation.ring import Floats
from shuyan.federation.schema import quote
from shuyan.federation.sql.compile import guard_rows, guarded
from shuyan.federation.sql.cores import Core, Key
from shuyan.federation.sql.domains import Domain
from shuyan.federation.sql.gate import to_sql
from shuyan.federation.sql.planned import Plan
from shuyan.trust.grants import PrivacyTerms

SKETCH: Final = NOISY_COUNT
SHARE: Final = Fraction(1, 2)
"""Of the run's ρ, what finding the keys costs; the rest is for what is asked about them."""
_TABLES: Final = 2
_BUCKETS_PER_KEY: Final = 6
"""With as many keys as are looked for, a key shares both of its buckets with others in one of fifty cases."""
_CHECK_BYTES: Final = 2
_WIDTHS: Final = {"BIGINT": 12, "INTEGER": 12, "SMALLINT": 12, "DATE": 10, "TIMESTAMP": 19, "BOOLEAN": 5}
_TEXT: Final = 24
_AT_ONCE: Final = 50_000

Bits = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Sketch:
    """The shape of a sketch.

    Attributes:
        keys: how many are looked for.
        width: bytes of a key's text (UTF-8); longer ones are not found.
    """

    keys: int
    width: int

    @property
    def buckets(self) -> int:
        return _BUCKETS_PER_KEY * self.keys

    @property
    def row(self) -> int:
        """Elements of a bucket: the number of units, then the bits."""
        return 1 + 8 * (self.width + _CHECK_BYTES)

    @property
    def length(self) -> int:
        return _TABLES * self.buckets * self.row

    def sensitivity(self, terms: PrivacyTerms) -> Sensitivity:
        """One unit is in so many buckets of each table at most, and moves every element of these by one."""
        buckets = _TABLES * min(terms.max_groups_per_unit, terms.max_rows_per_unit)
        return Sensitivity(math.sqrt(buckets * self.row), share=SHARE, cells=buckets * self.row, integral=True)

    def threshold(self, deviation: float, terms: PrivacyTerms) -> float:
        """The noisy number of units above which a bucket is read.

        Args:
            deviation: the standard deviation of the noise on an element of the sum.
        """
        buckets = _TABLES * min(terms.max_groups_per_unit, terms.max_rows_per_unit)
        return accounting.threshold(deviation, buckets, terms.delta)


def open_key(plan: Plan) -> Key | None:
    """The key whose values have to be found, if there is one."""
    return next((key for core in plan.cores for key in core.keys if key.open), None)


def sketch_of(plan: Plan, keys: int, width: int | None) -> Sketch:
    """The sketch of a query's open key.

    Args:
        width: None: what keys of that type usually need.
    """
    key = open_key(plan)
    assert key is not None
    return Sketch(keys, width or _WIDTHS.get(key.type, _TEXT))


def with_keys(plan: Plan, texts: Sequence[str]) -> Plan:
    """The query, grouped by the given values of its open key; those that are none of its type are left out."""
    cores = []
    for core in plan.cores:
        keys = [replace(key, open=False, domain=Domain(_values(texts, key.type))) if key.open else key for key in core.keys]
        cores.append(replace(core, keys=keys))
    return replace(plan, cores=cores)


def _values(texts: Sequence[str], type_: str) -> tuple[Any, ...]:
    with duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": "false"}) as connection:
        rows = connection.execute(f"SELECT DISTINCT TRY_CAST(u AS {type_}) AS v FROM (SELECT unnest($p::VARCHAR[]) AS u) "  # noqa: S608
                                  "ORDER BY v", {"p": list(texts)}).fetchall()
    return tuple(value for (value,) in rows if value is not None)


# --- at a department -----------------------------------------------------------------------------------------------------


def sketched(inputs: Inputs, plan: Plan, shape: Sketch) -> Floats:
    """This department's sketch; of no effect are rows without a unit, without a key, and keys that are too long."""
    total = np.zeros((_TABLES, shape.buckets, shape.row))
    for table in range(_TABLES):
        for texts, units in _counted(inputs, plan, shape, table):
            signs = _bits(texts, shape)
            places = np.array([_bucket(text, table, shape) for text in texts])
            np.add.at(total[table], places, np.hstack([np.ones((len(texts), 1)), signs]) * units[:, None])
    return total.ravel()


def _counted(inputs: Inputs, plan: Plan, shape: Sketch, table: int) -> Iterator[tuple[list[str], Floats]]:
    """Keys, and how many distinct units have each."""
    (core,) = plan.cores
    key = next(key for key in core.keys if key.open)
    pairs = f"(SELECT DISTINCT CAST({to_sql(guarded(key.expression))} AS VARCHAR) AS k, {_unit(core)} AS u {_rows(core)})"
    fitting = f"(SELECT * FROM {pairs} WHERE k IS NOT NULL AND strlen(k) BETWEEN 1 AND {shape.width})"  # noqa: S608
    few = bounded_relation(fitting, "u", salt=inputs.salt, groups=("k",), max_groups=inputs.groups)
    one = bounded_relation(few, f"u, {_bucket_sql('k', table, shape)}", salt=inputs.salt, max_rows=1)
    cursor = inputs.connection.execute(f"SELECT k, count(*) FROM {one} GROUP BY k")  # noqa: S608
    while records := cursor.fetchmany(_AT_ONCE):
        yield [text for text, _ in records], np.array([float(count) for _, count in records])


def _unit(core: Core) -> str:
    """What tells units apart, over the core's relation."""
    source = core.relation.args["from_"].this
    return f"{quote(source.alias_or_name)}.{quote(UNIT)}"


def _rows(core: Core) -> str:
    """FROM and WHERE of a core over one resource, with the unit's column handed up through every inner SELECT."""
    relation = guard_rows(core.relation)
    for select in relation.find_all(exp.Select):
        source = select.args["from_"].this
        if select is not relation:
            unit = exp.column(exp.to_identifier(UNIT, quoted=True), table=exp.to_identifier(source.alias_or_name, quoted=True))
            select.append("expressions", exp.alias_(unit, UNIT, quoted=True))
    shell = exp.Select(expressions=[exp.Literal.number(1)], from_=relation.args["from_"], where=relation.args.get("where"))
    return to_sql(shell)[len("SELECT 1 "):]


# --- buckets and bits, the same everywhere -------------------------------------------------------------------------------


def _bucket(text: str, table: int, shape: Sketch) -> int:
    return int(sha256(f"{table}:{text}".encode()).hexdigest()[:8], 16) % shape.buckets


def _bucket_sql(text: str, table: int, shape: Sketch) -> str:
    return f"CAST('0x' || substr(sha256('{table}:' || {text}), 1, 8) AS UBIGINT) % {shape.buckets}"


def _encoded(text: str, shape: Sketch) -> bytes:
    raw = text.encode()
    return raw.ljust(shape.width, b"\0") + sha256(b"check:" + raw).digest()[:_CHECK_BYTES]


def _bits(texts: Sequence[str], shape: Sketch) -> Bits:
    """Shape (keys, bits): 1 where a bit is set, -1 where it is not."""
    rows = np.frombuffer(b"".join(_encoded(text, shape) for text in texts), dtype=np.uint8).reshape(len(texts), -1)
    return (2 * np.unpackbits(rows, axis=1).astype(np.int8) - 1).astype(np.int8)


# --- at the coordinator --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What a sum of sketches tells.

    Attributes:
        keys: the texts read, sorted.
        unread: buckets of the first table with enough units in which no key prevails.
    """

    keys: list[str]
    unread: int


def read(sketch: Floats, shape: Sketch, threshold: float) -> Found:
    """The keys in a noisy sum of sketches."""
    keys: set[str] = set()
    heavy = np.zeros((_TABLES, shape.buckets), dtype=bool)
    tables = sketch.reshape(_TABLES, shape.buckets, shape.row)
    for table, bucket in np.argwhere(tables[:, :, 0] > threshold):
        heavy[table, bucket] = True
        text = _read(tables[table, bucket, 1:], shape)
        if text is not None and _bucket(text, int(table), shape) == bucket:
            keys.add(text)
    explained = {_bucket(text, 0, shape) for text in keys}
    kept = sorted(keys, key=lambda text: (-_weight(text, tables, shape), text))[: shape.keys]
    return Found(sorted(kept), sum(1 for bucket in np.flatnonzero(heavy[0]) if int(bucket) not in explained))


def _weight(text: str, tables: Floats, shape: Sketch) -> float:
    """The smaller of the two buckets' numbers of units: no fewer than the key's own, but for the noise."""
    return min(float(tables[table, _bucket(text, table, shape), 0]) for table in range(_TABLES))


def _read(sums: Floats, shape: Sketch) -> str | None:
    raw = np.packbits(sums > 0).tobytes()
    body = raw[: shape.width].rstrip(b"\0")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text and _encoded(text, shape) == raw else None
