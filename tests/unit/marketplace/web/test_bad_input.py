"""What people type, paste, upload and send again that must not be taken, through the doors they use."""

from __future__ import annotations

import datetime as dt
import io
import re
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select
from tests.factories.agreements import operation_agreement
from tests.factories.registering import credit_code
from tests.unit.marketplace.web.conftest import Pages
from tests.unit.marketplace.web.test_account_pages import last_link
from tests.unit.marketplace.web.test_agreement_pages import terms

from marketplace import clock, db
from marketplace.agreements.models import AgreementRenewal
from marketplace.attachments.models import Attachment
from marketplace.authorisation.models import Scenario
from marketplace.parties import service as parties
from marketplace.registration.models import Shareholding

TEMPLATES = Path(db.__file__).parent / "web" / "templates"
SCENARIO = {"title": "智能理赔", "purpose": "核赔", "necessity": "必要", "effect": "提速", "sector": "health", "months": "12"}


def count(table: Any) -> int:
    with db.reading() as session:
        return len(session.exec(select(table)).all())


def test_no_template_lets_a_text_pass_as_markup() -> None:
    """Autoescaping alone keeps script in any text field from running; nothing switches it off."""
    for path in TEMPLATES.rglob("*"):
        if path.suffix in (".html", ".svg", ".xml"):
            assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("field", ["title", "purpose", "necessity", "effect"])
def test_a_text_that_is_too_long_or_wrongly_encoded_makes_nothing(pages: Pages, field: str) -> None:
    client = pages.member("developer")
    answer = pages.post(client, "/scenarios/new", "/scenarios", **{**SCENARIO, field: "长" * 20_001})
    assert answer.status_code == 422
    assert "alert" in answer.text
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/scenarios/new").text)
    assert token
    for octets in ("%FF%FE", "%ED%A0%80", "%00"):  # no UTF-8, half of a pair, a control character
        sent = client.post("/scenarios", content_type="application/x-www-form-urlencoded", headers={"Referer": "http://localhost/scenarios/new"},
                           data=f"csrf_token={token.group(1)}&sector=health&months=12&{field}={octets}")
        assert sent.status_code in (303, 400, 422)
    with db.reading() as session:
        for row in session.exec(select(Scenario)):
            assert "\x00" not in getattr(row, field)
            assert getattr(row, field).encode()  # whatever was taken is text


def test_a_form_sent_again_makes_one(pages: Pages) -> None:
    client = pages.member("developer")
    key = re.search(r'name="key" value="([^"]+)"', client.get("/scenarios/new").text)
    assert key
    sent = [pages.post(client, "/scenarios/new", "/scenarios", **SCENARIO, key=key.group(1)).headers["Location"] for _ in range(2)]
    assert (sent[0], count(Scenario)) == (sent[1], 1)


@pytest.mark.parametrize("data", [b"MZ\x90\x00", b"<script>alert(1)</script>", b"PK\x03\x04", b"%!PS-Adobe"], ids=["exe", "html", "zip", "ps"])
def test_a_file_of_another_kind_is_refused_whatever_it_is_called(pages: Pages, data: bytes) -> None:
    client = pages.member("data_authority")
    answer = pages.post(client, "/agreements/new", "/agreements/new", **terms(pages.city, plan=(io.BytesIO(data), "plan.pdf")))
    assert "plan.pdf" in client.get(answer.headers["Location"]).text
    assert count(Attachment) == 0


def test_an_invitation_that_is_too_old_lets_nobody_in(pages: Pages) -> None:
    pages.post(pages.member("consumer"), "/members", "/members/invite", email="guest@example.org", roles="finance")
    link = last_link()
    with clock.shifted(dt.timedelta(days=60)):
        assert pages.visitor().get(link).status_code == 410


@pytest.mark.parametrize(("days", "said"), [(300, "opens"), (30, "closed"), (120, "")])
def test_renewal_is_asked_for_in_its_time_only(pages: Pages, days: int, said: str) -> None:
    with db.transaction() as session:
        agreement = operation_agreement(session, pages.city["data_authority"], pages.city["operator"], months=12)
    with clock.shifted(dt.timedelta(days=365 - days)):
        client = pages.member("operator")
        pages.post(client, f"/agreements/{agreement}", f"/agreements/{agreement}", act="ask_renewal", statement="申请续期")
    assert count(AgreementRenewal) == (0 if said else 1)


def coded(session: Session, pages: Pages, kind: str) -> str:
    code = credit_code()
    parties.set_credit_code(session, pages.city[kind].organisation_id or "", code)
    return code


def declared(pages: Pages, client: Any, owner: str, owned: str, share: str) -> None:
    pages.post(client, "/ownership", "/shareholdings", owner_code=owner, owner_name="甲公司", owned_code=owned, owned_name="乙公司",
               share=share)


def test_a_company_of_the_operators_gets_no_part_in_the_second_tier(pages: Pages) -> None:
    with db.transaction() as session:
        operator, developer, between = coded(session, pages, "operator"), coded(session, pages, "developer"), credit_code()
    developing, operating = pages.member("developer"), pages.member("operator")
    declared(pages, operating, operator, between, "51")
    assert pages.post(developing, "/scenarios/new", "/scenarios", **SCENARIO).status_code == 303
    declared(pages, operating, between, developer, "51")
    pages.post(developing, "/account", "/scenarios", **SCENARIO)
    assert count(Scenario) == 1


def test_shares_held_in_a_circle_or_of_oneself_end_nowhere(pages: Pages) -> None:
    with db.transaction() as session:
        operator = coded(session, pages, "operator")
    first, second = credit_code(), credit_code()
    client = pages.member("operator")
    for owner, owned in ((first, second), (second, first), (first, first)):
        declared(pages, client, owner, owned, "60")
    declared(pages, client, operator, first, "40")
    assert count(Shareholding) == 3  # not the one of itself; the rest of the circle is whose it is
    assert client.get("/ownership").status_code == 200
    for share in ("0", "-1", "100.01", "40.001", "一半", "1e3"):
        declared(pages, client, operator, second, share)
    assert count(Shareholding) == 3
