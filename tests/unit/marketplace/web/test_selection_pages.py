"""A call for operators on its pages: published by a second person, applied to, scored alone, ranked for everybody."""

from __future__ import annotations

import datetime as dt
import io
import re
from typing import Any

from tests.factories.agreements import PDF
from tests.unit.marketplace.web.conftest import PASSWORD, Pages
from tests.unit.marketplace.web.test_agreement_pages import colleague

from marketplace import clock, db
from marketplace.actor import SYSTEM
from marketplace.deadlines import service as deadlines
from marketplace.parties import service as parties


def expert(pages: Pages, number: int) -> Any:
    """A department's member, signed in; the address is ``expert<number>@example.org``."""
    with db.transaction() as session:
        parties.add_member(session, SYSTEM, organisation_id=pages.city.departments[number], email=f"expert{number}@example.org",
                           display_name=f"专家{number}", password=PASSWORD)
    client = pages.visitor()
    assert pages.post(client, "/sign-in", "/sign-in", email=f"expert{number}@example.org", password=PASSWORD).status_code == 303
    return client


def notice(**changes: str) -> dict[str, str]:
    until = (clock.today() + dt.timedelta(days=10)).isoformat()
    return {"title_zh": "运营机构遴选", "title_en": "Selection", "conditions": "条件 <i>x</i>", "apply_until": until, "name_zh.0": "安全",
            "name_en.0": "Security", "weight.0": "60", "name_zh.1": "技术", "name_en.1": "Technique", "weight.1": "40", **changes}


def test_a_call_is_played_on_its_pages(pages: Pages) -> None:
    authority, reviewer, operator = pages.member("data_authority"), colleague(pages, "data_authority"), pages.member("operator")
    experts = [expert(pages, number) for number in range(3)]
    pages.post(authority, "/selections/new", "/selections/new", **notice(**{"weight.1": "41"}))
    assert "they add up to 101" in authority.get("/selections/new").text
    page = pages.post(authority, "/selections/new", "/selections/new", **notice()).location
    assert pages.visitor().get(page).status_code == 404

    def act(client: Any, **data: Any) -> str:
        assert pages.post(client, page, page, **data).status_code == 303
        return str(client.get(page).text)

    for number in range(3):
        assert f"专家{number}" in act(authority, act="name_expert", email=f"expert{number}@example.org")
    assert "no such member" in act(authority, act="name_expert", email="nobody@example.org")
    act(reviewer, act="publish")
    visitor = pages.visitor("zh")
    assert "安全" in visitor.get(page).text
    assert "&lt;i&gt;x" in visitor.get(page).text
    shown = act(operator, act="apply", statement="方案正文", files=(io.BytesIO(PDF), "材料.pdf"))
    assert "方案正文" in shown
    assert "方案正文" not in authority.get(page).text
    with clock.shifted(dt.timedelta(days=12)):
        deadlines.fire_due()
    assert "方案正文" in authority.get(page).text
    for client in experts:
        found = re.search(r'name="application" value="([^"]+)"', client.get(page).text)
        assert found
        data = {"points.c1": "80", "points.c2": "70"}
        shown = act(client, act="score", application=found.group(1), comment="稳妥", **data)
    assert "76.00" in visitor.get(page).text
    assert "稳妥" in shown
    assert "稳妥" not in visitor.get(page).text
    assert "The operator" in act(authority, act="negotiate")
    terms = {"mode": "overall", "months": "36", "usage_fee": "1000", "split.treasury": "10", "split.operator": "20",
             "split.source_departments": "30", "split.developer": "40"}
    act(authority, act="conclude", **terms)
    assert "public notice has begun" in act(reviewer, act="approve")
    assert "公示中" in visitor.get(page).text
