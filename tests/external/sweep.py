"""Looks for numbers one must not find: in bytes, in text, and in the memory of a running process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

_DECIMAL = re.compile(rb"(?<![\d.])\d{1,15}\.\d{4,}|(?<![\d.])\d{7,15}(?![\d.])")
_PREFIX = 9  # characters of a decimal that are compared: whoever rounds or cuts it later is found too


@dataclass
class Needles:
    """Numbers in the shapes they could be seen in.

    Attributes:
        numbers: float64 values, found as eight bytes of either order and as decimals.
        words: plain ring elements (uint64), found as eight bytes.
    """

    numbers: dict[float, str] = field(default_factory=dict)
    words: dict[int, str] = field(default_factory=dict)

    def add(self, value: float, what: str) -> None:
        self.numbers.setdefault(float(value), what)

    def _decimals(self) -> dict[bytes, str]:
        found = {}
        for value, what in self.numbers.items():
            text = repr(abs(value))
            if text.endswith(".0"):
                text = text[:-2]
            if "e" not in text and len(text.replace(".", "")) >= 7:
                found[text.encode()[:_PREFIX]] = what
        return found

    def _aligned(self) -> dict[int, str]:
        doubles = np.array([*self.numbers], dtype="<f8").view("<u8")
        return dict(zip(doubles.tolist(), self.numbers.values(), strict=True)) | {
            word: what for word, what in self.words.items() if _telling(word)}

    def in_memory(self, regions: Iterable[bytes]) -> set[str]:
        """Which are in large aligned regions: as native float64 or ring words, or written out as decimals."""
        aligned, decimals = self._aligned(), self._decimals()
        wanted = np.array(sorted(aligned), dtype=np.uint64)
        seen: set[str] = set()
        for region in regions:
            words = np.frombuffer(region[: len(region) // 8 * 8], dtype="<u8")
            seen |= {aligned[int(word)] for word in np.unique(words[np.isin(words, wanted)])}
            seen |= _decimals_in(region, decimals)
        return seen

    def in_bytes(self, data: bytes) -> set[str]:
        """Which are in ``data``, at any offset, in either byte order, or written out as decimals."""
        seen = _decimals_in(data, self._decimals())
        for word, what in self._aligned().items():
            if word.to_bytes(8, "little") in data or word.to_bytes(8, "big") in data:
                seen.add(what)
        return seen


def _telling(word: int) -> bool:
    """Whether a word is not one that anything could be: 0x3333340000000000 ends many a decimal fraction."""
    return sum(byte > 0 for byte in word.to_bytes(8, "little")) >= 6


def _decimals_in(data: bytes, wanted: dict[bytes, str]) -> set[str]:
    return {wanted[prefix] for match in _DECIMAL.finditer(data) if (prefix := match[0][:_PREFIX]) in wanted}


def memory(pid: int) -> Iterator[bytes]:
    """Every readable and writable region of a process.

    Raises:
        PermissionError: this machine does not let us.
    """
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, permissions = line.split()[:2]
            if not permissions.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            while start < end:
                size = min(end - start, 64 << 20)
                try:
                    mem.seek(start)
                    part = mem.read(size)
                except (OSError, ValueError, OverflowError):  # a region that went away, or that nobody may read
                    break
                if not part:
                    break
                yield part
                start += len(part)
