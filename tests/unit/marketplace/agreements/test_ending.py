"""How agreements end, and what ends with them: lapse, warnings, renewal in its time, termination, and races with all of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlmodel import Session, select
from tests.factories.agreements import (
    colleague,
    development_agreement,
    operation_agreement,
    pass_notice,
    sign_by,
    terms,
)
from tests.factories.market import STATISTICS, City, make_city, make_product

from marketplace import clock, db
from marketplace.actor import SYSTEM
from marketplace.agreements import service as agreements
from marketplace.authorisation import service as authorisation
from marketplace.authorisation.models import GrantRecord
from marketplace.commerce import service as commerce
from marketplace.computing.models import Job
from marketplace.deadlines import service as deadlines
from marketplace.ids import new_id
from marketplace.notices.models import Message
from marketplace.products import service as products
from marketplace.products.models import Product, ProductVersion
from shuyan.problems import ProblemError

DAY = dt.timedelta(days=1)


def stand(months: int = 36) -> tuple[City, str]:
    with db.transaction() as session:
        city = make_city(session)
        return city, operation_agreement(session, city["data_authority"], city["operator"], months=months)


def sold_under(city: City, until: dt.datetime | None = None) -> tuple[str, str, str]:
    """A product on sale under a development agreement: ids of agreement, product, grant."""
    with db.transaction() as session:
        product = make_product(session, city, STATISTICS)
        version = session.exec(select(ProductVersion).where(ProductVersion.product_id == product)).one()
        grant = session.get_one(GrantRecord, session.get_one(Job, version.job_id).grant_id)
        agreement = development_agreement(session, city["operator"], city["developer"], demand_id=grant.demand_id,
                                          scenario_id=grant.scenario_id, until=until or db.utc_now() + 30 * DAY)
        return agreement, product, grant.id


def state(agreement: str) -> str:
    with db.reading() as session:
        return agreements.get_agreement(session, SYSTEM, agreement).status


def end_of(agreement: str) -> dt.datetime:
    with db.reading() as session:
        row = agreements.get_agreement(session, SYSTEM, agreement)
        assert row.ends_at is not None
        return row.ends_at


def at(moment: dt.datetime) -> Any:
    return clock.shifted(moment - db.utc_now())


def messages(kind: str, organisation_id: str | None) -> list[dict[str, Any]]:
    with db.reading() as session:
        return [row.params for row in session.exec(select(Message).where(
            Message.kind == kind, Message.organisation_id == organisation_id).order_by(Message.id))]  # type: ignore[arg-type]


@pytest.mark.usefixtures("database")
def test_an_agreement_warns_four_times_and_lapses_by_itself_with_all_that_rests_on_it() -> None:
    city, agreement = stand(months=12)
    ends = end_of(agreement)
    under, product, grant = sold_under(city, ends)
    for number, days in enumerate((180, 90, 30, 7), start=1):
        with at(ends - days * DAY + dt.timedelta(minutes=1)):
            deadlines.fire_due()
        told = messages("agreement.ends_soon", city["operator"].organisation_id)
        assert [item["days"] for item in told] == [180, 90, 30, 7][:number]
    assert state(agreement) == "effective"
    with at(ends):
        deadlines.fire_due()
        assert deadlines.fire_due() == 0
    assert (state(agreement), state(under)) == ("lapsed", "lapsed")
    with db.reading() as session:
        assert session.get_one(Product, product).status == "suspended"
        for code, ask in (("agreement_expired", lambda: agreements.operation_for(session, resources=[], at=ends)),
                          ("agreement_not_in_force", lambda: authorisation.usable_grant(session, grant, db.utc_now()))):
            with pytest.raises(ProblemError) as caught:
                ask()
            assert caught.value.code == code
    assert len(messages("agreement.lapsed", city["developer"].organisation_id)) == 1


@pytest.mark.usefixtures("sqlite_database")
def test_the_clock_alone_ends_it_before_any_deadline_has_fired() -> None:
    city, agreement = stand(months=12)
    under, product, grant = sold_under(city)
    with at(end_of(under)):
        with db.reading() as session, pytest.raises(ProblemError, match="agreement_not_in_force"):
            authorisation.usable_grant(session, grant, db.utc_now())
        with db.transaction() as session, pytest.raises(ProblemError, match="agreement_not_in_force"):
            commerce.place_order(session, city["consumer"], product_id=product, idempotency_key="late")
    with at(end_of(agreement)), db.reading() as session, pytest.raises(ProblemError, match="agreement_expired"):
        agreements.operation_for(session, resources=[], at=db.utc_now())


@pytest.mark.usefixtures("database")
def test_renewal_is_asked_for_between_six_and_three_months_before_the_end_and_extends_it() -> None:
    city, agreement = stand(months=12)
    ends = end_of(agreement)
    operator, authority = city["operator"], city["data_authority"]

    def ask() -> str:
        with db.transaction() as session:
            return agreements.renewal.ask(session, operator, agreement, "一年来运行平稳，申请续期。").id

    for moment, code in ((ends - 187 * DAY, "renewal_too_early"), (ends - 88 * DAY, "renewal_too_late")):
        with at(moment), pytest.raises(ProblemError, match=code):
            ask()
    with at(ends - 120 * DAY):
        with db.transaction() as session, pytest.raises(ProblemError, match="not_allowed"):
            agreements.renewal.ask(session, authority, agreement, "代为申请")
        asked = ask()
        with pytest.raises(ProblemError, match="renewal_open"):
            ask()
        with db.transaction() as session, pytest.raises(ProblemError, match="agreement_term_length"):
            agreements.renewal.offer(session, authority, asked, months=37)
        with db.transaction() as session:
            agreements.renewal.offer(session, authority, asked, months=24)
        with db.transaction() as session:
            sign_by(session, agreement, operator, authority)
        renewed = end_of(agreement)
    assert renewed.astimezone(clock.CITY).date().year == ends.astimezone(clock.CITY).date().year + 2
    with at(ends + DAY):  # the earlier end and the earlier warnings come, and find a later end
        deadlines.fire_due()
        assert state(agreement) == "effective"
    assert [item["days"] for item in messages("agreement.ends_soon", operator.organisation_id)] == []
    with at(renewed):
        deadlines.fire_due()
    assert state(agreement) == "lapsed"


@pytest.mark.usefixtures("sqlite_database")
def test_an_agreement_that_is_not_signed_in_time_is_off_and_signed_in_time_it_stands() -> None:
    with db.transaction() as session:
        city = make_city(session)
        made = []
        for _ in range(2):
            row = agreements.draft(session, city["data_authority"], operator_id=city["operator"].organisation_id or "",
                                   terms=terms(session, city["data_authority"]))
            agreements.propose(session, city["data_authority"], row.id)
            agreements.accept(session, city["operator"], row.id)
            agreements.approve(session, colleague(city["data_authority"]), row.id)
            pass_notice(session, row.id)
            made.append(row.id)
        sign_by(session, made[0], city["data_authority"], city["operator"])
        sign_by(session, made[1], city["data_authority"])
    with clock.shifted(dt.timedelta(days=29)):
        deadlines.fire_due()
        assert [state(one) for one in made] == ["effective", "signing"]
    with clock.shifted(dt.timedelta(days=31)):
        deadlines.fire_due()
        assert [state(one) for one in made] == ["effective", "broken_off"]


@pytest.mark.usefixtures("sqlite_database")
def test_a_declined_or_forgotten_renewal_lets_the_agreement_lapse() -> None:
    city, agreement = stand(months=12)
    ends = end_of(agreement)
    with at(ends - 120 * DAY):
        with db.transaction() as session:
            first = agreements.renewal.ask(session, city["operator"], agreement, "申请续期").id
            agreements.renewal.decline(session, city["data_authority"], first, "考核未达标")
            second = agreements.renewal.ask(session, city["operator"], agreement, "已整改，再次申请").id
        with db.transaction() as session, pytest.raises(ProblemError, match="wrong_state"):
            agreements.renewal.offer(session, city["data_authority"], first, months=12)
    with at(ends):
        deadlines.fire_due()
        assert state(agreement) == "lapsed"
    with db.transaction() as session, pytest.raises(ProblemError, match="wrong_state"):
        agreements.renewal.offer(session, city["data_authority"], second, months=12)


@pytest.mark.usefixtures("sqlite_database")
def test_termination_stops_everything_and_suspension_only_while_it_lasts() -> None:
    city, agreement = stand()
    under, product, _grant = sold_under(city)
    authority = city["data_authority"]

    def buy(key: str) -> None:
        with db.transaction() as session:
            commerce.place_order(session, city["consumer"], product_id=product, idempotency_key=key)

    def act(name: str, *arguments: str) -> None:
        with db.transaction() as session:
            getattr(agreements, name)(session, authority, agreement, *arguments)

    with db.transaction() as session, pytest.raises(ProblemError, match="not_allowed"):
        agreements.terminate(session, city["operator"], agreement, "不做了")
    act("suspend", "安全检查")
    with pytest.raises(ProblemError, match="agreement_not_in_force"):
        buy("suspended")
    act("resume")
    buy("resumed")
    with pytest.raises(ProblemError, match="agreement_reason_missing"):
        act("terminate", "")
    act("terminate", "整改不到位")
    assert (state(agreement), state(under)) == ("terminated", "terminated")
    with pytest.raises(ProblemError, match="product_not_listed"):
        buy("terminated")
    with db.transaction() as session, pytest.raises(ProblemError, match="agreement_not_in_force"):
        products.list_product(session, city["developer"], product)


@pytest.mark.usefixtures("sqlite_database")
def test_a_development_agreement_rests_on_an_operation_agreement_and_ends_no_later() -> None:
    city, agreement = stand(months=12)
    with db.transaction() as session:
        make_product(session, city, STATISTICS, listed=False)
        grant = session.exec(select(GrantRecord)).one()
    ends = end_of(agreement)

    def opened(until: dt.datetime) -> str:
        with db.transaction() as session:
            return development_agreement(session, city["operator"], city["developer"], demand_id=grant.demand_id,
                                         scenario_id=grant.scenario_id, until=until)

    for until in (ends + DAY, db.utc_now() - DAY):
        with pytest.raises(ProblemError, match="agreement_until"):
            opened(until)
    assert end_of(opened(ends)) == ends
    with db.transaction() as session:
        agreements.terminate(session, city["data_authority"], agreement, "终止")
    with pytest.raises(ProblemError, match="agreement_expired"):
        opened(ends)


@pytest.mark.usefixtures("sqlite_database")
def test_the_agreement_that_covers_a_resource_is_found_and_a_gap_is_named() -> None:
    with db.transaction() as session:
        city = make_city(session)
        authority, operator, department = city["data_authority"], city["operator"], city.departments[0]
        agreement = operation_agreement(session, authority, operator, mode="field", sectors=["health"], departments=[department])
        covered = {"id": "res_1", "sector": "health", "organisation_id": department, "title": "病例"}
        found = agreements.operation_for(session, resources=[covered], at=db.utc_now())
        assert (found.id, agreements.mode_of(found)) == (agreement, "field")
        for gap in ({**covered, "sector": "finance"}, {**covered, "organisation_id": city.departments[1]}):
            with pytest.raises(ProblemError) as caught:
                agreements.operation_for(session, resources=[covered, {**gap, "title": "缺口"}], at=db.utc_now())
            assert (caught.value.code, caught.value.args_["resource"]) == ("agreement_missing", "缺口")
        with pytest.raises(ProblemError, match="agreement_missing"):
            agreements.operation_for(session, operator_id=city["developer"].organisation_id, resources=[covered], at=db.utc_now())


# --- races ---


def together(*acts: Callable[[], object]) -> list[object]:
    """Do all at once, each in a thread of its own; what each returned or the problem it met."""
    ready = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        ready.wait(10)
        try:
            return act()
        except ProblemError as problem:
            return problem.code

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("attempt", range(3))
def test_a_purchase_and_the_lapse_at_once_have_one_order(attempt: int) -> None:
    """The clock stands at the end for both: the purchase is refused by it, or by what the lapse left; nothing is sold after."""
    city, _ = stand()
    under, product, _grant = sold_under(city)

    def buy() -> str:
        with db.transaction() as session:
            return commerce.place_order(session, city["consumer"], product_id=product, idempotency_key="k").id

    with at(end_of(under) - dt.timedelta(milliseconds=40)):
        bought, fired = together(buy, deadlines_until_lapsed(under))
    assert fired == "lapsed"
    with db.reading() as session:
        assert session.get_one(Product, product).status == "suspended"
        events = [row.tag for row in _events(session) if row.tag in ("commerce:order:placed", "agreements:agreement:lapsed")]
    if bought in ("agreement_not_in_force", "product_not_listed"):
        assert events == ["agreements:agreement:lapsed"]
    else:
        assert events == ["commerce:order:placed", "agreements:agreement:lapsed"]


def deadlines_until_lapsed(agreement: str) -> Callable[[], str]:
    """Does what the coordinator does: fires what is due, until the agreement has lapsed."""
    def run() -> str:
        for _ in range(2000):
            deadlines.fire_due()
            if state(agreement) == "lapsed":
                return "lapsed"
        return state(agreement)
    return run


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("attempt", range(3))
def test_a_purchase_and_a_termination_at_once_have_one_order(attempt: int) -> None:
    city, _ = stand()
    under, product, _grant = sold_under(city)

    def buy() -> str:
        with db.transaction() as session:
            return commerce.place_order(session, city["consumer"], product_id=product, idempotency_key="k").id

    def end() -> str:
        with db.transaction() as session:
            return agreements.terminate(session, city["data_authority"], under, "违规").status

    bought, ended = together(buy, end)
    assert ended == "terminated"
    with db.reading() as session:
        assert session.get_one(Product, product).status == "suspended"
        events = [row.tag for row in _events(session) if row.tag in ("commerce:order:placed", "agreements:agreement:terminated")]
    if bought in ("agreement_not_in_force", "product_not_listed"):
        assert events == ["agreements:agreement:terminated"]
    else:
        assert events == ["commerce:order:placed", "agreements:agreement:terminated"]


def _events(session: Session) -> list[Any]:
    from marketplace.trust import service as trust

    return trust.events_for(session, None, after=-1, limit=500)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("attempt", range(3))
def test_a_job_and_the_lapse_at_once_have_one_order(attempt: int) -> None:
    """The job's own checks are played: what they would hold open is the lock that every job takes first."""
    city, _ = stand()
    under, _product, grant = sold_under(city)
    ends = end_of(under)
    entered = Barrier(2)

    def job() -> str:
        with db.transaction() as session:
            entered.wait(10) if not db.settings().resolved_database_url.startswith("sqlite") else None
            authorisation.hold_agreement(session, grant, ends - dt.timedelta(seconds=1))
            held = agreements.get_agreement(session, SYSTEM, under).status
            session.add(Message(id=new_id("msg"), organisation_id=city["developer"].organisation_id or "", kind="x", subject=held))
            return held

    def lapse() -> str:
        with at(ends), db.transaction() as session:
            entered.wait(10) if not db.settings().resolved_database_url.startswith("sqlite") else None
            due = session.exec(select(deadlines.Deadline).where(
                deadlines.Deadline.subject == under, deadlines.Deadline.kind == "agreement.lapses")).one()
            deadlines.HANDLERS["agreement.lapses"](session, due)
            return "lapsed"

    outcome, ended = together(job, lapse)
    assert ended == "lapsed"
    assert outcome in ("effective", "agreement_not_in_force")
    assert state(under) == "lapsed"


@pytest.mark.usefixtures("database")
def test_a_lapse_fires_once_however_many_coordinators_look() -> None:
    city, agreement = stand(months=1)
    with at(end_of(agreement)):
        with db.reading() as session:
            due = [row for row in deadlines.due(session) if row.kind == "agreement.lapses"]
        fired = together(*[lambda: deadlines.fire(due[0].id)] * 4)
    assert sorted(map(bool, fired)) == [False, False, False, True]
    assert state(agreement) == "lapsed"
    assert len(messages("agreement.lapsed", city["operator"].organisation_id)) == 1


@pytest.mark.usefixtures("database")
def test_two_sides_sign_at_once_and_it_takes_effect_once() -> None:
    with db.transaction() as session:
        city = make_city(session)
        from tests.factories.agreements import pass_notice, terms
        authority, operator = city["data_authority"], city["operator"]
        row = agreements.draft(session, authority, operator_id=operator.organisation_id or "", terms=terms(session, authority))
        agreements.propose(session, authority, row.id)
        agreements.accept(session, operator, row.id)
        agreements.approve(session, colleague(authority), row.id)
        pass_notice(session, row.id)
        agreement, digest = row.id, agreements.page(session, operator, row.id).to_sign

    def sign(actor: Any) -> Callable[[], str]:
        def act() -> str:
            with db.transaction() as session:
                return agreements.sign(session, actor, agreement, digest).status
        return act

    assert sorted(map(str, together(sign(authority), sign(operator)))) == ["effective", "signing"]
    with db.reading() as session:
        assert [row.tag for row in _events(session)].count("agreements:agreement:effective") == 1
