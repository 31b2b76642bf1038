"""A developer registers itself: complete, checked by two people, publicly noticed, active; and everything that stands in the way."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from sqlmodel import select
from tests.factories.market import City, make_city
from tests.factories.registering import (
    PDF,
    act,
    all_well,
    application,
    begun,
    completed,
    credit_code,
    second,
    state,
    submitted,
)

from marketplace import clock, db, work
from marketplace.actor import PUBLIC, Actor
from marketplace.deadlines import service as deadlines
from marketplace.notices import service as notices
from marketplace.notices.models import Message
from marketplace.parties import service as parties
from marketplace.registration import service as registration
from marketplace.registration.models import Registration
from marketplace.settings import settings
from shuyan.problems import ProblemError

LATER = dt.timedelta(days=25)
"""Past every notice of five working days, whatever holidays lie between."""


@pytest.fixture
def city(sqlite_database: Any) -> City:
    return make()


@pytest.fixture
def any_city(database: Any) -> City:
    return make()


def make() -> City:
    with db.transaction() as session:
        return make_city(session)


def told(organisation_id: str | None) -> list[str]:
    with db.reading() as session:
        return [row.kind for row in session.exec(select(Message).where(Message.organisation_id == organisation_id))]


def noticed(city: City) -> tuple[str, Actor]:
    with db.transaction() as session:
        row, actor = submitted(session)
    act(registration.check_items, city["operator"], row.id, all_well(row))
    act(registration.accept, second(city["operator"]), row.id)
    return row.id, actor


def test_a_developer_becomes_active_when_its_notice_is_over(any_city: City) -> None:
    city = any_city
    registration_id, actor = noticed(city)
    assert state(registration_id) == ("noticed", "pending")
    assert not actor.standing
    deadlines.fire_due()
    assert state(registration_id)[0] == "noticed"
    with clock.shifted(LATER):
        deadlines.fire_due()
        assert deadlines.fire_due() == 0
    assert state(registration_id) == ("registered", "active")
    with db.reading() as session:
        member = parties.get_member(session, actor.member_id or "")
        assert member is not None
        assert parties.actor_for_member(session, member).standing
    assert told(actor.organisation_id) == ["registration.noticed", "registration.active"]
    assert "registration.submitted" in told(city["operator"].organisation_id)


def test_without_notice_days_it_takes_effect_as_soon_as_the_coordinator_looks(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "registration_notice_days", 0)
    registration_id, _ = noticed(city)
    assert deadlines.fire_due() == 1
    assert state(registration_id) == ("registered", "active")


def test_an_upheld_objection_refuses_and_frees_the_credit_code(city: City) -> None:
    registration_id, actor = noticed(city)
    with db.reading() as session:
        notice = notices.list_notices(session, kind="registration").items[0]
        code = session.get_one(Registration, registration_id).credit_code
    objection = act(notices.object_to, PUBLIC, notice.id, "执照系伪造")
    act(notices.answer, second(city["operator"]), objection.id, "uphold", "经核实属实")
    assert state(registration_id) == ("refused", "pending")
    with db.transaction() as session:
        begun(session, credit_code=code)
    with pytest.raises(ProblemError, match="already_taken"):
        act(registration.reapply, actor, registration_id)


def test_a_consumer_needs_the_check_only_or_not_even_that(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.transaction() as session:
        row, _ = submitted(session, party="consumer")
    act(registration.check_items, city["operator"], row.id, all_well(row))
    act(registration.accept, second(city["operator"]), row.id)
    assert state(row.id) == ("registered", "active")
    monkeypatch.setattr(settings(), "consumer_check", False)
    with db.transaction() as session:
        other, _ = submitted(session, party="consumer")
    assert state(other.id) == ("registered", "active")


def test_a_returned_registration_is_corrected_and_comes_again(city: City) -> None:
    with db.transaction() as session:
        row, actor = submitted(session)
    act(registration.check_items, city["operator"], row.id, {"evidence": {"ok": False, "note": "扫描件不清晰"}})
    act(registration.return_, city["operator"], row.id, {"evidence": "请重新上传执照"})
    with db.reading() as session:
        detail = registration.get(session, actor, row.id)
        (item,) = work.waiting(session, actor, db.utc_now())
    assert detail.row.comments == [{"item": "evidence", "text": "请重新上传执照"}]
    assert item.kind == "registration.correct"
    assert set(detail.actions) == {"edit", "submit", "withdraw"}
    act(registration.remove_file, actor, row.id, detail.files[0].id)
    with pytest.raises(ProblemError, match="registration_incomplete"):
        act(registration.submit, actor, row.id)
    act(registration.add_file, actor, row.id, name="新.pdf", data=PDF)
    assert act(registration.submit, actor, row.id).round == 2
    assert (row.id, "submitted") == (row.id, state(row.id)[0])


def test_who_checked_does_not_decide_and_nothing_unchecked_passes(city: City) -> None:
    with db.transaction() as session:
        row, _ = submitted(session)
    with pytest.raises(ProblemError, match="wrong_state"):
        act(registration.accept, city["operator"], row.id)
    items = all_well(row)
    items.pop("security")
    act(registration.check_items, city["operator"], row.id, items)
    with pytest.raises(ProblemError, match="checks_not_passed"):
        act(registration.accept, second(city["operator"]), row.id)
    with pytest.raises(ProblemError, match="reason_needed"):
        act(registration.check_items, city["operator"], row.id, {"security": {"ok": False, "note": " "}})
    act(registration.check_items, city["operator"], row.id, {"security": {"ok": True}})
    with pytest.raises(ProblemError, match="own_work"):
        act(registration.accept, city["operator"], row.id)
    with db.reading() as session:
        kinds = [[item.kind for item in work.waiting(session, who, db.utc_now())] for who in (city["operator"], second(city["operator"]))]
    assert kinds == [[], ["registration.decide"]]


def test_until_active_nothing_else_can_be_done_and_nobody_else_sees_it(city: City) -> None:
    with db.transaction() as session:
        row, actor = submitted(session)
        _, stranger = begun(session)
    from marketplace.commerce import rules as commerce

    with pytest.raises(ProblemError, match="standing_required"):
        commerce.PLACE.require(actor)
    for other in (stranger, city["developer"], city["consumer"], PUBLIC):
        for call in (registration.get, registration.submit, registration.withdraw):
            with pytest.raises(ProblemError, match=r"not_found"):
                act(call, other, row.id)
    with db.reading() as session:
        assert registration.list_registrations(session, stranger).items != [row]
        assert registration.get(session, city["security_supervisor"] if "security_supervisor" in city.actors else city["data_authority"], row.id)
    for reader in (city["data_authority"],):
        with pytest.raises(ProblemError, match="not_allowed"):
            act(registration.accept, reader, row.id)


@pytest.mark.parametrize(("change", "code"), [
    ({"credit_code": "91450100MA5000001X"}, "bad_credit_code"), ({"credit_code": ""}, "invalid_input"),
    ({"name_zh": " "}, "invalid_input"), ({"name_zh": "x" * 201}, "invalid_input"), ({"name_en": "a\nb"}, "invalid_input"),
    ({"email": "a@b\r\nBcc: c@d.org"}, "invalid_input"), ({"email": "nobody"}, "invalid_input"), ({"password": "short"}, "weak_password"),
    ({"party": "operator"}, "invalid_input"), ({"party": "data_authority"}, "invalid_input"), ({"name_zh": "a\x00"}, "invalid_input"),
])
def test_bad_beginnings(city: City, change: dict[str, str], code: str) -> None:
    with pytest.raises(ProblemError, match=code):
        act(registration.begin, **application(**change))


@pytest.mark.parametrize("values", [
    {"contact_phone": "<script>"}, {"contact_email": "x"}, {"statement": "x" * 2001}, {"qualifications": [{"kind": "none"}]},
    {"qualifications": [{"kind": "other", "number": "1", "valid_until": "soon"}]},
    {"qualifications": [{"kind": "other", "number": ""}]}, {"qualifications": [{"kind": "other", "number": "1"}] * 21},
])
def test_bad_details(city: City, values: dict[str, Any]) -> None:
    with db.transaction() as session:
        row, actor = begun(session)
    with pytest.raises(ProblemError, match="invalid_input"):
        act(registration.edit, actor, row.id, values)


def test_an_expired_qualification_and_a_wrong_file_are_refused(city: City) -> None:
    with db.transaction() as session:
        row, actor = completed(session)
    with pytest.raises(ProblemError, match="file_kind_not_allowed"):
        act(registration.add_file, actor, row.id, name="执照.pdf", data=b"MZ\x90\x00 program")
    yesterday = (clock.today() - dt.timedelta(days=1)).isoformat()
    act(registration.edit, actor, row.id, {"qualifications": [{"kind": "business_licence", "number": "L-9", "valid_until": yesterday}]})
    with pytest.raises(ProblemError, match="qualification_expired"):
        act(registration.submit, actor, row.id)


def test_a_draft_that_nobody_submits_lapses_and_frees_its_code(city: City) -> None:
    code = credit_code()
    with db.transaction() as session:
        row, actor = begun(session, credit_code=code)
    with clock.shifted(dt.timedelta(days=31)):
        deadlines.fire_due()
    assert state(row.id) == ("withdrawn", "pending")
    act(registration.reapply, actor, row.id)
    assert state(row.id)[0] == "draft"
    with pytest.raises(ProblemError, match="already_taken"):
        act(registration.begin, **application(credit_code=code))


def test_two_officers_decide_at_once_and_one_decision_stands(any_city: City) -> None:
    city = any_city
    with db.transaction() as session:
        row, _ = submitted(session)
    act(registration.check_items, city["operator"], row.id, all_well(row))
    barrier, outcomes = threading.Barrier(4), list[str]()

    def decide(number: int) -> None:
        officer = second(city["operator"])
        barrier.wait()
        try:
            if number % 2:
                act(registration.accept, officer, row.id)
            else:
                act(registration.refuse, officer, row.id, "材料不实")
            outcomes.append("accepted" if number % 2 else "refused")
        except ProblemError as problem:
            outcomes.append(problem.code)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (decided,) = [outcome for outcome in outcomes if outcome != "wrong_state"]
    assert len(outcomes) == 4
    assert state(row.id)[0] == {"accepted": "noticed", "refused": "refused"}[decided]


def test_the_authority_suspends_resumes_and_bars(city: City) -> None:
    developer, authority = city["developer"], city["data_authority"]
    owner = developer.organisation_id or ""
    for stranger in (city["operator"], developer, PUBLIC):
        with pytest.raises(ProblemError, match="not_allowed"):
            act(registration.take_measure, stranger, owner, "suspend", "超范围使用数据")
    with pytest.raises(ProblemError, match="reason_needed"):
        act(registration.take_measure, authority, owner, "suspend", "")
    with pytest.raises(ProblemError, match="not_a_participant"):
        act(registration.take_measure, authority, city["operator"].organisation_id, "suspend", "x")
    act(registration.take_measure, authority, owner, "suspend", "超范围使用数据")
    with pytest.raises(ProblemError, match="wrong_state"):
        act(registration.take_measure, authority, owner, "suspend", "again")
    act(registration.take_measure, authority, owner, "resume", "整改到位")
    act(registration.take_measure, authority, owner, "bar", "再次违规")
    with db.reading() as session:
        found = registration.standing.measures(session, developer, owner)
        with pytest.raises(ProblemError, match="not_allowed"):
            registration.standing.measures(session, city["consumer"], owner)
    assert [one.status for one in found] == ["barred", "active", "suspended"]
    assert told(owner) == ["standing.suspended", "standing.resumed", "standing.barred"]
