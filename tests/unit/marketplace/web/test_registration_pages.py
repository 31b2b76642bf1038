"""Registering on pages: a visitor begins, completes and submits; the operator decides; the public objects."""

from __future__ import annotations

import io
import re
from typing import Any

from tests.factories.registering import PASSWORD, PDF, all_well, application, credit_code, second, submitted

from marketplace import db
from marketplace.notices import service as notices
from marketplace.parties import service as parties
from marketplace.registration import service as registration

SCRIPT = "<script>alert(1)</script>"


def begin(pages: Any, **changes: str) -> Any:
    values = application(**changes)
    visitor = pages.visitor()
    answer = pages.post(visitor, "/register", "/register", **values)
    return visitor, values, answer


def test_a_visitor_registers_completes_and_submits_and_sees_nothing_else_before(pages: Any) -> None:
    visitor, values, answer = begin(pages, name_zh=SCRIPT, name_en=SCRIPT)
    assert answer.status_code == 303
    answer = pages.post(visitor, "/sign-in", "/sign-in", email=values["email"], password=PASSWORD)
    where = visitor.get("/registrations").headers["Location"]
    page = visitor.get(where).text
    assert "Still missing" in page
    assert SCRIPT not in page
    assert visitor.get("/jobs").status_code in (302, 303, 403)
    answer = pages.post(visitor, where, where, action="edit", name_en=SCRIPT, contact_name=SCRIPT, contact_phone="+86 123 45678",
                        contact_email="a@example.org", statement=SCRIPT, q_kind="business_licence", q_number=SCRIPT, q_issuer=SCRIPT,
                        q_until="2099-01-01", no_incidents="yes", ownership_declared="yes", file=(io.BytesIO(PDF), "licence.pdf"))
    assert answer.status_code == 303
    page = visitor.get(where).text
    assert "Still missing" not in page
    assert SCRIPT not in page
    assert "licence.pdf" in page
    pages.post(visitor, where, where, action="submit")
    operator = pages.member("operator", "zh")
    shown = operator.get(where).text
    assert "逐项审核" in shown
    assert SCRIPT not in shown
    assert re.search(r'<option value="no"', shown)
    assert "提交了注册申请" in operator.get("/messages").text
    assert pages.member("consumer").get(where).status_code == 404


def test_bad_beginnings_are_said_on_the_form(pages: Any) -> None:
    _, _, answer = begin(pages, credit_code="123")
    assert answer.status_code == 422
    assert "credit code" in answer.text
    _, values, _ = begin(pages)
    _, _, answer = begin(pages, credit_code=values["credit_code"])
    assert answer.status_code == 409


def test_anybody_objects_to_a_notice_and_the_authority_answers(pages: Any) -> None:
    with db.transaction() as session:
        row, _ = submitted(session)
    with db.transaction() as session:
        registration.check_items(session, pages.city["operator"], row.id, all_well(row))
    with db.transaction() as session:
        registration.accept(session, second(pages.city["operator"]), row.id)
    with db.reading() as session:
        notice = notices.list_notices(session).items[0]
    visitor, where = pages.visitor(), f"/notices/{notice.id}"
    assert notice.title_en in visitor.get("/notices?kind=registration&status=open").text
    assert pages.post(visitor, where, f"{where}/objections", text=SCRIPT, contact="me").status_code == 303
    assert "me" not in re.findall(r"<p[^>]*>.*?</p>", visitor.get(where).text)
    authority = pages.member("data_authority")
    shown = authority.get(where).text
    assert SCRIPT not in shown
    objection = re.search(r'action="(/objections/[^"]+)"', shown)
    assert objection
    pages.post(authority, where, objection.group(1), decision="uphold", answer="True")
    assert "Refused" in authority.get(f"/registrations/{row.id}").text


def test_lists_ownership_and_measures_on_pages(pages: Any) -> None:
    authority, operator, developer = pages.member("data_authority"), pages.member("operator"), pages.member("developer")
    code = credit_code()
    data = f"name,credit_code,reason\nThe developer,{code},x\n".encode()
    pages.post(operator, "/credit", "/credit", kind="tax", source="Tax office", published_on="2026-01-01", file=(io.BytesIO(data), "l.csv"))
    assert "Tax office" in operator.get("/credit").text
    for page in ("/credit", "/ownership", "/registrations", "/notices", "/messages"):
        assert authority.get(page).status_code == 200, page
    assert developer.get("/standing").status_code == 200
    pages.post(developer, "/messages", "/messages/mail", wanted="no")
    assert "You get no e-mail." in developer.get("/messages").text
    owner = pages.city["developer"].organisation_id
    pages.post(authority, "/ownership", "/shareholdings", owner_name="A", owner_code=code, owned_name="B", owned_code=credit_code(),
               share="51.5", since="2026-01-01")
    page = authority.get("/ownership").text
    assert "51.5%" in page
    assert "the operator controls nobody" in page
    with db.transaction() as session:
        parties.set_credit_code(session, pages.city["operator"].organisation_id, code)
    page = authority.get("/ownership").text
    assert re.search(r'<g class="life-state shares-controlled"><title>B ', page)
    assert "A holds 51.5% of B" in page  # the picture's words
    assert developer.get("/ownership").status_code == 200
    pages.post(authority, "/ownership", f"/organisations/{owner}/standing", action="suspend", reason="misuse")
    assert "misuse" in developer.get("/standing").text
    assert developer.get("/orders").status_code in (302, 303, 403)


def test_a_partner_is_filed_and_decided_by_forms(pages: Any) -> None:
    operator, authority = pages.member("operator"), pages.member("data_authority")
    values = {"name": "城投大数据", "credit_code": "91330100MA27XXXX0X", "cooperation": "联合运维", "qualifications": "等保三级", "duties": "各负其责",
              "starts_on": "2027-01-01", "ends_on": "2028-01-01"}
    assert pages.post(operator, "/partners/new", "/partners/new", **values).status_code == 422
    values["credit_code"] = "91350100M000100Y43"
    assert pages.post(operator, "/partners/new", "/partners/new", **{**values, "ends_on": "soon"}).status_code == 422
    answer = pages.post(operator, "/partners/new", "/partners/new", **values)
    assert answer.status_code == 303, answer.text[:500]
    place = answer.headers["Location"]
    assert authority.get(place).status_code == 404  # a draft is the operator's
    assert pages.post(operator, place, place, action="submit").status_code == 422  # no evidence yet
    assert pages.post(operator, place, f"{place}/files", file=(io.BytesIO(b"%PDF-1.7\n%"), "evidence.pdf")).status_code == 303
    assert pages.post(operator, place, place, action="submit").status_code == 303
    assert "城投大数据" in authority.get("/partners").text
    assert pages.post(authority, place, place, action="return", reason="补充资质").status_code == 303
    assert "补充资质" in operator.get(place).text
    assert pages.member("consumer").get("/partners").status_code == 403
