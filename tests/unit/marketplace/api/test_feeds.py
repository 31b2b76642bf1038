"""The feeds are Atom as RFC 4287 has it, whatever people wrote into titles."""

from __future__ import annotations

import datetime as dt
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.factories.apps import shared_app
from tests.factories.federation import air, zone
from tests.factories.market import make_city

from marketplace import clock, db
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.deadlines import service as deadlines
from marketplace.notices import service as notices

HOSTILE = "\"><script>alert(1)</script>\x01 ]]> & 某公司"
ATOM = "{http://www.w3.org/2005/Atom}"


def valid(data: bytes, address: str) -> list[ET.Element]:
    """The entries of a feed that has what RFC 4287 (4.1.1, 4.1.2, 4.2.6, 3.3) asks for, once where it asks for one."""
    feed = ET.fromstring(data)
    assert feed.tag == f"{ATOM}feed"
    assert [each.text for each in feed.findall(f"{ATOM}author/{ATOM}name")] == ["Shuyan"]
    assert [link.get("href") for link in feed.findall(f"{ATOM}link[@rel='self']")] == [address]
    entries = feed.findall(f"{ATOM}entry")
    for each in (feed, *entries):
        (id_,), (title,), (updated,) = (each.findall(f"{ATOM}{name}") for name in ("id", "title", "updated"))
        assert (id_.text or "").startswith("http")
        assert title.text
        assert dt.datetime.fromisoformat(updated.text or "").tzinfo is not None
    for each in entries:
        assert len(each.findall(f"{ATOM}summary")) == len(each.findall(f"{ATOM}link[@rel='alternate']")) == 1
        assert each.find(f"{ATOM}category[@term]") is not None
    assert len({each.findtext(f"{ATOM}id") for each in entries}) == len(entries)
    times = [each.findtext(f"{ATOM}updated") or "" for each in entries]
    assert not times or feed.findtext(f"{ATOM}updated") == max(times)
    return entries


def test_public_notices_are_a_feed(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(notices.CLOSINGS, "test", lambda *_: None)
    client, address = shared_app().test_client(), "http://127.0.0.1:8700/api/v1/notices.atom"
    assert valid(client.get("/api/v1/notices.atom").data, address) == []
    with db.transaction() as session:
        operator = make_city(session)["operator"]
        facts = [{"label_zh": "单位", "label_en": "Organisation", "value_zh": HOSTILE, "value_en": HOSTILE}]
        ids = [notices.publish(session, operator, kind="test", subject=f"thing_{n}", organisation_id=operator.organisation_id or "",
                               title_zh=HOSTILE, title_en=f"Notice {n}", working_days=5, facts=facts).id for n in range(3)]
    answer = client.get("/api/v1/notices.atom")
    assert answer.mimetype == "application/atom+xml"
    first = valid(answer.data, address)
    assert [each.findtext(f"{ATOM}id") for each in first] == [f"http://127.0.0.1:8700/notices/{one}" for one in reversed(ids)]
    assert (first[0].findtext(f"{ATOM}title") or "").startswith(HOSTILE.replace("\x01", "\ufffd"))
    with clock.shifted(dt.timedelta(days=40)):
        deadlines.fire_due()
    closed = valid(client.get("/api/v1/notices.atom").data, address)  # the end is told as a change of the same entry
    assert [each.findtext(f"{ATOM}id") for each in closed] == [each.findtext(f"{ATOM}id") for each in first]
    assert (closed[0].findtext(f"{ATOM}updated") or "") > (first[0].findtext(f"{ATOM}updated") or "")
    page = client.get("/notices").text
    assert 'rel="alternate" type="application/atom+xml"' in page


def test_changes_of_the_catalogue_are_a_feed(sqlite_database: Any) -> None:
    made = zone()
    with db.transaction() as session:
        node = computing.nodes_by_id(session, [made.departments[0].node_id])[made.departments[0].node_id]
        catalogue.sync_resources(session, node, [air(title=HOSTILE, frequency="daily")])
    data = shared_app().test_client().get("/api/v1/resources/changes.atom").data
    assert len(valid(data, "http://127.0.0.1:8700/api/v1/resources/changes.atom")) == 4
