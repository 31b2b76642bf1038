"""What the authority puts on the negative list hits what is asked for and what is granted, from the day it takes effect."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select
from tests.factories.federation import Zone, zone

from marketplace import clock, db
from marketplace.actor import PUBLIC, Actor
from marketplace.catalogue import rules
from marketplace.catalogue import service as catalogue
from marketplace.deadlines import service as deadlines
from marketplace.notices.models import Message
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture
def market(database: Any) -> Zone:
    return zone()


def enter(market: Zone, **body: Any) -> str:
    with db.transaction() as session:
        return catalogue.enter(session, market.authority, **{"reason": "法律禁止提供", **body}).id


def hits(asked: dict[str, list[str]]) -> list[tuple[str, str | None]]:
    with db.reading() as session:
        return [(hit.resource_id, hit.column) for hit in catalogue.negative_hits(session, asked)]


def told(kind: str) -> list[Message]:
    with db.reading() as session:
        return list(session.exec(select(Message).where(Message.kind == kind)))


def test_resources_columns_and_patterns_are_barred(market: Zone) -> None:
    first, second = (one.resource_id for one in market.departments[:2])
    asked = {first: ["pm25", "wind"], second: ["year", "sensor"]}
    assert hits(asked) == []
    enter(market, kind="column", resource_id=first, column="wind")
    assert hits(asked) == [(first, "wind")]
    assert hits({second: ["wind"]}) == []
    enter(market, kind="resource", resource_id=second)
    assert set(hits(asked)) == {(first, "wind"), (second, None)}
    enter(market, kind="pattern", field="title", pattern="*ＰＭ2*")  # width and case make no difference
    assert (first, "pm25") in hits(asked)
    enter(market, kind="pattern", field="resource_title", pattern="空气*")
    assert (first, None) in hits({first: ["pm25"]})
    assert hits({}) == hits({"res_unknown": ["x"]}) == []


def test_grants_in_force_that_are_hit_are_reported(market: Zone) -> None:
    enter(market, kind="pattern", field="name", pattern="sensor")  # granted to nobody
    assert told("negative_hit") == []
    entry = enter(market, kind="column", resource_id=market.departments[0].resource_id, column="pm25")
    (message,) = told("negative_hit")
    assert (message.organisation_id, message.subject) == ("org_data_authority", entry)
    assert message.params == {"count": 1, "grants": market.grant_id}


def test_an_entry_takes_effect_on_its_day_and_is_reported_then(market: Zone) -> None:
    first = market.departments[0].resource_id
    entry = enter(market, kind="resource", resource_id=first, effective_from=db.utc_now() + dt.timedelta(days=3))
    deadlines.fire_due()
    assert hits({first: ["pm25"]}) == []
    assert told("negative_hit") == []
    with clock.shifted(dt.timedelta(days=3, minutes=1)):
        assert hits({first: ["pm25"]}) == [(first, None)]
        deadlines.fire_due()
        assert len(told("negative_hit")) == 1
        with db.transaction() as session:
            catalogue.withdraw(session, market.authority, entry, "条件已变化")
        assert hits({first: ["pm25"]}) == []
    with db.reading() as session:
        row, versions, actions = catalogue.get_negative(session, market.authority, entry)
        assert (row.status, [one.version for one in versions], actions) == ("withdrawn", [2, 1], [])
        assert [event.tag for event in trust.events_for(session, entry)] == ["catalogue:negative:entered", "catalogue:negative:withdrawn"]
        assert trust.check_database(session).ok


def test_a_revision_is_a_new_version_and_the_old_one_stays_readable(market: Zone) -> None:
    first = market.departments[0].resource_id
    entry = enter(market, kind="column", resource_id=first, column="wind")
    with db.transaction() as session:
        catalogue.revise(session, market.authority, entry, column="year", reason="改为限制年份")
    assert hits({first: ["wind", "year"]}) == [(first, "year")]
    with db.transaction() as session:
        catalogue.revise(session, market.authority, entry, kind="pattern", field="name", pattern="wi*")
    assert hits({first: ["wind", "year"]}) == [(first, "wind")]
    with db.reading() as session:
        _row, versions, _ = catalogue.get_negative(session, PUBLIC, entry)
        assert [one.body["column"] for one in versions] == ["", "year", "wind"]
        assert [one.body["reason"] for one in versions] == ["改为限制年份", "改为限制年份", "法律禁止提供"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "everything"}, "negative_entry_invalid"), ({"kind": "resource"}, "not_found"),
    ({"kind": "resource", "resource_id": "res_\x00"}, "not_found"),
    ({"kind": "column", "column": "nothing"}, "not_found"), ({"kind": "pattern", "field": "rows", "pattern": "abc"}, "negative_entry_invalid"),
    ({"kind": "pattern", "field": "name", "pattern": "*"}, "negative_entry_too_wide"),
    ({"kind": "pattern", "field": "name", "pattern": "*a*"}, "negative_entry_too_wide"),
    ({"kind": "pattern", "field": "name", "pattern": "x" * 121}, "negative_entry_invalid"),
    ({"kind": "pattern", "field": "name", "pattern": "ab\x00"}, "negative_entry_invalid"),
    ({"kind": "pattern", "field": "name", "pattern": "abc", "reason": " "}, "catalogue_reason_invalid"),
    ({"kind": "pattern", "field": "name", "pattern": "abc", "reason": "长" * 501}, "catalogue_reason_invalid"),
    ({"kind": "pattern", "field": "name", "pattern": "abc", "effective_from": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, "negative_entry_past"),
]


def test_a_bad_entry_is_refused(sqlite_database: Any) -> None:
    market = zone()
    for body, code in BAD:
        with pytest.raises(ProblemError, match=code):
            enter(market, **body)


def test_nobody_but_the_authoritys_reviewers_decides(market: Zone) -> None:
    body: dict[str, Any] = {"kind": "pattern", "field": "name", "pattern": "abc", "reason": "x"}
    entry = enter(market, **body)
    others = [market.developer, market.operator, PUBLIC, Actor("source_department", "org_station0"),
              Actor("data_authority", "org_data_authority", "m", roles=frozenset({"handler"})),
              Actor("data_authority", "org_data_authority", client_id="c", scopes=frozenset({"read"}))]
    for actor in others:
        with db.transaction() as session, pytest.raises(ProblemError, match=r"not_allowed|not_signed_in|scope_missing"):
            catalogue.enter(session, actor, **body)
        with db.transaction() as session, pytest.raises(ProblemError, match=r"not_allowed|not_signed_in|scope_missing"):
            catalogue.withdraw(session, actor, entry, "x")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_pattern_without_a_star_is_the_text_itself(pattern: str, text: str) -> None:
    plain = pattern.replace("*", "")
    assert rules.fits(plain, plain)
    assert rules.fits(plain, text) == (rules.plain(plain) == rules.plain(text))


@given(st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_a_star_stands_for_anything(before: str, middle: str, after: str) -> None:
    before, middle, after = before.replace("*", ""), middle.replace("*", ""), after.replace("*", "")
    assert rules.fits(f"{rules.plain(before)}*", rules.plain(before) + middle) or rules.plain(before) == ""
    assert rules.fits("*", middle)
