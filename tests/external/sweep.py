"""Looks for numbers one must not find: in bytes, in text, and in the memory of a running process."""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Not the seconds of a time of day: of so many times as a database holds one now and then begins like a figure.
_DECIMAL = re.compile(rb"(?<![\d.])(?<!\d\d:)\d{1,15}\.\d{4,}|(?<![\d.])\d{7,15}(?![\d.])")
_SHORTEST = 6  # characters of what it matches
_PREFIX = 9  # characters of a decimal that are compared: whoever rounds or cuts it later is found too
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: the product's upper bits depend on all of a word
_RUN = 16_384  # pages read at once, 64 MiB


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
        sought = _Sought(aligned)
        seen: set[str] = set()
        for region in regions:
            seen |= {aligned[word] for word in sought.among(np.frombuffer(region, dtype="<u8", count=len(region) // 8))}
            seen |= _decimals_in(region, decimals)
        return seen

    def in_bytes(self, data: bytes) -> set[str]:
        """Which are in ``data``, at any offset, in either byte order, or written out as decimals."""
        seen = _decimals_in(data, self._decimals())
        aligned = self._aligned()
        sought = _Sought(aligned)
        for offset in range(min(8, len(data))):
            for order in ("<u8", ">u8"):
                words = np.frombuffer(data, dtype=order, offset=offset, count=(len(data) - offset) // 8)
                seen |= {aligned[word] for word in sought.among(words)}
        return seen


class _Sought:
    """Words looked for among many: a table of 16 bits of each leaves few to compare."""

    def __init__(self, wanted: Iterable[int]) -> None:
        self._wanted = np.array(sorted(wanted), dtype=np.uint64)
        self._table = np.zeros(1 << 16, dtype=bool)
        self._table[self._places(self._wanted)] = True

    @staticmethod
    def _places(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (words * _SPREAD) >> np.uint64(48)

    def among(self, words: NDArray[np.uint64]) -> set[int]:
        words = words.astype(np.uint64, copy=False)
        some = words[self._table[self._places(words)]]
        return set(some[np.isin(some, self._wanted)].tolist())


def _telling(word: int) -> bool:
    """Whether a word is not one that anything could be: 0x3333340000000000 ends many a decimal fraction."""
    return sum(byte > 0 for byte in word.to_bytes(8, "little")) >= 6


def decimals(data: bytes) -> Iterator[bytes]:
    """What is written out as a decimal of many digits: all matches of ``_DECIMAL``, which looked at every byte would take minutes."""
    characters = np.frombuffer(data, dtype=np.uint8)
    written = (characters - np.uint8(ord("0")) < 10) | (characters == ord("."))
    edges = np.flatnonzero(np.diff(written, prepend=False, append=False))
    begins, ends = edges[::2], edges[1::2]
    long = ends - begins >= _SHORTEST
    for begin, end in zip(begins[long].tolist(), ends[long].tolist(), strict=True):
        for match in _DECIMAL.finditer(data, begin, end):
            yield match[0]


def _decimals_in(data: bytes, wanted: dict[bytes, str]) -> set[str]:
    return {wanted[prefix] for found in decimals(data) if (prefix := found[:_PREFIX]) in wanted}


def memory(pid: int) -> Iterator[bytes]:
    """What a process holds in readable and writable memory, neighbouring pages together.

    Of its own memory only pages that exist are read. What is shared or backed by a file is read whole: its pages may
    hold something while this process's page table has no entry for them.

    Raises:
        PermissionError: this machine does not let us.
    """
    page = mmap.PAGESIZE
    with (open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages,
          open(f"/proc/{pid}/mem", "rb", buffering=0) as mem):
        for line in maps:
            span, permissions, _offset, _device, inode = line.split()[:5]
            if not permissions.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            runs = _present if inode == "0" else _all
            for first, last in runs(pages, start // page, end // page):
                try:
                    mem.seek(first * page)
                    yield mem.read((last - first) * page)
                except (OSError, ValueError, OverflowError):  # a region that went away, or that nobody may read
                    break


def _all(_pages: io.FileIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of pages, of ``_RUN`` at most, from ``start`` to ``end``."""
    for begin in range(start, end, _RUN):
        yield begin, min(begin + _RUN, end)


def _present(pages: io.FileIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of pages that are in memory or swapped out: an address space is mostly of others."""
    for begin, stop in _all(pages, start, end):
        pages.seek(begin * 8)
        entries = np.frombuffer(pages.read((stop - begin) * 8), dtype="<u8")
        there = np.concatenate(([False], entries >> np.uint64(62) != 0, [False]))
        edges = np.flatnonzero(there[1:] != there[:-1]) + begin
        yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
