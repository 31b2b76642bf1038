"""Public notices end by themselves, wait for answers, and end their subject when an objection is upheld."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlmodel import Session
from tests.factories.market import City, make_city

from marketplace import clock, db
from marketplace.actor import PUBLIC
from marketplace.deadlines import service as deadlines
from marketplace.notices import service as notices
from marketplace.notices.models import PublicNotice
from marketplace.workdays import after_workdays
from shuyan.problems import ProblemError


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    seen: list[str] = []

    def closing(session: Session, notice: PublicNotice, outcome: str) -> None:
        seen.append(outcome)

    monkeypatch.setitem(notices.CLOSINGS, "test", closing)
    return seen


def published(days: int = 5) -> tuple[City, str]:
    with db.transaction() as session:
        city = make_city(session)
        operator = city["operator"]
        notice = notices.publish(session, operator, kind="test", subject="thing_1", organisation_id=operator.organisation_id or "",
                                 title_zh="公示", title_en="Notice", working_days=days)
        return city, notice.id


def status(notice_id: str) -> str:
    with db.reading() as session:
        return notices.get_notice(session, notice_id).status


@pytest.mark.usefixtures("database")
def test_a_notice_passes_once_its_working_days_are_over(ended: list[str]) -> None:
    _, notice = published()
    deadlines.fire_due()
    assert (status(notice), ended) == ("open", [])
    with clock.shifted(dt.timedelta(days=40)):
        assert deadlines.fire_due() == 1
        assert deadlines.fire_due() == 0
    assert (status(notice), ended) == ("passed", ["passed"])


@pytest.mark.usefixtures("database")
def test_an_open_objection_holds_the_end_up_and_a_dismissed_one_lets_it_come(ended: list[str]) -> None:
    city, notice = published()
    with db.transaction() as session:
        objection = notices.object_to(session, PUBLIC, notice, "理由", contact="someone@example.org").id
    with clock.shifted(dt.timedelta(days=40)):
        deadlines.fire_due()
        assert (status(notice), ended) == ("open", [])
        with pytest.raises(ProblemError, match="notice_closed"), db.transaction() as session:
            notices.object_to(session, PUBLIC, notice, "太晚")
        with db.transaction() as session:
            notices.answer(session, city["operator"], objection, "dismiss", "不成立")
    assert (status(notice), ended) == ("passed", ["passed"])


@pytest.mark.usefixtures("database")
def test_whoever_gave_notice_makes_no_objection_to_it(ended: list[str]) -> None:
    city, notice = published()
    with pytest.raises(ProblemError, match="own_notice"), db.transaction() as session:
        notices.object_to(session, city["operator"], notice, "反对自己")
    with db.reading() as session:
        row = notices.get_notice(session, notice)
        assert [notices.may_object(actor, row) for actor in (PUBLIC, city["consumer"], city["operator"])] == [True, True, False]
    with clock.shifted(dt.timedelta(days=40)):
        assert not notices.may_object(PUBLIC, row)


@pytest.mark.usefixtures("database")
def test_an_upheld_objection_ends_a_notice_at_once(ended: list[str]) -> None:
    city, notice = published()
    with db.transaction() as session:
        objection = notices.object_to(session, city["consumer"], notice, "资质不符").id
    for stranger in (PUBLIC, city["developer"], city["consumer"]):
        with pytest.raises(ProblemError, match="not_allowed"), db.transaction() as session:
            notices.answer(session, stranger, objection, "uphold", "x")
    with db.transaction() as session:
        notices.answer(session, city["data_authority"], objection, "uphold", "属实")
    assert (status(notice), ended) == ("upheld", ["upheld"])
    with pytest.raises(ProblemError, match="wrong_state"), db.transaction() as session:
        notices.answer(session, city["data_authority"], objection, "dismiss", "改主意")
    with clock.shifted(dt.timedelta(days=40)):
        assert deadlines.fire_due() == 0


def test_periods_skip_weekends_and_holidays_and_work_make_up_days() -> None:
    noon = dt.datetime(2025, 9, 26, 4, tzinfo=dt.UTC)  # a Friday; the Sunday after it makes up for the holiday
    end = after_workdays(noon, 5)
    # 28, 29, 30 September, then the National Day holiday until 8 October, then 9 and 10
    assert end.astimezone(clock.CITY) == dt.datetime(2025, 10, 11, tzinfo=clock.CITY)
    assert after_workdays(noon, 0) == noon
