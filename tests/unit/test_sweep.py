"""The sweep for figures that must be nowhere finds what is somewhere: else its silence means nothing."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.external.sweep import Needles, memory

FIGURE, ELSEWHERE = 81.27364519283, 46.90121583377
HOLDER = "import array; held = array.array('d', [0.0]) * 3_000_000; held[2_777_777] = {} / 4; print('holds', flush=True); input()"


def _needles() -> Needles:
    needles = Needles()
    needles.add(FIGURE, "a mean")
    needles.add(ELSEWHERE, "another")
    return needles


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["<d", ">d", "text"]))
def test_bytes_at_any_offset(before: bytes, after: bytes, form: str) -> None:
    written = b" %s " % repr(FIGURE).encode() if form == "text" else struct.pack(form, FIGURE)
    assert _needles().in_bytes(before + written + after) == {"a mean"}


@pytest.mark.parametrize("size", [0, 7, 8, 70_000])
def test_what_is_not_there(size: int) -> None:
    assert _needles().in_bytes((bytes(range(256)) * 300)[:size]) == set()


def test_memory_of_another_process() -> None:
    """The number is worked out there: neither the command line nor the compiled code holds it."""
    with subprocess.Popen([sys.executable, "-c", HOLDER.format(repr(FIGURE * 4))], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"holds\n"
        try:
            assert _needles().in_memory(memory(holder.pid)) == {"a mean"}
        except PermissionError:
            pytest.skip("this machine does not let us read another process's memory")
        finally:
            holder.communicate(b"\n")
