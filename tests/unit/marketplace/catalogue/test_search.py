"""Resources are found the same way on both databases, in a number of queries that depends on neither question nor catalogue."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.federation import AIR, Zone, air, zone
from tests.factories.queries import counting

from marketplace import db
from marketplace.actor import PUBLIC
from marketplace.catalogue import index, search, tokens
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing

CATALOGUE = Path(__file__).resolve().parents[5] / "shared/data/china_public/catalog_firstdata_china.csv"


@pytest.fixture
def market(database: Any) -> Zone:
    return zone()


def sync(market: Zone, resources: list[dict[str, Any]], department: int = 0) -> dict[str, str]:
    with db.transaction() as session:
        node_id = market.departments[department].node_id
        return catalogue.sync_resources(session, computing.nodes_by_id(session, [node_id])[node_id], resources)


def found(q: str = "", *, sort: Any = "relevance", limit: int = 50, **filters: Any) -> list[str]:
    with db.reading() as session:
        rows, _ = catalogue.list_resources(session, PUBLIC, q=q, sort=sort, limit=limit, filters=catalogue.Filters(**filters))
        counted = catalogue.facets(session, PUBLIC, q=q, filters=catalogue.Filters(**filters))
    assert counted.exact
    assert counted.total == len(rows)
    return [row.name for row in rows]


SOME = [
    air("marriage", title="婚姻登记", title_en="Marriage registrations", description="自然人婚姻状况", tags=["民政"], sector="livelihood",
        frequency="daily", standard="GB/T 2261.2-2003", grade=3,
        columns=[{**AIR[0], "name": "status", "title": "婚姻状况", "element": "自然人.婚姻状况", "source": True}]),
    air("water", title="河流自动水质监测", title_en="River water quality", description="逐时", frequency="monthly", row_count=9,
        profile={"measured_at_ms": 1, "completeness": 91, "validity": 99, "uniqueness": 100, "columns": []}),
    air("traffic", title="路口车流", title_en="Traffic at junctions", sector="transport", tags=["交通", "实时"],
        profile={"measured_at_ms": 1, "completeness": 72, "validity": 99, "uniqueness": 100, "columns": []}),
]


def test_words_of_either_language_and_every_kind_of_place(market: Zone) -> None:
    sync(market, [])
    sync(market, [], 1)
    sync(market, [], 2)
    sync(market, SOME)
    assert found("婚姻状况") == found("自然人") == found("民政") == found("marriage") == found("REGISTRATIONS") == ["marriage"]
    assert found("regist") == ["marriage"]  # titles are found by the beginnings of their words
    assert found("水质监测") == ["water"]
    assert found("水质数据") == []  # no such thing
    assert found("河流监测") == ["water"]  # cut into words that stand apart
    assert found("监测站0") == ["traffic", "water", "marriage"]  # the department
    assert found("交通运输") == ["traffic"]  # the sector, as it is called
    assert found("ＧＢ 2261") == ["marriage"]
    assert found("!?") == found("\x00") == found("'\" OR 1") == []
    assert found("  ") == ["traffic", "water", "marriage"]


def test_filters_narrow_and_facets_count_what_is_left(market: Zone) -> None:
    for department in (1, 2):
        sync(market, [], department)
    sync(market, SOME)
    assert found(sector="transport") == ["traffic"]
    assert found(grade=3) == found(frequency="daily") == found(standard="GB/T 2261.2-2003") == ["marriage"]
    assert found(tags=("交通",)) == found(tags=("交通", "实时")) == ["traffic"]
    assert found(quality=90) == ["water"]
    assert found(quality=60) == ["traffic", "water"]
    assert found(quality=99) == []
    assert found("水", frequency="daily") == []
    assert found(organisation_id="org_station0", sort="rows") == ["traffic", "marriage", "water"]
    assert found(sort="quality") == ["water", "traffic", "marriage"]
    with db.reading() as session:
        everything = catalogue.facets(session, PUBLIC)
        assert everything.total == 3
        assert everything.counts["grade"] == [("2", 2), ("3", 1)]
        assert everything.counts["tag"] == [("交通", 1), ("实时", 1), ("民政", 1)]
        assert everything.counts == catalogue.facets(session, PUBLIC, filters=catalogue.Filters(organisation_id="org_station0")).counts
    sync(market, SOME[:1])
    with db.reading() as session:
        assert catalogue.facets(session, PUBLIC).counts["sector"] == [("livelihood", 1)]
    assert found() == found("婚姻") == ["marriage"]


@pytest.mark.parametrize("many", [1_000, 1])  # with 1, whatever is found counts as many
def test_pages_hold_everything_once(market: Zone, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(index, "MANY", {"sqlite": many, "postgresql": many})
    sync(market, [air(f"r{number}", title=["空气监测", "水"][number % 2], title_en="", row_count=number // 3,
                      description="监测 空气质量 2013") for number in range(9)])
    sorts: list[Any] = ["relevance", "title", "newest", "rows", "quality", "updated"]
    for sort in sorts:
        for q in ("", "监测", "空气质量 2013"):
            with db.reading() as session:
                whole = [row.id for row in catalogue.list_resources(session, PUBLIC, q=q, sort=sort, limit=50)[0]]
                pages: list[str] = []
                cursor = None
                while True:
                    rows, cursor = catalogue.list_resources(session, PUBLIC, q=q, sort=sort, cursor=cursor, limit=4)
                    pages += [row.id for row in rows]
                    if cursor is None:
                        break
            assert (sort, q, pages) == (sort, q, whole)
            assert len(set(pages)) >= 9
            place = {"title": lambda row: row.title, "rows": lambda row: -row.row_count}.get(sort)
            if place:
                with db.reading() as session:
                    rows, _ = catalogue.list_resources(session, PUBLIC, q=q, sort=sort, limit=50)
                assert [place(row) for row in rows] == sorted(place(row) for row in rows)


def test_beyond_what_is_counted_the_newest_are(market: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(market, [air(f"r{number}", sector=["environment", "health"][number % 2], tags=["共有", f"t{number}"]) for number in range(5)])
    for counted, total, sectors in ((5, 5, {"environment": 3, "health": 2}), (4, 4, {"environment": 2, "health": 2}), (1, 1, {"environment": 1})):
        monkeypatch.setattr(search, "COUNTED", counted)
        with db.reading() as session:
            facets = catalogue.facets(session, PUBLIC, filters=catalogue.Filters(tags=("共有",)))
        assert (facets.total, facets.exact, dict(facets.counts["sector"])) == (total, counted == 5, sectors)
        assert len(facets.counts["tag"]) == total + 1


def test_no_query_is_made_for_each_result(market: Zone) -> None:
    def queries() -> list[int]:
        counts = []
        for q, filters in (("", {}), ("监测", {}), ("监测", {"grade": 2}), ("", {"sector": "environment"})):
            with counting() as seen, db.reading() as session:
                catalogue.list_resources(session, PUBLIC, q=q, filters=catalogue.Filters(**filters), limit=100)
                catalogue.facets(session, PUBLIC, q=q, filters=catalogue.Filters(**filters))
            counts.append(len(seen))
        return counts

    sync(market, [air("one", title="监测")])
    few = queries()
    sync(market, [air(f"r{number}", title="监测", tags=["共有", f"t{number}"]) for number in range(80)])
    assert queries() == few
    assert max(few) <= 9


@given(st.text(max_size=200))
def test_any_question_is_cut_into_words(q: str) -> None:
    for word in tokens.of_question(q) + tokens.loosely(q):
        assert word
        assert tokens.hashed(word).isalnum()


@given(st.text(alphabet="空气质量监测站abc 1", min_size=1, max_size=12), st.text(alphabet="空气质量监测站abc 1", max_size=20))
def test_whatever_stands_in_a_title_is_found_by_it(part: str, rest: str) -> None:
    item = {"title": f"{rest} {part} {rest}", "title_en": "", "name": "x", "description": "", "sector": "health", "grade": 1,
            "organisation_id": "o", "frequency": "", "standard": "", "tags": [], "columns": [], "quality": -1}
    held = set(tokens.of_resource(item, ("甲局", "Bureau")))
    assert {tokens.hashed(f"{place}:{word}") for place in tokens.PLACES for word in tokens.of_question(part)} <= held


# --- a real catalogue ---


@pytest.mark.needs_data
def test_a_real_catalogue_answers_real_questions(sqlite_database: Any) -> None:
    if not CATALOGUE.exists():
        pytest.skip("the shared data sets are not here")
    market = zone()
    for department in (1, 2):
        sync(market, [], department)
    with CATALOGUE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {f"r{place}": row["id"] for place, row in enumerate(rows)}
    sync(market, [air(f"r{place}", title=row["name_zh"] or row["name_en"], title_en=row["name_en"], description=row["description_zh"],
                      tags=[tag[:40] for tag in row["tags"].split("|") if tag.strip()][:20], frequency={"annual": "yearly"}.get(row["update_frequency"], "")) for place, row in enumerate(rows)])

    def first(q: str, count: int = 3) -> list[str]:
        with db.reading() as session:
            return [names[row.name] for row in catalogue.list_resources(session, PUBLIC, q=q, limit=count)[0]]

    assert first("国家能源局", 1) == ["china-nea"]
    assert "china-nea" in first("能源局统计数据", 50)
    assert "china-nea" in first("能源生产消费统计", 10)
    assert "china-csdc" in first("证券登记结算")
    assert "china-csdc" in first("投资者账户")
    assert "cninfo" in first("上市公司财务报告")
    assert "china-sac" in first("securities broker ranking")
    assert first("cninfo", 1) == ["cninfo"]
