"""Searching with several words finds what has all of them, whether a word is rare or everybody's."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.factories.market import STATISTICS, make_city, make_output, register

from marketplace import db
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products import storefront

TITLES = ("企业税收统计", "企业用电统计", "居民用电评分")


@pytest.fixture
def found(database: Any) -> dict[str, str]:
    """The ids of three products on sale, by title."""
    ids = {}
    with db.transaction() as session:
        city = make_city(session)
        seller = city["developer"]
        for number, title in enumerate(TITLES):
            row = products.draft_product(session, seller, sector=("finance", "finance", "livelihood")[number], delivery_form="api",
                                         title_zh=title, title_en=f"Product {number}")
            products.create_version(session, seller, row.id, job_id=make_output(session, city, STATISTICS))
            pricing.set_price(session, seller, row.id, access_fee_fen=1000 * number, call_fee_fen=1)
            register(session, city, row.id)
            products.list_product(session, seller, row.id)
            ids[row.id] = title
    return ids


def test_every_word_counts(found: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"企业": {0, 1}, "企业 统计": {0, 1}, "用电": {1, 2}, "企业 用电": {1}, "统计 用电 企业": {1}, "税收 用电": set(), "product 评分": {2},
             "税收 无": set()}
    for counted, (words, wanted), sort in itertools.product((2000, 1), asked.items(), products.SORTS):
        monkeypatch.setattr(storefront, "COUNTED", counted)  # with 1, no word that two have is rare
        with db.reading() as session:
            page = products.storefront(session, q=words, sort=sort)
            assert {found[item.product.id] for item in page.items} == {TITLES[number] for number in wanted}, (counted, words, sort)
            if counted == 2000:
                facets = products.facets(session, q=words)
                assert (facets.total, facets.partial) == (len(wanted), False)


def test_facets_keep_the_other_filters(found: dict[str, str]) -> None:
    with db.reading() as session:
        for words in (None, "product"):  # from the table of combinations, and from what was found
            facets = products.facets(session, q=words, sector="finance", tier=2)
            assert facets.total == 2
            assert facets.counts["sector"] == [("finance", 2), ("livelihood", 1)]
            assert facets.counts["form"] == [("api", 2)]
            assert facets.counts["tier"] == [("2", 2)]
            assert dict(facets.counts["band"]) == {"free": 1, "low": 1}
            assert [count for _value, count in facets.counts["provider"]] == [2]
            assert products.facets(session, q=words, sector="health").counts["sector"] == [("finance", 2), ("livelihood", 1)]
            assert products.facets(session, q=words, provider="org_nobody").total == 0
