"""What a worker hands to its agent: plain vectors and a cohort, in a form that needs no trust to read."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shuyan.federation.ring import Floats

_HEAD: Final = struct.Struct("<I")


@dataclass(frozen=True)
class PlainAnswer:
    """One department's plain contribution. It exists in the worker and in the agent, and nowhere else.

    Attributes:
        vectors: float64, shape (length,) or (terms, length).
        cohort: rows the answer is about.
        rows: which rows it rests on, as :mod:`shuyan.federation.rowsets` writes it; empty: all of them.
    """

    vectors: dict[str, Floats] = field(repr=False)
    cohort: int = field(repr=False)
    rows: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """Length-prefixed JSON header, the vectors' little-endian float64 in header order, then the rows."""
        names = sorted(self.vectors)
        arrays = [np.ascontiguousarray(self.vectors[name], dtype="<f8") for name in names]
        header = json.dumps({
            "cohort": self.cohort, "rows": len(self.rows), "vectors": [[name, list(array.shape)] for name, array in zip(names, arrays, strict=True)],
        }).encode()
        return b"".join([_HEAD.pack(len(header)), header, *(array.tobytes() for array in arrays), self.rows])

    @classmethod
    def from_bytes(cls, data: bytes) -> PlainAnswer:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: anything else.
        """
        try:
            (size,) = _HEAD.unpack_from(data)
            header = json.loads(data[_HEAD.size : _HEAD.size + size])
            cohort, listed, size_of_rows = header["cohort"], header["vectors"], header["rows"]
            if type(cohort) is not int or type(size_of_rows) is not int or not isinstance(listed, list):
                raise ValueError("malformed answer")
            vectors: dict[str, Floats] = {}
            offset = _HEAD.size + size
            for name, shape in listed:
                if type(name) is not str or name in vectors or len(shape) not in (1, 2):
                    raise ValueError("malformed answer")
                if any(type(extent) is not int or extent < 0 for extent in shape):
                    raise ValueError("malformed answer")
                count = math.prod(shape)
                vectors[name] = np.frombuffer(data, dtype="<f8", count=count, offset=offset).reshape(shape)
                offset += 8 * count
        except (struct.error, KeyError, TypeError, RecursionError) as error:
            raise ValueError("malformed answer") from error
        if size_of_rows < 0 or offset + size_of_rows != len(data):
            raise ValueError("malformed answer")
        return cls(vectors, cohort, bytes(data[offset:]))
