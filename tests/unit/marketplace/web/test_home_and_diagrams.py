"""The page of what waits, and the picture of a lifecycle on every subject's page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from sqlmodel import Session
from tests.unit.marketplace.web.conftest import Pages

from marketplace import work
from marketplace.actor import PUBLIC, Actor
from marketplace.db import utc_now
from marketplace.powers import LIFECYCLES
from marketplace.web.diagram import diagram, places
from marketplace.work import WorkItem


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_lifecycle_can_be_drawn_in_every_state(pages: Pages, language: str) -> None:
    with pages.app.test_request_context(headers={"Accept-Language": language}):
        for name, life in LIFECYCLES.items():
            assert places(life)[life.initial] == (0, 0)
            for state in life.states:
                picture = diagram(name, state, PUBLIC)
                assert len({(box.x, box.y) for box in picture.boxes}) == len(picture.boxes) == len(life.states), name
                assert [box.state for box in picture.boxes if box.now] == [state]
                for arrow in picture.arrows:  # a curve stays within the hull of its points
                    numbers = [int(number) for number in re.findall(r"-?\d+", arrow.path)]
                    assert all(0 <= x <= picture.width for x in numbers[::2]), (name, arrow.path)
                    assert all(0 <= y <= picture.height for y in numbers[1::2]), (name, arrow.path)
                assert bool(picture.steps) == any(state in step.sources for step in life.transitions)


def test_only_what_this_reader_can_still_do_is_told_as_theirs(pages: Pages) -> None:
    operator = Actor("operator", "org_x", member_id="mem_x", roles=frozenset({"admin", "handler", "reviewer"}))
    with pages.app.test_request_context(headers={"Accept-Language": "en"}):
        may = LIFECYCLES["development_agreement"].possible("signing", operator, owner="org_x")
        assert "sign" in may
        for able in (None, [one for one in may if one != "sign"], []):
            picture = diagram("development_agreement", "signing", operator, "org_x", able)
            assert [step.mine for step in picture.steps if step.action == "Sign"] == [able is None]
            assert any(arrow.kind == "mine" for arrow in picture.arrows) == (able != [])


def test_the_ordinary_way_of_every_lifecycle_can_be_gone() -> None:
    for name, life in LIFECYCLES.items():
        steps = {(source, step.target) for step in life.transitions for source in step.sources}
        assert life.way[:1] == (life.initial,), name
        assert set(itertools.pairwise(life.way)) <= steps, name


def test_nothing_waits_for_a_newcomer(pages: Pages) -> None:
    answer = pages.member("developer").get("/home")
    assert answer.status_code == 200
    assert "Nothing waits for you" in answer.text
    assert pages.visitor().get("/home").status_code == 302


def test_what_is_overdue_comes_first_and_kinds_can_be_picked(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime as dt

    now = utc_now()

    def found(session: Session, actor: Actor) -> Iterable[WorkItem]:
        for number, (kind, due) in enumerate([("order.pay", None), ("app.review", now + dt.timedelta(days=1)),
                                              ("app.review", now - dt.timedelta(days=1))]):
            yield WorkItem(kind, f"thing_{number}", f"Title {number}", "no_such_page:id", "org_x", now, due)

    monkeypatch.setattr(work, "SOURCES", [found])
    member = pages.member("operator")
    text = member.get("/home").text
    assert re.findall(r"Title \d", text) == ["Title 2", "Title 1", "Title 0"]
    assert "3 things wait for you." in text
    assert "1 is overdue." in text
    assert re.findall(r"Title \d", member.get("/home?kind=order.pay").text) == ["Title 0"]
    assert "您有 3 项待办" in pages.member("operator", "zh").get("/home").text


def test_what_has_a_name_in_both_languages_is_called_by_that_of_the_reader(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(session: Session, actor: Actor) -> Iterable[WorkItem]:
        yield WorkItem("app.review", "one", "肿块半径", "no_such_page:id", "org_x", utc_now(), title_en="Radius of masses")
        yield WorkItem("app.review", "two", "只有一个名字", "no_such_page:id", "org_x", utc_now())

    monkeypatch.setattr(work, "SOURCES", [found])
    english, chinese = (pages.member("operator", language).get("/home").text for language in ("en", "zh"))
    names = ("Radius of masses", "肿块半径", "只有一个名字")
    assert [name in english for name in names] == [True, False, True]
    assert [name in chinese for name in names] == [False, True, True]
