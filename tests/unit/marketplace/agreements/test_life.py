"""An operation agreement from draft to signature and beyond: who may take which step, and what stands in the way."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select
from tests.factories.agreements import (
    SPLIT,
    colleague,
    operation_agreement,
    pass_notice,
    terms,
)
from tests.factories.market import City, make_city

from marketplace import db
from marketplace.actor import PUBLIC, Actor
from marketplace.agreements import service as agreements
from marketplace.agreements.models import Agreement
from marketplace.notices import service as notices
from marketplace.notices.models import Message
from shuyan.problems import ProblemError

pytestmark = pytest.mark.usefixtures("sqlite_database")


@pytest.fixture
def city(sqlite_database: Any) -> City:
    with db.transaction() as session:
        return make_city(session)


def drafted(city: City, **changes: Any) -> str:
    with db.transaction() as session:
        authority = city["data_authority"]
        return agreements.draft(session, authority, operator_id=city["operator"].organisation_id or "",
                                terms=terms(session, authority, **changes)).id


def act(action: str, actor: Actor, agreement_id: str, *arguments: Any, **more: Any) -> Agreement:
    with db.transaction() as session:
        row: Agreement = getattr(agreements, action)(session, actor, agreement_id, *arguments, **more)
        return row


def refused(code: str, action: str, actor: Actor, agreement_id: str, *arguments: Any, **more: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        act(action, actor, agreement_id, *arguments, **more)
    assert caught.value.code == code


def agreed(city: City, **changes: Any) -> str:
    agreement = drafted(city, **changes)
    act("propose", city["data_authority"], agreement)
    act("accept", city["operator"], agreement)
    return agreement


def test_a_draft_becomes_an_agreement_in_force_by_the_steps_of_both_sides(city: City) -> None:
    with db.transaction() as session:
        agreement = operation_agreement(session, city["data_authority"], city["operator"])
    with db.reading() as session:
        shown = agreements.page(session, city["operator"], agreement)
        assert shown.agreement.status == "effective"
        assert shown.agreement.ends_at is not None
        assert shown.agreement.effective_at is not None
        assert {item.organisation_id for item in shown.signatures} == {shown.agreement.grantor_id, shown.agreement.grantee_id}
        assert {item.digest for item in shown.signatures} == {shown.versions[0].version.digest}
        found = agreements.operation_for(session, resources=[], at=db.utc_now())
        assert (found.id, agreements.mode_of(found)) == (agreement, "overall")


@pytest.mark.parametrize(("changes", "code", "field"), [
    ({"months": 37}, "agreement_term_length", "months"),
    ({"months": 0}, "agreement_term_length", "months"),
    ({"months": None}, "agreement_term_length", "months"),
    ({"months": "36"}, "agreement_terms_invalid", "months"),
    ({"months": True}, "agreement_terms_invalid", "months"),
    ({"split": {**SPLIT, "developer": 39}}, "agreement_split", "split"),
    ({"split": {"treasury": 100}}, "agreement_terms_invalid", "split.operator"),
    ({"split": {**SPLIT, "treasury": -10, "developer": 60}}, "agreement_terms_invalid", "split.treasury"),
    ({"usage_fee_fen": -1}, "agreement_terms_invalid", "usage_fee_fen"),
    ({"mode": "anything"}, "agreement_terms_invalid", "mode"),
    ({"mode": "field"}, "agreement_scope_empty", "sectors"),
    ({"mode": "scenario"}, "agreement_scope_empty", "resources"),
    ({"sectors": ["magic"]}, "agreement_terms_invalid", "sectors"),
    ({"sectors": ["health", "health"]}, "agreement_terms_invalid", "sectors"),
    ({"resources": ["res_unknown"]}, "agreement_terms_invalid", "resources"),
    ({"departments": ["org_unknown"]}, "agreement_terms_invalid", "departments"),
    ({"conditions": "x" * 10_001}, "agreement_terms_invalid", "conditions"),
    ({"conditions": "\x00"}, "agreement_terms_invalid", "conditions"),
    ({"until": "2030-01-01T00:00:00Z"}, "agreement_terms_invalid", "until"),
    ({"more": 1}, "agreement_terms_invalid", "more"),
    ({"plan": "file_unknown"}, "not_found", None),
])
def test_terms_that_do_not_hold_are_refused(city: City, changes: dict[str, Any], code: str, field: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        drafted(city, **changes)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_only_an_operator_is_authorised_and_only_the_authority_drafts(city: City) -> None:
    with db.transaction() as session, pytest.raises(ProblemError, match="agreement_party_invalid"):
        agreements.draft(session, city["data_authority"], operator_id=city["developer"].organisation_id or "",
                         terms=terms(session, city["data_authority"]))
    for stranger in ("operator", "developer", "consumer"):
        with db.transaction() as session, pytest.raises(ProblemError, match="not_allowed"):
            agreements.draft(session, city[stranger], operator_id=city["operator"].organisation_id or "", terms={})


def test_a_counter_proposal_is_a_new_version_and_only_the_other_side_accepts_it(city: City) -> None:
    agreement = drafted(city)
    refused("not_allowed", "propose", city["operator"], agreement)
    act("propose", city["data_authority"], agreement)
    refused("agreement_own_proposal", "accept", city["data_authority"], agreement)
    with db.transaction() as session:
        before = agreements.page(session, city["operator"], agreement).terms
        keep = {"plan": before.plan.id if before.plan else None, "text": before.text.id if before.text else None}
        same = terms(session, city["operator"], **keep)
        with pytest.raises(ProblemError, match="agreement_nothing_changed"):
            agreements.counter(session, city["operator"], agreement, same)
        agreements.counter(session, city["operator"], agreement, {**same, "usage_fee_fen": 90_000_00}, "费用偏高")
    refused("agreement_own_proposal", "accept", city["operator"], agreement)
    refused("agreement_digest_differs", "accept", city["data_authority"], agreement, number=1)
    with db.reading() as session:
        shown = agreements.page(session, city["data_authority"], agreement)
    assert [item.version.number for item in shown.versions] == [1, 2]
    assert shown.versions[1].changes == [("usage_fee_fen", 100_000_00, 90_000_00)]
    assert shown.versions[1].version.note == "费用偏高"
    assert "accept_terms" in shown.actions
    assert act("accept", city["data_authority"], agreement, number=2).status == "terms_agreed"


def test_whoever_wrote_terms_does_not_approve_them(city: City) -> None:
    agreement = agreed(city)
    refused("agreement_self_review", "approve", city["data_authority"], agreement)
    refused("not_allowed", "approve", city["operator"], agreement)
    assert act("approve", colleague(city["data_authority"]), agreement).status == "noticed"


@pytest.mark.parametrize(("missing", "code"), [("plan", "agreement_plan_missing"), ("text", "agreement_text_missing")])
def test_nothing_is_approved_without_its_emergency_plan_and_text(city: City, missing: str, code: str) -> None:
    agreement = agreed(city, **{missing: None})
    refused(code, "approve", colleague(city["data_authority"]), agreement)


def test_an_upheld_objection_sends_the_agreement_back(city: City) -> None:
    agreement = agreed(city)
    act("approve", colleague(city["data_authority"]), agreement)
    refused("wrong_state", "sign", city["operator"], agreement, "sha256:0")
    with db.transaction() as session:
        notice = notices.list_notices(session, subject=agreement).items[0]
        assert {fact["value_en"] for fact in notice.facts} >= {"36 months", "overall"}
        objection = notices.object_to(session, PUBLIC, notice.id, "资质不符")
        notices.answer(session, city["data_authority"], objection.id, "uphold", "属实")
    with db.reading() as session:
        row = agreements.get_agreement(session, city["operator"], agreement)
    assert (row.status, row.approved_by) == ("negotiating", None)


def signing(city: City) -> tuple[str, str]:
    agreement = agreed(city)
    act("approve", colleague(city["data_authority"]), agreement)
    with db.transaction() as session:
        pass_notice(session, agreement)
    with db.reading() as session:
        return agreement, agreements.page(session, city["operator"], agreement).to_sign


def test_both_sides_sign_the_exact_terms_and_nobody_else(city: City) -> None:
    agreement, digest = signing(city)
    refused("agreement_digest_differs", "sign", city["operator"], agreement, "sha256:" + "0" * 64)
    refused("not_found", "sign", city["developer"], agreement, digest)
    assert act("sign", city["operator"], agreement, digest).status == "signing"
    assert act("sign", city["operator"], agreement, digest).status == "signing"  # a form sent twice
    with db.reading() as session:
        assert len(agreements.page(session, city["operator"], agreement).signatures) == 1
        assert agreements.page(session, city["operator"], agreement).to_sign == ""
    assert act("sign", city["data_authority"], agreement, digest).status == "effective"
    refused("wrong_state", "sign", city["data_authority"], agreement, digest)


@pytest.mark.parametrize(("roles", "may"), [({"admin"}, True), ({"handler", "reviewer", "finance"}, False)])
def test_only_an_administrator_signs(city: City, roles: set[str], may: bool) -> None:
    import dataclasses

    agreement, digest = signing(city)
    person = dataclasses.replace(city["operator"], roles=frozenset(roles))
    if may:
        assert act("sign", person, agreement, digest).status == "signing"
    else:
        refused("not_allowed", "sign", person, agreement, digest)


def test_either_side_breaks_off_with_a_reason(city: City) -> None:
    agreement, _ = signing(city)
    refused("agreement_reason_missing", "refuse", city["operator"], agreement, "  ")
    refused("not_found", "refuse", city["consumer"], agreement, "不")
    assert act("refuse", city["operator"], agreement, "条件变化").status == "broken_off"


def test_agreements_are_read_by_their_sides_and_overseers_and_in_part_by_everybody(city: City) -> None:
    agreement = drafted(city)
    for stranger in (PUBLIC, city["developer"]):
        with db.reading() as session, pytest.raises(ProblemError, match="not_found"):
            agreements.page(session, stranger, agreement)
    with db.transaction() as session:
        agreements.withdraw(session, city["data_authority"], agreement)
        public = operation_agreement(session, city["data_authority"], city["operator"])
    with db.reading() as session:
        shown = agreements.page(session, PUBLIC, public)
        assert (shown.full, shown.versions, shown.files, shown.actions) == (False, [], [], [])
        assert shown.terms.months == 36
        file = agreements.page(session, city["operator"], public).files[0]
        assert agreements.file(session, city["operator"], public, file.id).data
        with pytest.raises(ProblemError, match="not_found"):
            agreements.file(session, PUBLIC, public, file.id)
        assert [row.id for row in agreements.list_agreements(session, PUBLIC).items] == [public]
        assert len(agreements.list_agreements(session, city["data_authority"]).items) == 2


def test_the_other_side_is_told_and_finds_its_work(city: City) -> None:
    from marketplace import work

    agreement = drafted(city)
    act("propose", city["data_authority"], agreement)

    def waits(actor: Actor) -> list[str]:
        with db.reading() as session:
            return [item.kind for item in work.waiting(session, actor, db.utc_now()) if item.subject == agreement]

    assert (waits(city["operator"]), waits(city["data_authority"])) == (["agreement.answer"], [])
    act("accept", city["operator"], agreement)
    assert waits(city["data_authority"]) == ["agreement.approve"]
    act("approve", colleague(city["data_authority"]), agreement)
    with db.transaction() as session:
        pass_notice(session, agreement)
    assert waits(city["operator"]) == waits(city["data_authority"]) == ["agreement.sign"]
    with db.reading() as session:
        kinds = {row.kind for row in session.exec(select(Message).where(Message.organisation_id == city["operator"].organisation_id))}
    assert kinds == {"agreement.proposed", "agreement.noticed", "agreement.to_sign"}


def test_terms_and_signatures_that_were_changed_in_the_database_are_found(city: City) -> None:
    from marketplace.agreements.models import AgreementSignature, AgreementVersion

    with db.transaction() as session:
        first = operation_agreement(session, city["data_authority"], city["operator"])
        second = operation_agreement(session, city["data_authority"], city["operator"])
    with db.reading() as session:
        assert agreements.altered_records(session) == []
    with db.transaction() as session:
        version = session.exec(select(AgreementVersion).where(AgreementVersion.agreement_id == first)).one()
        version.terms = {**version.terms, "usage_fee_fen": 1}
        session.add(version)
        session.delete(session.exec(select(AgreementSignature).where(AgreementSignature.agreement_id == second)).first())
    with db.reading() as session:
        assert agreements.altered_records(session) == sorted([first, second])
