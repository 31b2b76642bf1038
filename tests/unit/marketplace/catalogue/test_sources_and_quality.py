"""One authoritative source for an element, quality kept as history, changes told in the order of the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from sqlmodel import select
from tests.factories.federation import AIR, Zone, air, zone

from marketplace import clock, db, work
from marketplace.actor import PUBLIC, Actor
from marketplace.catalogue import rules
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.notices.models import Message
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

WIND = "气象.风向"


@pytest.fixture
def market(database: Any) -> Zone:
    return zone()


def sync(market: Zone, department: int, *resources: dict[str, Any]) -> dict[str, str]:
    with db.transaction() as session:
        node_id = market.departments[department].node_id
        return catalogue.sync_resources(session, computing.nodes_by_id(session, [node_id])[node_id], resources)


def claiming(source: bool = True, **changes: Any) -> dict[str, Any]:
    columns = [{**column, "element": WIND, "source": source} if column["name"] == "wind" else column for column in AIR]
    return air(columns=columns, **changes)


def element() -> tuple[str, str | None]:
    with db.reading() as session:
        row = catalogue.get_element(session, PUBLIC, WIND).element
        return row.status, row.resource_id


def standing(market: Zone, department: int) -> str:
    with db.reading() as session:
        rows = catalogue.resources_by_id(session, [market.departments[department].resource_id])
        return catalogue.standings(session, rows.values())[market.departments[department].resource_id, "wind"].role


def told(kind: str) -> list[str]:
    with db.reading() as session:
        return sorted(session.exec(select(Message.organisation_id).where(Message.kind == kind)))


def queue(actor: Actor) -> list[str]:
    with db.reading() as session:
        return [item.kind for item in work.waiting(session, actor, db.utc_now()) if item.kind in ("element.settle", "resource.improve")]


def test_one_claim_is_the_source_and_two_are_a_conflict_that_the_authority_settles(market: Zone) -> None:
    first, second, third = (one.resource_id for one in market.departments)
    sync(market, 0, claiming())
    sync(market, 2, claiming(source=False))
    assert (element(), standing(market, 0), standing(market, 2)) == (("clear", first), "authoritative", "other")
    sync(market, 1, claiming())
    assert (element(), standing(market, 0), standing(market, 1)) == (("conflict", None), "contested", "contested")
    assert (told("element_contested"), queue(market.authority)) == (["org_data_authority"], ["element.settle"])
    with db.transaction() as session, pytest.raises(ProblemError, match="element_not_claimed"):
        catalogue.settle_element(session, market.authority, WIND, resource_id=third, column="wind", reason="x")
    with db.transaction() as session, pytest.raises(ProblemError, match="not_allowed"):
        catalogue.settle_element(session, market.operator, WIND, resource_id=second, column="wind", reason="x")
    with db.transaction() as session:
        catalogue.settle_element(session, market.authority, WIND, resource_id=second, column="wind", reason="由第二监测站统一采集")
    assert (element(), standing(market, 0), standing(market, 1)) == (("settled", second), "other", "authoritative")
    assert (told("element_settled"), queue(market.authority)) == (["org_station0", "org_station1"], [])
    sync(market, 0, claiming(row_count=99))  # whoever lost does not contest it again by changing something else
    assert element() == ("settled", second)
    sync(market, 2, claiming())  # somebody new does; the decision stands meanwhile
    assert (element(), standing(market, 2)) == (("conflict", second), "contested")
    sync(market, 1)  # the source is withdrawn
    assert element() == ("conflict", None)
    sync(market, 0, air())
    assert element() == ("clear", third)
    with db.reading() as session:
        page = catalogue.get_element(session, PUBLIC, WIND)
        assert [(one.resource_id, one.reason) for one in page.decisions] == [(second, "由第二监测站统一采集")]
        assert trust.check_database(session).ok


def profile(day: int, **measures: int | None) -> dict[str, Any]:
    at = int((db.utc_now() - dt.timedelta(days=10 - day)).timestamp() * 1000)
    return {"measured_at_ms": at, "completeness": 99, "validity": 100, "uniqueness": 100, "timeliness": 100, "columns": [], **measures}


def test_quality_is_kept_as_history_and_told_when_it_falls(market: Zone) -> None:
    department = Actor("source_department", "org_station0", "m", roles=frozenset({"handler"}))
    first = market.departments[0].resource_id
    with db.reading() as session:
        size = trust.log_size(session)
    for day, complete in enumerate((99, 80, 70, 97)):
        sync(market, 0, air(profile=profile(day, completeness=complete, timeliness=None if day else 100)))
        assert queue(department) == (["resource.improve"] if complete < 90 else [])
    assert told("quality_below") == ["org_station0"]  # once, not with every measurement
    with db.reading() as session:
        history = catalogue.quality_history(session, PUBLIC, first)
        assert [one.completeness for one in history] == [99, 80, 70, 97]
        assert [one.below for one in history] == [[], ["completeness"], ["completeness"], []]
        assert [one.timeliness for one in history] == [100, None, None, None]
        events = trust.events_for(session, first, after=size - 1)
        assert {event.tag for event in events} == {"catalogue:quality:measured"}
        assert catalogue.changes(session, PUBLIC, after=size - 1) == []  # measuring is no change of the entry


def test_a_node_cannot_fill_the_history_nor_measure_in_the_future(market: Zone) -> None:
    for number in range(5):
        sync(market, 0, air(profile={**profile(20, completeness=90 + number), "measured_at_ms": (1 << 53) - 1 - number}))
    with db.reading() as session:
        (report,) = catalogue.quality_history(session, PUBLIC, market.departments[0].resource_id)
        assert (report.completeness, report.measured_at <= db.utc_now()) == (94, True)


def test_changes_are_told_since_a_place_in_the_log(market: Zone) -> None:
    with db.reading() as session:
        last = catalogue.changes(session, PUBLIC)[-1][0].index
        assert [one.kind for one, _ in catalogue.changes(session, PUBLIC)] == ["registered"] * 3
    sync(market, 0, air(title="空气", grade=3, columns=[{**AIR[0], "unit": "mg"}, *AIR[2:]]))
    sync(market, 1)
    with db.reading() as session:
        (changed, row), (withdrawn, _) = catalogue.changes(session, PUBLIC, after=last)
        assert (changed.kind, withdrawn.kind, row.title) == ("changed", "withdrawn", "空气")
        assert changed.changes == [
            {"field": "title", "before": "空气质量", "after": "空气"}, {"field": "grade", "before": 2, "after": 3},
            {"column": "year", "change": "removed"}, {"column": "pm25", "change": "changed"}]
        assert catalogue.history(session, PUBLIC, row.id)[0].index == changed.index
        assert [one.kind for one, _ in catalogue.newest(session, PUBLIC, limit=1)] == ["withdrawn"]
        assert catalogue.changes(session, PUBLIC, after=withdrawn.index) == []


def test_every_resource_has_a_code_for_good(market: Zone) -> None:
    ids = [one.resource_id for one in market.departments]

    def codes() -> list[str]:
        with db.reading() as session:
            return [catalogue.resources_by_id(session, ids)[each].code or "" for each in ids]

    before = codes()
    assert all(map(rules.is_registration_code, before))
    assert len(set(before)) == 3
    year = before[0].split("-")[1]
    assert [code.split("-")[3] for code in before] == ["000001", "000002", "000003"]
    assert not rules.is_registration_code(before[0].replace(year, str(int(year) + 1)))
    sync(market, 0)
    sync(market, 0, air())
    assert codes() == before
    with clock.shifted(dt.timedelta(days=400)):
        new = sync(market, 0, air(), air("more"))["more"]
        with db.reading() as session:
            assert "-000001-" in (catalogue.get_resource(session, PUBLIC, new).code or "")


def test_a_steward_is_an_office_and_every_text_has_an_end(market: Zone) -> None:
    bad: Sequence[dict[str, Any]] = [
        {"steward": "王芳 13812345678"}, {"steward": "数据处（0755-83123456）"}, {"steward": "x" * 121}, {"standard": "a\nb"}, {"standard": "\x00"},
        {"frequency": "hourly"}, {"tags": ["x"] * 3 + [""]}, {"tags": [str(n) for n in range(21)]}, {"tags": "abc"},
        {"columns": [{**AIR[0], "element": "x" * 121}]}, {"columns": [{**AIR[0], "element": "a\u2028b"}]},
        {"profile": {**profile(1), "timeliness": 101}}]
    for changes in bad:
        with pytest.raises(ProblemError, match="resource_invalid"):
            sync(market, 0, air(**changes))
    script = "<script>alert(1)</script>"
    sync(market, 0, air(title=script, steward=script, standard=script, tags=[script], description=script))  # text is text


