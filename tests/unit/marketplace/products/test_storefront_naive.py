"""Whatever is asked of the storefront, it answers as a search does that looks at every product in turn."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.factories.market import make_city

from marketplace import db
from marketplace.pricing import service as pricing
from marketplace.products import index, rules, storefront
from marketplace.products import service as products
from marketplace.text import query_tokens, tokens

WORDS = ("企业", "税收", "统计", "用电", "居民", "住院费用", "Score", "cost", "2026")
SECTORS, FORMS, PRICES = ("finance", "health"), ("api", "report"), (0, 50_000, 5_000_000)
MANY = 24


class Shown(NamedTuple):
    """What is known of a product that is on sale."""

    seq: int
    id: str
    words: frozenset[str]
    title: str
    price: int
    calls: int
    facets: dict[str, Any]


@pytest.fixture
def shown(database: Any) -> list[Shown]:
    """Products of two sellers with words, sectors, forms, prices and calls of all kinds; the last is off sale again."""
    chance, out = random.Random(4), []
    with db.transaction() as session:
        city = make_city(session)
        for number in range(MANY):
            seller = city[chance.choice(["developer", "operator"])]
            title = "".join(chance.sample(WORDS, 2)) if number % 5 else "统计"
            summary, price = " ".join(chance.sample(WORDS, 3)), chance.choice(PRICES)
            row = products.draft_product(session, seller, sector=chance.choice(SECTORS), delivery_form=chance.choice(FORMS), title_zh=title,
                                         title_en=f"Product {number % 3}", summary_zh=summary)
            pricing.set_price(session, seller, row.id, access_fee_fen=price, call_fee_fen=1)
            row.status = "listed"
            index.refresh(session, row)
            calls = chance.choice([0, 0, 7, 900])
            index.add_calls(session, {row.id: calls})
            texts = f"{title} {row.title_en} {summary} " + " ".join(_names(session, row.organisation_id))
            out.append(Shown(number, row.id, frozenset(tokens(texts)), title, price, calls, {
                "sector": row.sector, "form": row.delivery_form, "tier": row.tier, "band": rules.price_band(price), "provider": row.organisation_id}))
        row.status = "suspended"
        index.refresh(session, row)
    return out[:-1]


def _names(session: Any, organisation_id: str) -> tuple[str, str]:
    from marketplace.parties import service as parties

    owner = parties.get_organisation(session, organisation_id)
    return owner.name_zh, owner.name_en


ORDERS: dict[str, Any] = {"newest": lambda one: -one.seq, "title": lambda one: (one.title, one.seq), "price": lambda one: (one.price, one.seq),
                          "popular": lambda one: (-one.calls, -one.seq)}
WITH = st.fixed_dictionaries({}, optional={
    "sector": st.sampled_from([*SECTORS, "tax"]), "form": st.sampled_from(FORMS), "tier": st.sampled_from([1, 2]),
    "band": st.sampled_from([rules.price_band(price) for price in PRICES])})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(words=st.lists(st.sampled_from([*WORDS, "product", "住院", "没有"]), max_size=3), filters=WITH, sort=st.sampled_from(storefront.SORTS),
       counted=st.sampled_from([1, 4, 2_000]), limit=st.sampled_from([3, 50]), of=st.integers(0, 2))
def test_every_search_equals_a_naive_one(shown: list[Shown], words: list[str], filters: dict[str, Any], sort: str, counted: int, limit: int,
                                         of: int) -> None:
    q = " ".join(words)
    if of < 2:
        filters = filters | {"provider": shown[of].facets["provider"]}
    with_words = [one for one in shown if one.words.issuperset(query_tokens(q))]
    wanted = [one for one in with_words if filters.items() <= one.facets.items()]
    with pytest.MonkeyPatch.context() as patch, db.reading() as session:
        patch.setattr(storefront, "COUNTED", counted)  # so that few products are many already
        found, cursor = [], None
        while True:
            page = products.storefront(session, q=q, sort=sort, cursor=cursor, limit=limit, **filters)
            found += [item.product.id for item in page.items]
            if (cursor := page.next) is None:
                break
        assert found == [one.id for one in sorted(wanted, key=ORDERS[sort])]
        facets = products.facets(session, q=q, **filters)
    partial = bool(words) and len(with_words) > counted
    seen = sorted(with_words, key=ORDERS["newest"])[:counted] if words else with_words
    assert (facets.total, facets.partial) == (sum(filters.items() <= one.facets.items() for one in seen), partial)
    for name in storefront.FACETS:
        others = {key: value for key, value in filters.items() if key != name}
        tally = Counter(str(one.facets[name]) for one in seen if others.items() <= one.facets.items())
        assert dict(facets.counts[name]) == dict(tally), name
        assert [count for _value, count in facets.counts[name]] == sorted(tally.values(), reverse=True)
