"""An agreement walked through its pages by the people of both sides, and looked at by those who may see only a part."""

from __future__ import annotations

import io
import re
from typing import Any

from tests.factories.agreements import PDF, pass_notice
from tests.factories.market import City
from tests.unit.marketplace.web.conftest import PASSWORD, Pages

from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.attachments.service import MAX_BYTES
from marketplace.parties import service as parties


def colleague(pages: Pages, kind: str) -> Any:
    """A second member of the same organisation, signed in."""
    with db.transaction() as session:
        parties.add_member(session, SYSTEM, organisation_id=pages.city[kind].organisation_id or "", email=f"{kind}2@example.org",
                           display_name="Another", password=PASSWORD)
    client = pages.visitor()
    assert pages.post(client, "/sign-in", "/sign-in", email=f"{kind}2@example.org", password=PASSWORD).status_code == 303
    return client


def terms(city: City, **changes: Any) -> dict[str, Any]:
    files = {name: (io.BytesIO(PDF), f"{name}.pdf") for name in ("plan", "text")}
    return {"operator_id": city["operator"].organisation_id or "", "mode": "overall", "months": "36", "usage_fee": "1200.50",
            "split.treasury": "10", "split.operator": "20", "split.source_departments": "30", "split.developer": "40",
            **files, **changes}


def test_an_agreement_is_drafted_answered_approved_and_signed_on_pages(pages: Pages) -> None:
    authority, reviewer, operator = pages.member("data_authority"), colleague(pages, "data_authority"), pages.member("operator")
    answer = pages.post(authority, "/agreements/new", "/agreements/new", **terms(pages.city, months="37"))
    assert "1 to 36 months, not for 37" in authority.get("/agreements/new").text
    answer = pages.post(authority, "/agreements/new", "/agreements/new", **terms(pages.city))
    assert answer.status_code == 303
    page = answer.location
    assert "plan.pdf" in authority.get(page).text
    assert operator.get(page).status_code == 200
    assert "Hand over" not in re.sub(r"<table.*?</table>|<svg.*?</svg>", "", operator.get(page).text, flags=re.S)

    def act(client: Any, **data: str) -> str:
        assert pages.post(client, page, page, **data).status_code == 303
        return str(client.get(page).text)

    act(authority, act="propose")
    assert "Answer terms of an agreement" in operator.get("/home").text
    changed = pages.post(operator, f"{page}/terms", f"{page}/terms", **{**terms(pages.city, usage_fee="1000"), "plan": (io.BytesIO(), ""),
                                                                    "text": (io.BytesIO(), ""), "note": "费用偏高"})
    assert changed.status_code == 303
    shown = authority.get(page).text
    assert "¥1,200.50" in shown
    assert "¥1,000.00" in shown
    assert "费用偏高" in shown
    act(authority, act="accept", number="2")
    assert "another reviewer has to" in act(authority, act="approve")
    assert "public notice has begun" in act(reviewer, act="approve")
    with db.transaction() as session:
        pass_notice(session, page.rsplit("/", 1)[1])
    for client in (operator, authority):
        digest = re.search(r'name="digest" value="(sha256:[0-9a-f]{64})"', client.get(page).text)
        assert digest
        shown = act(client, act="sign", digest=digest.group(1))
    assert "In force" in shown
    assert "Last day" in shown
    for reader, whole in ((pages.visitor(), False), (pages.member("developer"), False), (operator, True)):
        text = reader.get(page).text
        assert "¥1,000.00" in text
        assert ("plan.pdf" in text) is whole
        assert page in reader.get("/agreements").text
    file = re.search(r'href="(/agreements/[^"]+/files/[^"]+)"', operator.get(page).text)
    assert file
    assert operator.get(file.group(1)).data == PDF
    assert pages.member("developer").get(file.group(1)).status_code == 404


def test_what_is_not_public_is_not_found_by_others(pages: Pages) -> None:
    authority = pages.member("data_authority")
    page = pages.post(authority, "/agreements/new", "/agreements/new", **terms(pages.city)).location
    for reader in (pages.visitor(), pages.member("developer"), pages.member("consumer")):
        assert reader.get(page).status_code == 404
    assert pages.visitor().get("/agreements/new").status_code == 302
    assert pages.member("operator").get("/agreements/new").status_code == 403
    for language, title in (("zh", "授权协议"), ("en", "Agreements")):
        assert title in pages.visitor(language).get("/agreements").text


def test_script_in_a_text_is_shown_as_text(pages: Pages) -> None:
    authority = pages.member("data_authority")
    page = pages.post(authority, "/agreements/new", "/agreements/new",
                      **terms(pages.city, conditions="<script>alert(1)</script>", note="<b>x</b>")).location
    shown = authority.get(page).text
    assert "<script>alert(1)" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "<b>x</b>" not in shown


def test_a_form_takes_files_of_the_allowed_size_and_names_one_above_it(pages: Pages) -> None:
    client = pages.member("data_authority")
    for size, wanted in ((MAX_BYTES, "应急预案.pdf</a>"), (MAX_BYTES + 1, "应急预案.pdf” is too large; at most 10 MB")):
        answer = pages.post(client, "/agreements/new", "/agreements/new", **{
            **terms(pages.city), "plan": (io.BytesIO(PDF.ljust(size, b"0")), "应急预案.pdf")})
        assert answer.status_code == 303
        assert wanted in client.get(answer.location).text
    answer = pages.post(client, "/agreements/new", "/agreements/new", **{
        **terms(pages.city), "plan": (io.BytesIO(b"0" * (6 * MAX_BYTES)), "a.pdf")})
    assert answer.status_code == 413
    assert "too large" in answer.text
    stranger = pages.visitor()
    assert stranger.post("/sign-in", data={"email": (io.BytesIO(b"0" * MAX_BYTES), "a.pdf")}).status_code == 413
