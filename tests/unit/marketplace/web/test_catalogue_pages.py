"""The catalogue's pages: found and filtered by anybody, claims settled, things barred and qualities objected to by whom it is for."""

from __future__ import annotations

from typing import Any

from tests.factories.federation import AIR, air

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.catalogue import service as catalogue
from marketplace.computing import nodes
from marketplace.parties import service as parties

PASSWORD = "a long enough password"  # as of the other members
SCRIPT = "<script>alert(1)</script>"


def registered(pages: Any) -> dict[str, str]:
    """A resource of two departments, both claiming one element; one with a script in every text; by department."""
    made = {}
    with db.transaction() as session:
        for number, node_id in enumerate(pages.city.nodes[:2]):
            node = nodes.nodes_by_id(session, [node_id])[node_id]
            columns = [{**AIR[0], "element": "气象/风向", "source": True, "title": SCRIPT}, *AIR[1:]]
            profile = {"measured_at_ms": 1_800_000_000_000 - 90_000_000 * (1 - number), "completeness": 80, "validity": 99, "uniqueness": 100,
                       "timeliness": None, "columns": [{"name": "pm25", "completeness": 80, "validity": 99}]}
            made[node.organisation_id] = catalogue.sync_resources(session, node, [air(
                title=f"水质{SCRIPT}", description=SCRIPT, tags=[SCRIPT], steward=SCRIPT, standard=SCRIPT, frequency="daily",
                columns=columns, profile=profile)])["air"]
        department = next(iter(made))
        parties.add_member(session, SYSTEM, organisation_id=department, email="source_department@example.org", display_name="x",
                           password=PASSWORD)
    return made


def test_the_whole_round(pages: Any) -> None:
    made = registered(pages)
    one, other = made.values()
    visitor = pages.visitor()
    for address in ("/resources", "/resources?q=水质&sector=environment&grade=2&sort=quality&quality=80", f"/resources?tag={SCRIPT}",
                    f"/resources/{one}", "/departments", f"/departments/{next(iter(made))}",
                    f"/departments/{next(iter(made))}?q=水质&sector=environment&grade=2&tag={SCRIPT}", "/elements", "/elements/气象/风向", "/negative-list", "/resources?sector=x&grade=9&sort=y&quality=1"):
        for tongue in ("en", "zh"):
            answer = pages.visitor(tongue).get(address)
            assert answer.status_code == 200, address
            assert SCRIPT not in answer.text, address
    assert "Completeness" in visitor.get(f"/resources/{one}").text
    department = visitor.get(f"/departments/{next(iter(made))}?sector=environment").text
    assert one in department
    assert other not in department
    assert f"/departments/{next(iter(made))}?sector=environment&amp;grade=2" in department  # facets narrow this department's resources
    authority, developer, owner = (pages.member(kind) for kind in ("data_authority", "developer", "source_department"))
    assert "Contested" in authority.get("/elements?status=conflict").text
    refused = pages.post(authority, "/elements/气象/风向", "/elements/气象/风向", source=f"{one} pm25", reason="")
    assert refused.status_code == 422
    settled = pages.post(authority, "/elements/气象/风向", "/elements/气象/风向", source=f"{one} pm25", reason="由其统一采集")
    assert settled.status_code == 303
    assert "由其统一采集" in visitor.get("/elements/气象/风向").text
    assert "Not the authoritative source" in visitor.get(f"/resources/{other}").text
    entered = pages.post(authority, "/negative-list", "/negative-list", kind="pattern", field="name", pattern="pm*", reason="涉密")
    assert entered.status_code == 303
    assert "negative list" in visitor.get(f"/resources/{one}").text
    entry = entered.headers["Location"]
    assert pages.post(authority, entry, entry, action="revise", pattern="pm2*", reason="缩小范围").status_code == 303
    assert pages.post(authority, entry, entry, action="withdraw", reason="条件已变化").status_code == 303
    assert "Withdrawn" in visitor.get(entry).text
    assert pages.post(authority, "/negative-list", "/negative-list", kind="pattern", field="name", pattern="*", reason="x").status_code == 422
    form = f"/resources/{one}/object"
    assert pages.post(developer, form, form, measure="validity", text=" ").status_code == 422
    objected = pages.post(developer, form, form, measure="validity", column="pm25", text=f"有负值{SCRIPT}")
    assert objected.status_code == 303
    page = objected.headers["Location"]
    assert SCRIPT not in owner.get(page).text
    assert "Report as fixed" not in developer.get(page).text.partition("Next step</h2>")[2]
    assert pages.post(owner, page, page, action="accept", text="").status_code == 422
    assert pages.post(owner, page, page, action="accept", text="已核实").status_code == 303
    assert pages.post(owner, page, page, action="fix", text="已订正").status_code == 303
    assert pages.post(developer, page, page, action="confirm", text="").status_code == 303
    assert "Closed" in developer.get("/quality-objections").text
    assert pages.member("consumer").get(page).status_code == 404
    for address in ("/quality-objections", page, form):
        assert visitor.get(address).status_code in (302, 401), address
