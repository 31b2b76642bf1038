"""Credit lists block, flag and let go; ownership keeps the operator's own out of the second tier."""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select
from tests.factories.market import City, make_city
from tests.factories.registering import (
    act,
    all_well,
    begun,
    completed,
    credit_code,
    owns,
    second,
    state,
    submitted,
)

from marketplace import clock, db, work
from marketplace.actor import Actor
from marketplace.authorisation import service as authorisation
from marketplace.deadlines import service as deadlines
from marketplace.parties import service as parties
from marketplace.products import service as products
from marketplace.registration import control, credit, holdings, lists
from marketplace.registration import service as registration
from marketplace.registration.control import Holding
from marketplace.registration.models import CreditHit
from shuyan.problems import ProblemError

DAY = dt.timedelta(days=1)


@pytest.fixture
def city(sqlite_database: Any) -> City:
    with db.transaction() as session:
        return make_city(session)


@pytest.fixture
def any_city(database: Any) -> City:
    with db.transaction() as session:
        return make_city(session)


def listing(*entries: dict[str, str]) -> bytes:
    return json.dumps(list(entries), ensure_ascii=False).encode()


def put(actor: Actor, *entries: dict[str, str], kind: str = "dishonesty", days_ago: int = 0) -> credit.Imported:
    with db.transaction() as session:
        return credit.import_list(session, actor, kind=kind, source="信用中国", published_on=clock.today() - days_ago * DAY,
                                  data=listing(*entries), allow_empty=True)


def coded(city: City, kind: str = "developer") -> str:
    code = credit_code()
    with db.transaction() as session:
        parties.set_credit_code(session, city[kind].organisation_id or "", code)
    return code


def status(actor: Actor) -> str:
    with db.reading() as session:
        return parties.get_organisation(session, actor.organisation_id or "").status


def hits() -> list[tuple[str, str]]:
    with db.reading() as session:
        return [(row.matched_by, row.status) for row in session.exec(select(CreditHit).order_by(CreditHit.id))]  # type: ignore[arg-type]


def test_a_listed_code_suspends_and_only_a_review_after_the_removal_lifts(any_city: City) -> None:
    city = any_city
    code = coded(city)
    found = put(city["data_authority"], {"name": "某公司", "credit_code": code, "reason": "拒不履行生效判决"}, days_ago=3)
    assert (found.found, status(city["developer"]), hits()) == (1, "suspended", [("code", "blocking")])
    again = put(city["data_authority"], {"name": "某公司", "credit_code": code, "reason": "拒不履行生效判决"}, days_ago=3)
    assert (again.found, again.list.id) == (0, found.list.id)
    with pytest.raises(ProblemError, match="credit_listed") as caught:
        act(registration.take_measure, city["data_authority"], city["developer"].organisation_id, "resume", "看似没问题")
    assert "拒不履行生效判决" in caught.value.text("zh")
    with pytest.raises(ProblemError, match="credit_list_older"):
        put(city["data_authority"], days_ago=9)
    assert put(city["data_authority"], days_ago=1).removed == 1
    assert (status(city["developer"]), hits()) == ("suspended", [("code", "removed")])
    with db.reading() as session:
        (item,) = work.waiting(session, city["operator"], db.utc_now())
        hit = session.exec(select(CreditHit)).one()
    assert item.kind == "credit.lift"
    with pytest.raises(ProblemError, match="not_allowed"):
        act(credit.decide, city["developer"], hit.id, "lift", "我们没事了")
    act(credit.decide, city["operator"], hit.id, "lift", "已核实移出")
    assert (status(city["developer"]), hits()) == ("active", [("code", "lifted")])


def test_a_name_alone_is_only_flagged_until_somebody_has_compared(city: City) -> None:
    put(city["operator"], {"name": "developer单位", "reason": "x"}, days_ago=2)
    assert (status(city["developer"]), hits()) == ("active", [("name", "flagged")])
    with db.reading() as session:
        hit = session.exec(select(CreditHit)).one()
    act(credit.decide, city["operator"], hit.id, "dismiss", "系同名单位")
    put(city["operator"], {"name": "developer单位", "reason": "y"}, days_ago=1)
    assert hits() == [("name", "dismissed")]
    put(city["operator"], {"name": "developer单位", "reason": "z"}, kind="tax")
    with db.reading() as session:
        hit = session.exec(select(CreditHit).where(CreditHit.status == "flagged")).one()
    act(credit.decide, city["operator"], hit.id, "confirm", "确为同一单位")
    assert status(city["developer"]) == "suspended"


def test_another_company_of_the_same_name_with_another_code_is_not_flagged(city: City) -> None:
    coded(city)
    put(city["operator"], {"name": "developer单位", "credit_code": credit_code(), "reason": "x"})
    assert hits() == []


def test_a_listed_applicant_is_held_up_at_each_stage(city: City) -> None:
    with db.transaction() as session:
        listed, actor = completed(session)
        checking, _ = submitted(session)
    put(city["operator"], {"name": "某", "credit_code": listed.credit_code, "reason": "欠税"},
        {"name": "某", "credit_code": checking.credit_code, "reason": "欠税"})
    assert state(checking.id)[0] == "blocked"
    act(registration.submit, actor, listed.id)
    assert state(listed.id) == ("blocked", "pending")
    with db.reading() as session:
        assert "欠税" in registration.get(session, actor, listed.id).row.reason
    put(city["operator"], {"name": "某", "credit_code": checking.credit_code, "reason": "欠税"}, days_ago=0)
    with db.reading() as session:
        hit = session.exec(select(CreditHit).where(CreditHit.organisation_id == listed.organisation_id)).one()
    act(credit.decide, city["operator"], hit.id, "lift", "已移出")
    assert state(listed.id)[0] == "checking"


def test_a_hit_during_the_notice_stops_it(city: City) -> None:
    with db.transaction() as session:
        row, _ = submitted(session)
    act(registration.check_items, city["operator"], row.id, all_well(row))
    act(registration.accept, second(city["operator"]), row.id)
    put(city["operator"], {"name": "某", "credit_code": row.credit_code, "reason": "围标"}, kind="procurement")
    assert state(row.id)[0] == "blocked"
    with clock.shifted(25 * DAY):
        deadlines.fire_due()
    assert state(row.id)[0] == "blocked"


def test_an_entry_counts_until_its_last_day(city: City) -> None:
    code = coded(city)
    put(city["operator"], {"name": "某", "credit_code": code, "reason": "x", "until": (clock.today() + 5 * DAY).isoformat()})
    assert hits() == [("code", "blocking")]
    with clock.shifted(7 * DAY):
        deadlines.fire_due()
    assert hits() == [("code", "removed")]


@pytest.mark.parametrize(("data", "code"), [
    (b"", "credit_list_unreadable"), (b"\xff\xfe\x00\x01", "credit_list_unreadable"), (b"a,b\n1,2\n", "credit_list_unreadable"),
    (b"[1]", "credit_list_unreadable"), (b'{"entries": 3}', "credit_list_unreadable"), (b"[" * 100_000, "credit_list_unreadable"),
    (b'name,credit_code\nX,123\n', "credit_list_invalid"), (b'name,until\nX,tomorrow\n', "credit_list_invalid"),
    (b'name\n"unclosed\n', "credit_list_invalid"), (b'[{"name": 5}]', "credit_list_invalid"), (b'[{"name": ""}]', "credit_list_invalid"),
    (b"name\n", "credit_list_empty"),
])
def test_bad_lists(city: City, data: bytes, code: str) -> None:
    with pytest.raises(ProblemError, match=code):
        act(credit.import_list, city["operator"], kind="tax", source="税务局", published_on=clock.today(), data=data)


def test_lists_are_read_as_their_keepers_write_them() -> None:
    code = credit_code()
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        (entry,) = lists.parse(f"企业名称,统一社会信用代码,事由\n清源公司,{code},虚开发票\n".encode(encoding))
        assert entry == lists.Entry("清源公司", code, "虚开发票", None)


# --- control ---

COMPANIES = st.sampled_from([f"C{number}" for number in range(7)])
GRAPHS = st.lists(st.builds(Holding, COMPANIES, COMPANIES, st.integers(1, 10_000)), max_size=25)


def naive(root: str, graph: list[Holding], threshold: int) -> set[str]:
    """The definition, by trying until nothing changes."""
    share: dict[tuple[str, str], int] = {}
    for one in graph:
        share[one.owner, one.owned] = max(one.share_bp, share.get((one.owner, one.owned), 0))
    inside = {root}
    while True:
        more = {owned for _, owned in share if owned not in inside and sum(
            bp for (owner, held), bp in share.items() if held == owned and owner in inside and owner != owned) >= threshold}
        if not more:
            return inside - {root}
        inside |= more


@given(GRAPHS, st.integers(1, 10_000), st.randoms())
def test_control_is_what_the_definition_says_in_any_order_and_in_circles(graph: list[Holding], threshold: int, chance: Any) -> None:
    found = control.controlled("C0", graph, threshold)
    assert set(found) == naive("C0", graph, threshold)
    shuffled = list(graph)
    chance.shuffle(shuffled)
    assert set(control.controlled("C0", shuffled, threshold)) == set(found)
    assert set(control.controlled("C0", graph, min(threshold + 1000, 20_000))) <= set(found)
    for target in found:
        steps = control.chain(target, found)
        assert steps[-1].owned == target
        assert {one.owner for one in steps} <= {"C0", *found}
        assert any(one.owner == "C0" for one in steps)


@given(GRAPHS, GRAPHS, st.integers(1, 10_000))
def test_a_further_holding_never_takes_control_away(graph: list[Holding], more: list[Holding], threshold: int) -> None:
    assert set(control.controlled("C0", graph, threshold)) <= set(control.controlled("C0", graph + more, threshold))


def test_companies_that_hold_each_other_are_nobodys() -> None:
    circle = [Holding("A", "B", 6000), Holding("B", "A", 6000), Holding("ROOT", "A", 1000)]
    assert control.controlled("ROOT", circle, 5000) == {}
    both = [Holding("ROOT", "A", 5000), Holding("ROOT", "B", 3000), Holding("A", "B", 2000), Holding("B", "ROOT", 9000)]
    assert set(control.controlled("ROOT", both, 5000)) == {"A", "B"}


def test_a_declaration_that_brings_a_developer_under_the_operator_suspends_it(any_city: City) -> None:
    city = any_city
    operator, developer, between, authority = coded(city, "operator"), coded(city), credit_code(), city["data_authority"]
    with db.transaction() as session:
        owns(session, authority, between, developer, 5000)
        owns(session, authority, operator, between, 4999)
    assert status(city["developer"]) == "active"
    with db.reading() as session:
        registration.require_second_tier(session, city["developer"].organisation_id or "")
    with db.transaction() as session:
        owns(session, authority, operator, developer, 100)
    assert status(city["developer"]) == "active"
    with db.transaction() as session:
        owns(session, authority, operator, between, 5000)
    assert status(city["developer"]) == "suspended"
    with db.reading() as session, pytest.raises(ProblemError, match="second_tier_controlled"):
        registration.require_second_tier(session, city["developer"].organisation_id or "")
    with db.reading() as session, pytest.raises(ProblemError, match="second_tier_barred"):
        registration.require_second_tier(session, city["operator"].organisation_id or "")
    with pytest.raises(ProblemError, match="second_tier_controlled"):
        act(registration.take_measure, authority, city["developer"].organisation_id, "resume", "x")
    with db.reading() as session:
        all_of_it = [row.id for row in holdings.holdings(session, authority) if row.owner_code == operator]
    for one in all_of_it:
        act(holdings.end_holding, authority, one, clock.today() - DAY)
    act(registration.take_measure, authority, city["developer"].organisation_id, "resume", "股权已转让")
    assert status(city["developer"]) == "active"


def test_two_declarations_at_once_that_only_together_give_control(any_city: City) -> None:
    city = any_city
    operator, developer, between = coded(city, "operator"), coded(city), credit_code()
    barrier = threading.Barrier(2)

    def declare(owner: str, owned: str) -> None:
        barrier.wait()
        with db.transaction() as session:
            owns(session, city["data_authority"], owner, owned, 6000)

    threads = [threading.Thread(target=declare, args=pair) for pair in ((operator, between), (between, developer))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status(city["developer"]) == "suspended"


def test_a_holding_declared_ahead_counts_from_its_day(city: City) -> None:
    operator, developer = coded(city, "operator"), coded(city)
    with db.transaction() as session:
        owns(session, city["data_authority"], operator, developer, 9000, since=clock.today() + 10 * DAY)
    assert status(city["developer"]) == "active"
    with clock.shifted(11 * DAY):
        deadlines.fire_due()
    assert status(city["developer"]) == "suspended"


def test_the_operators_own_company_cannot_register_as_a_developer(city: City) -> None:
    operator = coded(city, "operator")
    with db.transaction() as session:
        row, actor = completed(session)
        holdings.declare(session, actor, owner_code=operator, owner_name="运营公司", share_bp=5100, since=clock.today() - DAY)
    with pytest.raises(ProblemError, match="second_tier_controlled") as caught:
        act(registration.submit, actor, row.id)
    assert "51%" in caught.value.text("zh")


def test_whom_the_operator_controls_proposes_no_scenario_and_drafts_no_second_tier_product(city: City) -> None:
    operator, developer = coded(city, "operator"), coded(city)
    scenario: dict[str, Any] = {"content": authorisation.Content("普惠金融", "风控", "finance", "必要")}
    draft: dict[str, Any] = {"sector": "finance", "delivery_form": "api", "title_zh": "指数", "title_en": "Index"}
    act(authorisation.propose_scenario, city["developer"], **scenario)
    act(products.draft_product, city["developer"], **draft)
    with db.transaction() as session:
        owns(session, city["data_authority"], operator, developer, 5000)
    for call, values in ((authorisation.propose_scenario, scenario), (products.draft_product, draft)):
        with pytest.raises(ProblemError, match="second_tier_controlled"):
            act(call, city["developer"], **values)
    assert act(products.draft_product, city["operator"], **draft).tier == 1


def test_bad_holdings(city: City) -> None:
    with db.transaction() as session:
        row, actor = begun(session)
    own, other = row.credit_code, credit_code()
    good: dict[str, Any] = {"owner_code": other, "owner_name": "甲", "share_bp": 6000, "since": clock.today()}
    for change, code in (({"owner_code": own}, "shareholding_invalid"), ({"owner_code": "X"}, "bad_credit_code"),
                         ({"share_bp": 0}, "shareholding_invalid"), ({"share_bp": 10_001}, "shareholding_invalid"),
                         ({"owner_name": ""}, "invalid_input"), ({"until": clock.today() - DAY}, "period_invalid"),
                         ({"organisation_id": city["developer"].organisation_id}, "not_allowed")):
        with pytest.raises(ProblemError, match=code):
            act(holdings.declare, actor, **{**good, **change})
    act(holdings.declare, actor, **good)
    with pytest.raises(ProblemError, match="shares_exceed_whole"):
        act(holdings.declare, actor, **{**good, "owner_code": credit_code(), "share_bp": 4001})
    act(holdings.declare, actor, **{**good, "owner_code": credit_code(), "share_bp": 4000})
