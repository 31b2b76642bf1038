"""The catalogue follows what nodes register, with a trace, and is found by words in either language."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.federation import AIR, Zone, air, zone

from marketplace import db
from marketplace.actor import PUBLIC
from marketplace.catalogue import cleaning as rules
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture
def market(sqlite_database: Any) -> Zone:
    return zone()


@pytest.fixture
def any_market(database: Any) -> Zone:
    return zone()


def sync(market: Zone, resources: list[dict[str, Any]], department: int = 0) -> dict[str, str]:
    with db.transaction() as session:
        node_id = market.departments[department].node_id
        node = computing.nodes_by_id(session, [node_id])[node_id]
        return catalogue.sync_resources(session, node, resources)


def tags(subject: str) -> list[str]:
    with db.reading() as session:
        return [event.tag.rsplit(":", 1)[1] for event in trust.events_for(session, subject)
                if event.tag.startswith("catalogue:") and event.subject == subject]


def test_registering_changing_withdrawing_and_coming_back_leave_one_event_each(any_market: Zone) -> None:
    first = any_market.departments[0].resource_id
    assert sync(any_market, [air()]) == {"air": first}
    assert tags(first) == ["registered"]  # nothing changed
    assert sync(any_market, [air(row_count=50)]) == {"air": first}
    assert sync(any_market, []) == {}
    assert sync(any_market, []) == {}
    assert sync(any_market, [air(row_count=51)]) == {"air": first}
    assert tags(first) == ["registered", "changed", "withdrawn", "registered"]
    with db.reading() as session:
        assert catalogue.get_resource(session, PUBLIC, first).row_count == 51
        assert trust.check_database(session).ok


def test_one_node_does_not_touch_anothers_resources(market: Zone) -> None:
    sync(market, [])
    with db.reading() as session:
        rows = catalogue.resources_by_id(session, [one.resource_id for one in market.departments])
        assert sorted(row.status for row in rows.values()) == ["active", "active", "withdrawn"]


@pytest.mark.parametrize("changes", [
    {"name": "Air"}, {"name": ""}, {"name": "a" * 64}, {"sector": "weather"}, {"grade": 0}, {"grade": 5}, {"row_count": -1},
    {"approval": "perhaps"}, {"columns": []}, {"columns": [AIR[0], AIR[0]]}, {"columns": [{**AIR[0], "type": "blob"}]},
    {"columns": [{**AIR[0], "domain": ["a", "a"]}]}, {"columns": [{**AIR[0], "lower": math.nan}]},
    {"columns": [{**AIR[0], "resolution": 0.0}]}, {"columns": [{**AIR[0], "resolution": math.inf}]},
    {"columns": [{**AIR[0], "classification": "secret"}]}, {"profile": {}},
    {"profile": {"measured_at_ms": 1, "completeness": 101, "validity": 1, "uniqueness": 1}},
    {"profile": {"measured_at_ms": 1, "completeness": 1, "validity": 1, "uniqueness": 1, "latest_month": "2026-13"}},
    {"profile": {"measured_at_ms": 1, "completeness": 1, "validity": 1, "uniqueness": 1, "date_column": "nothing"}},
    {"columns": [{**AIR[0], "lower": 2.0, "upper": 1.0}]}, {"title": "x" * 5000},
    {"title": "a\x00b"}, {"columns": [{**AIR[0], "domain": ["\x00"]}]},
])
def test_a_bad_registration_changes_nothing(market: Zone, changes: dict[str, Any]) -> None:
    with pytest.raises(ProblemError, match="resource_invalid"):
        sync(market, [air("new"), {**air(), **changes}])
    with db.reading() as session:
        assert [row.name for row in catalogue.resources_of_node(session, market.departments[0].node_id)] == ["air"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=8)


@given(field=st.sampled_from(["name", "title", "sector", "grade", "row_count", "approval", "description"]), value=JSON)
def test_whatever_a_node_says_is_taken_or_refused(field: str, value: Any) -> None:
    with contextlib.suppress(ProblemError):
        cleaned = rules.clean_resource({**air(), field: value})
        assert rules.clean_resource(cleaned) == cleaned


def found(q: str, **options: Any) -> list[str]:
    with db.reading() as session:
        rows, _ = catalogue.list_resources(session, PUBLIC, q=q, **options)
    return [row.name for row in rows]


def test_resources_are_found_by_words_titles_first(any_market: Zone) -> None:
    sync(any_market, [air(), air("water", title="河流水质", title_en="River water", description="与空气质量站同址", row_count=9),
                      air("traffic", title="车流", title_en="Traffic", description="100% 路口", sector="transport")])
    assert found("空气")[:3] == ["air", "air", "air"]
    assert found("空气")[-1] == "water"
    assert found("RIVER water") == ["water"]
    assert found("river traffic") == []
    assert found("100%") == ["traffic"]
    assert found("_") == []
    assert "air" in found("pm25")
    assert found("", sector="transport") == ["traffic"]
    assert found("", sort="rows")[-1] == "water"


@pytest.mark.parametrize("sort", ["relevance", "title", "newest", "rows"])
def test_pages_hold_everything_once_in_every_order(any_market: Zone, sort: Any) -> None:
    sync(any_market, [air(f"r{number}", title=f"表{number % 2}", row_count=number // 2) for number in range(5)])
    with db.reading() as session:
        whole = [row.id for row in catalogue.list_resources(session, PUBLIC, q="表", sort=sort, limit=50)[0]]
        pages: list[str] = []
        cursor = None
        while True:
            rows, cursor = catalogue.list_resources(session, PUBLIC, q="表", sort=sort, cursor=cursor, limit=2)
            pages += [row.id for row in rows]
            if cursor is None:
                break
    assert pages == whole
    assert len(set(pages)) == 5


@pytest.mark.parametrize("cursor", ["x", "e30", "WyJ0aXRsZSIsMSwyXQ", "é"])
def test_a_bad_cursor_is_refused(market: Zone, cursor: str) -> None:
    with db.reading() as session, pytest.raises(ProblemError, match="bad_resource_cursor"):
        catalogue.list_resources(session, PUBLIC, cursor=cursor)
