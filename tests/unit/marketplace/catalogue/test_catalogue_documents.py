"""The catalogue as DCAT-AP and Atom: accepted by the profile's own shapes, whatever a department wrote into its texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.factories.apps import shared_app
from tests.factories.federation import AIR, Zone, air, zone

from marketplace import db
from marketplace.actor import PUBLIC
from marketplace.catalogue import dcat
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing

SHAPES = Path(__file__).resolve().parents[5] / "shared/standards/dcat-ap-3.0.1"
HOSTILE = "\"><script>alert(1)</script>\x01 ]]> \\u0000 }"


@pytest.fixture
def market(sqlite_database: Any) -> Zone:
    made = zone()
    with db.transaction() as session:
        node = computing.nodes_by_id(session, [made.departments[0].node_id])[made.departments[0].node_id]
        catalogue.sync_resources(session, node, [
            air(frequency="daily", standard="HJ 633-2012", steward="监测处", tags=["空气"],
                profile={"measured_at_ms": 1, "completeness": 91, "validity": 99, "uniqueness": 100, "timeliness": 50, "columns": []}),
            air("odd", title=HOSTILE, description=HOSTILE, columns=[{**AIR[0], "title": HOSTILE}])])
    return made


def pages(limit: int) -> list[dict[str, Any]]:
    out, cursor = [], None
    while True:
        with db.reading() as session:
            out.append(dcat.catalog(session, PUBLIC, "https://market.example", cursor=cursor, limit=limit))
        following = out[-1]["@graph"][0]["hydra:view"].get("hydra:next")
        if following is None:
            return out
        cursor = following["@id"].partition("cursor=")[2]


def test_every_resource_is_on_one_page(market: Zone) -> None:
    ids = [item["@id"] for page in pages(1) for item in page["@graph"] if item["@type"] == "dcat:Dataset"]
    assert len(ids) == len(set(ids)) == 4


def test_a_client_gets_the_form_it_prefers(market: Zone) -> None:
    client = shared_app().test_client()
    one = market.departments[0].resource_id
    for path in ("/api/v1/resources", f"/api/v1/resources/{one}"):
        assert client.get(path).mimetype == "application/json"
        linked = client.get(path, headers={"Accept": "application/ld+json"})
        assert (linked.mimetype, "Accept" in linked.vary) == ("application/ld+json", True)
        assert any(item["@type"] == "dcat:Dataset" for item in json.loads(linked.data)["@graph"])
    feed = client.get("/api/v1/resources/changes.atom")
    assert feed.mimetype == "application/atom+xml"
    titles = [each.text for each in ET.fromstring(feed.data).iter("{http://www.w3.org/2005/Atom}title")]
    assert HOSTILE.replace("\x01", "\ufffd") in titles


def test_rest_finds_counts_and_tells_changes(market: Zone) -> None:
    client = shared_app().test_client()
    one = market.departments[0].resource_id
    found = client.get("/api/v1/resources", query_string={"q": "空气", "tag": "空气", "grade": 2, "frequency": "daily"}).json
    assert [item["id"] for item in found["items"]] == [one]
    facets = client.get("/api/v1/resources/facets").json
    assert (facets["total"], facets["exact"], facets["counts"]["frequency"]) == (4, True, [{"value": "daily", "count": 1}])
    changes = client.get("/api/v1/resources/changes", query_string={"limit": 2}).json
    rest = client.get("/api/v1/resources/changes", query_string={"cursor": changes["next"]}).json
    assert [item["kind"] for item in [*changes["items"], *rest["items"]]] == ["registered"] * 3 + ["changed", "registered"]
    assert client.get("/api/v1/resources/changes", query_string={"after": rest["items"][-1]["index"]}).json == {"items": [], "next": None}
    assert client.get(f"/api/v1/resources/{one}/quality").json["items"][0]["timeliness"] == 50
    assert client.get(f"/api/v1/resources/{one}/history").json["items"][0]["kind"] == "changed"
    assert client.get(f"/api/v1/resources/{one}").json["open_objections"] == 0
    for path in ("/api/v1/elements", "/api/v1/negative-list"):
        assert client.get(path).json == {"items": [], "next": None}
    assert client.post("/api/v1/negative-list/check", json={"resources": {one: ["pm25"]}}).json["items"] == []
    for path in ("/api/v1/negative-list", "/api/v1/element-decisions", "/api/v1/quality-objections"):
        assert client.post(path, json={}).status_code == 401
    assert client.get("/api/v1/elements/不存在/的").status_code == 404
    assert client.get("/api/v1/resources", query_string={"sort": "beauty"}).status_code == 422


@pytest.mark.needs_data
@pytest.mark.skipif(not SHAPES.is_dir(), reason="the shared data set of DCAT-AP shapes is not beside the checkout")
def test_the_shapes_of_dcat_ap_accept_it(market: Zone) -> None:
    import pyshacl
    import rdflib

    shapes = rdflib.Graph()
    for name in ("dcat-ap-SHACL.ttl",):
        shapes.parse(SHAPES / name)
    with db.reading() as session:
        one = dcat.dataset(session, catalogue.get_resource(session, PUBLIC, market.departments[0].resource_id), "https://market.example")
    for document in [*pages(2), one]:
        data = rdflib.Graph().parse(data=json.dumps(document), format="json-ld")
        conforms, _, text = pyshacl.validate(data, shacl_graph=shapes)
        assert conforms, text
        broken = rdflib.Graph().parse(data=json.dumps(document).replace("dct:title", "dct:nothing"), format="json-ld")
        assert not pyshacl.validate(broken, shacl_graph=shapes)[0]


def test_publisher_and_contact_are_pages_that_say_who_they_are(market: Zone) -> None:
    client, base = shared_app().test_client(), "https://market.example"
    with db.reading() as session:
        document = dcat.dataset(session, catalogue.get_resource(session, PUBLIC, market.departments[0].resource_id), base)
    found = next(item for item in document["@graph"] if item["@type"] == "dcat:Dataset")
    for iri, said in ((found["dct:publisher"]["@id"], "station0"), (found["dcat:contactPoint"]["@id"], "监测处")):
        path, _, fragment = iri.removeprefix(base).partition("#")
        page = client.get(path, headers={"Accept-Language": "zh"}).text
        assert path == "/departments/org_station0"
        assert said in page
        assert not fragment or f'id="{fragment}"' in page
    listed = client.get("/api/v1/departments").json["items"]
    assert [(one["id"], one["resources"]) for one in listed][:2] == [("org_station0", 2), ("org_station1", 1)]
    assert client.get("/api/v1/departments/org_station0").json["stewards"] == [{"name": "监测处", "resources": 1}]
    for other in ("org_developer", "nobody"):
        assert client.get(f"/api/v1/departments/{other}").status_code == client.get(f"/departments/{other}").status_code == 404
