from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation.answers import PlainAnswer

ANSWER = PlainAnswer({"a": np.array([1.0, np.nan]), "b": np.zeros((2, 0)), "c": np.array([[1.0], [2.0]])}, 7)


def test_an_answer_crosses_the_process_border_unchanged() -> None:
    read = PlainAnswer.from_bytes(ANSWER.to_bytes())

    assert read.cohort == 7
    assert read.vectors.keys() == ANSWER.vectors.keys()
    for name, vector in ANSWER.vectors.items():
        np.testing.assert_array_equal(read.vectors[name], vector)


def test_what_it_holds_is_not_printed() -> None:
    assert repr(ANSWER) == "PlainAnswer()"


@settings(deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 200).map(lambda cut: ANSWER.to_bytes()[:cut]))
def test_garbage_is_refused(data: bytes) -> None:
    if data == ANSWER.to_bytes():
        return
    with pytest.raises(ValueError, match=r".*"):
        PlainAnswer.from_bytes(data)


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="malformed"):
        PlainAnswer.from_bytes(ANSWER.to_bytes() + b"x")


@pytest.mark.parametrize("header", [b'{"cohort":true,"vectors":[]}', b'{"cohort":1,"vectors":[["a",[-1]]]}', b"[]", b"\xff",
                                    b'{"cohort":1,"vectors":[["a",[0]],["a",[0]]]}', b'{"cohort":1,"vectors":[["a",[9e9]]]}'])
def test_lying_headers_are_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        PlainAnswer.from_bytes(len(header).to_bytes(4, "little") + header)
