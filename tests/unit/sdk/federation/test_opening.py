from __future__ import annotations

import pytest

from shuyan.federation import problems
from shuyan.federation.opening import OpenBook
from shuyan.problems import ProblemError

ALL, FEWER = ("a", "b", "c", "d"), ("a", "b", "c")


def test_a_round_is_opened_for_one_attempt_only() -> None:
    book = OpenBook()
    book.open("run", 1, 1, "q1", ALL)

    with pytest.raises(ProblemError) as caught:
        book.open("run", 1, 2, "q2", FEWER)

    assert caught.value.code == problems.ALREADY_OPENED


def test_opening_the_same_attempt_again_is_a_repeat() -> None:
    book = OpenBook()
    book.open("run", 1, 1, "q", ALL)
    book.open("run", 1, 1, "q", ALL)


def test_a_question_is_answered_with_one_set_of_departments_only_in_whatever_run() -> None:
    book = OpenBook()
    book.open("run", 1, 2, "q", ALL)

    with pytest.raises(ProblemError) as caught:
        book.check("another run", 7, 1, "q", FEWER)

    assert caught.value.code == problems.QUESTION_ANSWERED_WITH_OTHERS
    book.open("another run", 7, 1, "q", ALL)


def test_an_attempt_that_was_never_opened_binds_nothing() -> None:
    book = OpenBook()
    book.check("run", 1, 1, "q", ALL)
    book.open("run", 1, 2, "q", FEWER)
