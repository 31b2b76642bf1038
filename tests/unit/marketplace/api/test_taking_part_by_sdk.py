"""Registering, credit lists, ownership, partners, notices and messages with the SDK and the command line, over the real REST interface."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from tests.factories.apps import shared_app
from tests.factories.registering import PASSWORD, PDF, application, credit_code
from tests.unit.marketplace.authorisation import market as city
from typer.testing import CliRunner

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.clock import today
from marketplace.deadlines import service as deadlines
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan import cli
from shuyan._client import Market
from shuyan._config import Profile
from shuyan._http import Api
from shuyan.cli import taking_part

SECRET = "a secret long enough for a test"
Program = Callable[[str, str], Market]


@pytest.fixture
def program(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Makes a program of an organisation with some scopes; ``""`` is nobody's."""
    monkeypatch.setattr(settings(), "registration_notice_days", 0)
    monkeypatch.setattr(settings(), "partner_notice_days", 0)
    city.build(sqlite_database)
    with db.transaction() as session:
        for organisation in ("org_operator", "org_developer"):
            parties.set_credit_code(session, organisation, credit_code())
    transport = httpx.WSGITransport(app=shared_app())

    def connect(organisation: str, scope: str) -> Market:
        if not organisation:
            return Market(Api(Profile("http://market", None, None), transport=transport))
        with db.transaction() as session:
            row, secret = parties.create_client(session, SYSTEM, name=scope, scope=scope, organisation_id=organisation, secret=SECRET)
        return Market(Api(Profile("http://market", row.client_id, secret), transport=transport))

    yield connect
    limits.limiter.reset()


def test_an_organisation_registers_and_is_noticed(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = program("", "")
    row = visitor.registrations.begin(**{"locale": "zh", **application(name_zh="探岳数据", name_en="Tanyue")})
    assert row.status == "draft"
    newcomer = program(row.organisation_id, "read register")
    assert [one.id for one in newcomer.registrations.list()] == [row.id]
    with pytest.raises(shuyan.InvalidInput) as lacking:
        newcomer.registrations.submit(row.id)
    assert lacking.value.code == "registration_incomplete"
    newcomer.registrations.edit(row.id, contact_phone="+86 772 1234567", statement="模型研发", no_incidents=True, ownership_declared=True,
                                qualifications=[{"kind": "business_licence", "number": "L-1"}])
    share = newcomer.ownership.declare(owner_code=credit_code(), owner_name="集团", owned_code=row.credit_code, owned_name=row.name_zh, share_bp=3000)
    assert newcomer.ownership.list(row.organisation_id) == [share]  # before the organisation is active, as on the pages
    wrong = newcomer.registrations.add_file(row.id, PDF, "不是它.pdf")
    assert newcomer.registrations.remove_file(row.id, wrong.id).missing == ["evidence"]
    newcomer.registrations.add_file(row.id, PDF, "执照.pdf")
    assert newcomer.registrations.submit(row.id).status == "submitted"

    handler, decider = program("org_operator", "read operate"), program("org_operator", "read operate")
    assert [one.subject for one in handler.waiting("registration.check")] == [row.id]
    items = ("identity", "qualifications", "evidence", "credit", "security", "ownership")
    assert handler.registrations.check(row.id, {**dict.fromkeys(items, True), "security": "缺等级保护证明"}).status == "checking"
    assert handler.registrations.send_back(row.id, {"security": "请补充"}).status == "returned"
    assert newcomer.registrations.get(row.id).comments == [{"item": "security", "text": "请补充"}]
    newcomer.registrations.submit(row.id)
    handler.registrations.check(row.id, dict.fromkeys(items, True))
    with pytest.raises(shuyan.ProblemResponse) as own:
        handler.registrations.accept(row.id)
    assert own.value.code == "own_work"
    assert decider.registrations.accept(row.id).status == "noticed"

    (notice,) = visitor.notices.list(subject=row.id)
    assert visitor.notices.get(notice.id).answers == []
    deadlines.fire_due()
    found = newcomer.registrations.get(row.id)
    assert (found.status, found.standing, found.notice_id) == ("registered", "active", notice.id)
    with pytest.raises(shuyan.Conflict) as late:
        visitor.notices.object_to(notice.id, "太晚了")
    assert late.value.code == "notice_closed"

    authority = program("org_authority", "read grants")
    authority.registrations.measure(row.organisation_id, "suspend", "核查")
    assert newcomer.registrations.measures(row.organisation_id)[0]["action"] == "suspend"


def test_somebody_objects_and_is_answered(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "partner_notice_days", 5)
    operator, authority, visitor = program("org_operator", "read operate"), program("org_authority", "read grants operate"), program("", "")
    partner = operator.partners.draft(name="测绘公司", credit_code=credit_code(), cooperation="加工", qualifications="甲级", duties="按约",
                                      starts_on=today(), ends_on=today() + dt.timedelta(days=300))
    operator.partners.add_file(partner.id, PDF, "资质.pdf")
    operator.partners.act(partner.id, "submit")
    assert [one.id for one in authority.partners.list(status="submitted")] == [partner.id]
    assert "accept" in authority.partners.get(partner.id).actions
    assert authority.partners.act(partner.id, "accept").status == "noticed"
    (notice,) = visitor.notices.list(kind="partner", status="open")
    monkeypatch.setattr(taking_part, "market", lambda _context: nullcontext(visitor))
    said = CliRunner().invoke(cli.app, ["--lang", "en", "object", notice.id, "资质已过期", "--contact", "me@example.org"])
    assert said.exit_code == 0, said.output
    assert "will be answered" in said.output
    (objection,) = authority.notices.objections(notice.id)
    assert (objection.text, objection.status) == ("资质已过期", "open")
    assert authority.notices.answer(objection.id, "uphold", "属实").status == "upheld"
    assert visitor.notices.get(notice.id).answers == [{"decision": "upheld", "answer": "属实"}]
    assert operator.partners.get(partner.id).status == "refused"
    with pytest.raises(shuyan.NotSignedIn):
        visitor.notices.objections(notice.id)


def test_credit_lists_and_ownership(program: Program) -> None:
    operator = program("org_operator", "read operate register")
    with db.reading() as session:
        developer = parties.get_organisation(session, "org_developer")
        code, name = developer.credit_code or "", developer.name_zh
    listed = f"name,credit_code,reason\n{name},{code},未履行判决\n".encode()
    done = operator.credit.load("dishonesty", listed, source="法院", published_on=today())
    assert (done["entries"], done["found"]) == (1, 1)
    assert [one["current"] for one in operator.credit.lists()] == [True]
    (hit,) = operator.credit.hits(organisation="org_developer")
    assert (hit.status, hit.matched_by) == ("blocking", "code")
    empty = operator.credit.load("dishonesty", b"name,credit_code,reason\n", source="法院", published_on=today(), allow_empty=True)
    assert empty["removed"] == 1
    assert operator.credit.decide(hit.id, "lift", "已履行").status == "lifted"

    share = operator.ownership.declare(owner_code=credit_code(), owner_name="集团", owned_code=_code("org_operator"), owned_name="运营公司",
                                       share_bp=6000)
    assert [one.id for one in operator.ownership.list("org_operator")] == [share.id]
    assert operator.ownership.end(share.id, today()).until == today()
    with pytest.raises(shuyan.InvalidInput):
        operator.ownership.declare(owner_code="x", owner_name="集团", owned_code=credit_code(), owned_name="运营公司", share_bp=1)


def _code(organisation: str) -> str:
    with db.reading() as session:
        return parties.get_organisation(session, organisation).credit_code or ""


def test_the_command_line_registers_and_lists(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    connected: dict[str, Market] = {"now": program("", "")}
    monkeypatch.setattr(taking_part, "market", lambda _context: nullcontext(connected["now"]))

    def command(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, ["--lang", "en", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    password = tmp_path / "password"
    password.write_text(PASSWORD)
    said = command("register", "--party", "consumer", "--name", "民泽保险", "--name-en", "Minze", "--credit-code", credit_code(), "--person",
                   "周宁", "--email", "zhou@example.org", "--password-file", str(password))
    assert "complete it and hand it in" in said
    command("register", "--party", "king", "--name", "x", "--name-en", "x", "--credit-code", "x", "--person", "x", "--email", "x", code=2)
    with db.reading() as session:
        organisation = next(row for row in parties.list_organisations(session, kind="consumer") if row.name_en == "Minze")
    connected["now"] = program(organisation.id, "read register")
    evidence = tmp_path / "licence.pdf"
    evidence.write_bytes(PDF)
    assert "contact_phone" in command("registration", "--file", str(evidence))
    assert "licence.pdf" in command("registration")
    assert "registration.complete" in command("todo")
    assert "Nothing here" in command("notices", "--open")
    with pytest.raises(shuyan.NotAllowed):  # a program has no messages
        connected["now"].messages.list()
