"""The sweep for figures that must be nowhere finds what is somewhere: else its silence means nothing."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.external.sweep import _DECIMAL, Needles, decimals, memory

FIGURE, ELSEWHERE = 81.27364519283, 46.90121583377
HOLDER = "import array; held = array.array('d', [0.0]) * 3_000_000; held[2_777_777] = {} / 4; print('holds', flush=True); input()"
MAPPER = "import mmap; file = open({!r}, 'r+b'); mapped = mmap.mmap(file.fileno(), 0); print('holds', flush=True); input()"


def _needles() -> Needles:
    needles = Needles()
    needles.add(FIGURE, "a mean")
    needles.add(ELSEWHERE, "another")
    return needles


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["<d", ">d", "text"]))
def test_bytes_at_any_offset(before: bytes, after: bytes, form: str) -> None:
    written = b" %s " % repr(FIGURE).encode() if form == "text" else struct.pack(form, FIGURE)
    assert _needles().in_bytes(before + written + after) == {"a mean"}


@given(st.lists(st.sampled_from([b"1", b"23", b"456789", b".", b":", b"12:34:", b"a", b"\xb0", b"\n", b"-"]), max_size=30).map(b"".join))
def test_decimals_are_those_that_a_look_at_every_byte_finds(data: bytes) -> None:
    assert [*decimals(data)] == [match[0] for match in _DECIMAL.finditer(data)]


@pytest.mark.parametrize("size", [0, 7, 8, 70_000])
def test_what_is_not_there(size: int) -> None:
    assert _needles().in_bytes((bytes(range(256)) * 300)[:size]) == set()


def _found_in(program: str) -> set[str]:
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"holds\n"
        try:
            return _needles().in_memory(memory(holder.pid))
        except PermissionError:
            pytest.skip("this machine does not let us read another process's memory")
        finally:
            holder.communicate(b"\n")


def test_memory_of_another_process() -> None:
    """The number is worked out there: neither the command line nor the compiled code holds it."""
    assert _found_in(HOLDER.format(repr(FIGURE * 4))) == {"a mean"}


def test_shared_pages_that_it_has_not_touched(tmp_path: Path) -> None:
    """They are in no page table of the process, and yet it holds them."""
    (file := tmp_path / "shared").write_bytes(bytes(1 << 22) + struct.pack("<d", FIGURE) + bytes(1 << 22))
    assert _found_in(MAPPER.format(str(file))) == {"a mean"}


@pytest.mark.parametrize(("text", "found"), [
    (b"2026-11-29 15:11:46.901215", set()), (b'{"at":"2026-11-29T15:11:46.901215Z"}', set()), (b"11:46.901215833", set()),
    (b'{"mean":46.90121583}', {"another"}), (b"[1:46.90121583]", {"another"}), (b"mean: 46.90121583", {"another"}),
])
def test_a_time_of_day_is_no_figure(text: bytes, found: set[str]) -> None:
    assert _needles().in_bytes(text) == found
