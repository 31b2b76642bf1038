"""The catalogue and the storefront through the SDK and its command line."""

from __future__ import annotations

import httpx
import pytest
from tests.factories.apps import shared_app
from tests.factories.federation import Zone, zone
from tests.factories.market import make_city, make_product

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.parties import service as parties

SECRET = "s" * 43


@pytest.fixture
def transport(sqlite_database: object) -> httpx.WSGITransport:
    return httpx.WSGITransport(app=shared_app())


def connected(transport: httpx.WSGITransport, organisation: str, scope: str) -> shuyan.Market:
    with db.transaction() as session:
        parties.create_client(session, SYSTEM, name=organisation, scope=scope, organisation_id=organisation, client_id=organisation, secret=SECRET)
    return shuyan.connect("http://market", client_id=organisation, client_secret=SECRET, transport=transport)


def test_the_catalogue(transport: httpx.WSGITransport) -> None:
    made: Zone = zone()
    resource = made.departments[0].resource_id
    with connected(transport, "org_developer", "read jobs objections") as developer, connected(transport, "org_data_authority", "read grants") as authority:
        assert developer.resources.facets("空气")["counts"]["sector"] == [{"value": "environment", "count": 3}]
        assert developer.resources.facets(sector="health")["total"] == 0
        changes = list(developer.resources.changes())
        assert [one["kind"] for one in changes] == ["registered"] * 3
        assert list(developer.resources.changes(changes[-1]["index"])) == []
        assert [one["kind"] for one in developer.resources.history(resource)] == ["registered"]
        assert developer.resources.quality(resource) == []
        (page,) = developer.resources.dcat()
        assert sum(node.get("@type") == "dcat:Dataset" for node in page["@graph"]) == 3
        assert list(developer.elements.list(status="conflict")) == []
        entry = authority.negative_list.enter("column", "个人敏感信息", resource_id=resource, column="remark")
        assert [hit["entry_id"] for hit in developer.negative_list.check({resource: ["remark", "pm25"]})] == [entry["id"]]
        assert authority.negative_list.revise(entry["id"], reason="涉及个人")["version"] == 2
        authority.negative_list.withdraw(entry["id"], "已脱敏")
        assert [one["status"] for one in developer.negative_list.list()] == ["withdrawn"]
        assert len(developer.negative_list.get(entry["id"])["versions"]) == 3
        objection = developer.quality_objections.object(resource, "completeness", "大量缺失", column="pm25")
        assert [one["id"] for one in developer.quality_objections.list()] == [objection["id"]]
        assert "withdraw" in developer.quality_objections.get(objection["id"])["actions"]
        assert developer.quality_objections.act(objection["id"], "withdraw", "误报")["status"] == "withdrawn"


def test_the_storefront(transport: httpx.WSGITransport) -> None:
    with db.transaction() as session:
        city = make_city(session)
        product = make_product(session, city)
    with connected(transport, city["consumer"].organisation_id or "", "read orders") as consumer:
        assert [one.id for one in consumer.products.list(q="税收", band="low", sort="popular")] == [product]
        assert consumer.products.facets(q="税收")["facets"]["tier"] == [{"value": "2", "count": 1}]
        consumer.products.watch(product)
        assert [one["id"] for one in consumer.products.watched()] == [product]
        with connected(transport, city["developer"].organisation_id or "", "read products") as seller:
            seller.products.suspend(product)
        assert [one["kind"] for one in consumer.products.changes(product)] == ["suspended"]
        consumer.products.unwatch(product)
        assert list(consumer.products.watched()) == []
