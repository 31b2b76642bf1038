"""The authorisation chain through its service, on every database we support."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.factories import review

from marketplace.actor import Actor
from marketplace.authorisation import claims as claim_rules
from marketplace.authorisation import service as authorisation
from marketplace.authorisation import shared
from marketplace.authorisation.models import GrantRecord
from marketplace.catalogue.models import DataResource
from marketplace.computing.models import Node
from marketplace.db import utc_now
from marketplace.trust import service as trust
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError
from shuyan.trust import _jws, grants, keys

from . import market as city

AUTHORITY, DEVELOPER, RIVAL, DEPARTMENT = city.AUTHORITY, city.DEVELOPER, city.RIVAL, city.DEPARTMENT


@pytest.fixture
def market(database: Any) -> Any:
    return city.build(database)


def propose(database: Any, actor: Actor = DEVELOPER, **changes: Any) -> str:
    with database.transaction() as session:
        return authorisation.propose_scenario(session, actor, authorisation.Content(**{**review.CONTENT, **changes})).id


def submit(database: Any, **changes: Any) -> str:
    """A demand that the review approved."""
    with database.transaction() as session:
        return review.reviewed_demand(session, DEVELOPER, city.body(**changes)).id


def draft(database: Any, demand: str) -> grants.Grant:
    with database.reading() as session:
        return authorisation.grant_draft(session, AUTHORITY, demand)


def accept(database: Any, demand: str, jws: str, actor: Actor = AUTHORITY) -> GrantRecord:
    with database.transaction() as session:
        return authorisation.accept_grant(session, actor, demand, jws)


def issue(database: Any, market: Any, **changes: Any) -> GrantRecord:
    demand = submit(database, **changes)
    return accept(database, demand, grants.sign_grant(draft(database, demand), market.authority_key))


def revocations(market: Any, number: int, *jtis: str, next_update: int | None = None) -> str:
    now = int(time.time())
    return grants.sign_revocations(grants.RevocationList(
        iss="org_authority", number=number, iat=now, next_update=next_update or now + 86_400,
        revoked=tuple(grants.RevokedGrant(jti=jti, at=now, reason="停止使用") for jti in jtis)), market.authority_key)


def revoke(database: Any, jws: str, actor: Actor = AUTHORITY) -> int:
    with database.transaction() as session:
        return authorisation.accept_revocations(session, actor, jws).number


def test_from_scenario_to_usable_grant(database: Any, market: Any) -> None:
    record = issue(database, market)
    with database.reading() as session:
        same, grant = authorisation.usable_grant(session, record.id, utc_now())
        assert same.digest == grants.grant_digest(record.jws)
        assert [r.name for r in grant.resources] == ["households"] * 3
        assert {n.signing_key for n in grant.nodes} == {market.cards[f"node_{n}"].signing_key for n in (1, 2, 3)}
        assert grant.exp - grant.iat == 90 * 86_400
        demand = authorisation.get_demand(session, DEVELOPER, record.demand_id)
        scenario = authorisation.get_scenario(session, DEVELOPER, record.scenario_id)
        assert (demand.status, scenario.status) == ("granted", "authorised")
        tags = [e.tag for e in trust.events_for(session, record.scenario_id) if e.tag.startswith("authorisation:")]
        assert trust.check_database(session).ok
    assert tags == ["authorisation:scenario:proposed", "authorisation:scenario:submitted", *["authorisation:opinion:given"] * 2,
                    "authorisation:scenario:accepted", "authorisation:demand:submitted", "authorisation:demand:approved",
                    "authorisation:demand:agreed", "authorisation:grant:issued"]


BAD_DEMANDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("core data", {"resources": [{"resource_id": "res_core", "columns": ["age"]}]}, "demand_grade_forbidden",
     "resources.0.resource_id"),
    ("an identifier", {"resources": [{"resource_id": f"res_{n}", "columns": ["age", "id_number"]} for n in (1, 2, 3)]},
     "demand_column_identifier", "resources.0.columns"),
    ("an unknown column", {"resources": [{"resource_id": f"res_{n}", "columns": ["salary"]} for n in (1, 2, 3)]},
     "demand_column_unknown", "resources.0.columns"),
    ("an unknown resource", {"resources": [{"resource_id": "res_9", "columns": ["age"]}]}, "demand_resource_unknown",
     "resources.0.resource_id"),
    ("a resource twice", {"resources": [{"resource_id": "res_1", "columns": ["age"]}] * 3}, "demand_invalid", "resources"),
    ("a column twice", {"resources": [{"resource_id": f"res_{n}", "columns": ["age", "age"]} for n in (1, 2, 3)]},
     "demand_invalid", "resources.0.columns"),
    ("an unknown app", {"apps": ["statistics", "exfiltrate"]}, "demand_app_unknown", "apps.1"),
    ("an unfit form", {"apps": ["regression"]}, "demand_form_unfit", "output_forms"),
    ("a small cohort", {"minimum_cohort": 9}, "demand_cohort_too_small", "minimum_cohort"),
    ("two participants", {"minimum_participants": 2}, "demand_participants_too_few", "minimum_participants"),
    ("two departments", {"resources": [{"resource_id": f"res_{n}", "columns": ["age"]} for n in (1, 2)]},
     "demand_departments_too_few", "resources"),
    ("too long a term", {"term_days": 1096}, "demand_term_too_long", "term_days"),
    ("no term", {"term_days": 0}, "demand_term_too_long", "term_days"),
    ("a term of false", {"term_days": False}, "demand_invalid", "term_days"),
    ("no columns", {"resources": [{"resource_id": "res_1", "columns": []}]}, "demand_invalid", "resources.0.columns"),
    ("an extra field", {"raw_rows": True}, "demand_invalid", "raw_rows"),
    ("noise without terms", {"release": "dp"}, "demand_release_invalid", "privacy"),
    ("terms without noise", {"privacy": city.privacy()}, "demand_release_invalid", "privacy"),
    ("no budget", {"release": "dp", "privacy": city.privacy(epsilon=None)}, "demand_budget_invalid", "privacy.epsilon"),
    ("two budgets", {"release": "dp", "privacy": city.privacy(rho_nano=5)}, "demand_budget_invalid", "privacy.epsilon"),
    ("too large a δ", {"release": "dp", "privacy": city.privacy(delta=0.5)}, "demand_invalid", "privacy.delta"),
    ("an app without noise", {"release": "dp", "privacy": city.privacy(), "apps": ["survival"], "output_forms": ["model"]},
     "demand_app_without_noise", "apps.0"),
    ("own figures for no reason", {"own_figures": True}, "demand_own_figures_unexplained", "own_figures_reason"),
    ("another output form", {"output_forms": ["rows"]}, "demand_invalid", "output_forms.0"),
]


@pytest.mark.parametrize(("changes", "code", "field"), [c[1:] for c in BAD_DEMANDS], ids=[c[0] for c in BAD_DEMANDS])
def test_what_may_not_be_asked_for(sqlite_database: Any, changes: dict[str, Any], code: str, field: str) -> None:
    city.build(sqlite_database)
    with pytest.raises(ProblemError) as caught:
        submit(sqlite_database, **changes)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert "?" not in caught.value.text("zh") + caught.value.text("en")
    with sqlite_database.reading() as session:
        assert authorisation.list_demands(session, AUTHORITY).items == []


def test_only_those_concerned_may_act_and_look(database: Any, market: Any) -> None:
    demand = submit(database)
    jws = grants.sign_grant(draft(database, demand), market.authority_key)
    with database.transaction() as session:
        for actor in (RIVAL, Actor("consumer", "org_rival"), Actor("public")):
            with pytest.raises(ProblemError, match="not_found"):
                authorisation.get_demand(session, actor, demand)
        assert authorisation.list_demands(session, RIVAL).items == []
        with pytest.raises(ProblemError, match="not_signed_in"):
            authorisation.list_grants(session, Actor("public"))
        for actor in (DEVELOPER, DEPARTMENT, Actor("data_authority", "org_authority", roles=frozenset({"handler"}))):
            with pytest.raises(ProblemError, match="not_allowed"):
                authorisation.grant_draft(session, actor, demand)
            with pytest.raises(ProblemError, match="not_allowed"):
                authorisation.accept_grant(session, actor, demand, jws)
        with pytest.raises(ProblemError, match="scope_missing"):
            authorisation.grant_draft(session, Actor("data_authority", "org_authority", scopes=frozenset({"read"})), demand)
        scenario = authorisation.get_demand(session, DEPARTMENT, demand).scenario_id
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.draft_demand(session, RIVAL, scenario, city.body())


def test_a_granted_scenario_cannot_be_withdrawn(database: Any, market: Any) -> None:
    record = issue(database, market)
    with database.transaction() as session, pytest.raises(ProblemError, match="wrong_state"):
        authorisation.withdraw_scenario(session, DEVELOPER, record.scenario_id)


WIDER: list[tuple[str, dict[str, Any], str]] = [
    ("columns", {"resources": lambda g: (g.resources[0].model_copy(update={"columns": ("age", "income", "id_number")}),
                                         *g.resources[1:])}, "grant_too_wide"),
    ("cohort", {"minimum_cohort": lambda _: 5}, "grant_too_wide"),
    ("output forms", {"output_forms": lambda _: ("model", "statistics")}, "grant_too_wide"),
    ("apps", {"apps": lambda g: (*g.apps, grants.GrantedApp(name="other", digest="sha256:" + "0" * 64))}, "grant_too_wide"),
    ("app digest", {"apps": lambda g: (g.apps[0].model_copy(update={"digest": "sha256:" + "0" * 64}),)}, "grant_too_wide"),
    ("term", {"exp": lambda g: g.exp + 86_400}, "grant_too_wide"),
    ("output size", {"max_output_values": lambda g: g.max_output_values + 1}, "grant_too_wide"),
    ("node keys", {"nodes": lambda g: (g.nodes[0].model_copy(update={"agreement_key": keys.b64url(b"k" * 32)}),
                                       *g.nodes[1:])}, "grant_too_wide"),
    ("grantee", {"grantee": lambda _: "org_rival"}, "grant_other_demand"),
    ("purpose", {"purpose": lambda _: "广告投放"}, "grant_other_demand"),
    ("id", {"jti": lambda _: "grant_other"}, "grant_other_demand"),
]


@pytest.mark.parametrize(("changes", "code"), [w[1:] for w in WIDER], ids=[w[0] for w in WIDER])
def test_a_grant_wider_than_its_demand_is_not_taken(sqlite_database: Any, changes: dict[str, Any], code: str) -> None:
    market = city.build(sqlite_database)
    demand = submit(sqlite_database)
    claims = draft(sqlite_database, demand)
    wider = claims.model_copy(update={name: change(claims) for name, change in changes.items()})
    with pytest.raises(ProblemError) as caught:
        accept(sqlite_database, demand, grants.sign_grant(wider, market.authority_key))
    assert caught.value.code == code
    with sqlite_database.reading() as session:
        assert authorisation.list_grants(session, AUTHORITY).items == []


def test_a_narrower_grant_is_taken(database: Any, market: Any) -> None:
    demand = submit(database)
    claims = draft(database, demand)
    narrower = claims.model_copy(update={
        "resources": tuple(r.model_copy(update={"columns": ("age",)}) for r in claims.resources),
        "minimum_cohort": 50, "exp": claims.exp - 86_400})
    assert accept(database, demand, grants.sign_grant(narrower, market.authority_key)).status == "active"


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every app can answer with noise."""
    honest = shared.app_facts
    monkeypatch.setattr(shared, "app_facts",
                        lambda session: {name: replace(facts, noisy=True) for name, facts in honest(session).items()})


@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize(("changes", "code", "field"), [
    ({"unit_columns": {"households": "name"}}, "demand_unit_column_unknown", "privacy.unit_columns.households"),
    ({"unit_columns": {"other": "id_number"}}, "demand_unit_column_missing", "privacy.unit_columns.households"),
    ({"unit_columns": {"households": "id_number", "other": "x"}}, "demand_invalid", "privacy.unit_columns.other"),
])
def test_each_resource_has_a_column_that_tells_units_apart(
    sqlite_database: Any, changes: dict[str, Any], code: str, field: str
) -> None:
    city.build(sqlite_database)
    with pytest.raises(ProblemError) as caught:
        submit(sqlite_database, release="dp", privacy=city.privacy(**changes))
    assert (caught.value.code, caught.value.field) == (code, field)
    assert "?" not in caught.value.text("zh") + caught.value.text("en")


@pytest.mark.usefixtures("noisy")
def test_a_grant_says_how_answers_are_released(sqlite_database: Any) -> None:
    market = city.build(sqlite_database)
    record = issue(sqlite_database, market, release="dp", privacy=city.privacy())
    with sqlite_database.reading() as session:
        _, grant = authorisation.usable_grant(session, record.id, utc_now())
    assert (grant.release, record.release, grant.own_figures) == ("dp", "dp", False)
    assert grant.privacy is not None
    assert grant.privacy.unit_columns == {"households": "id_number"}
    assert accounting.epsilon(grant.privacy.rho_nano, 1e-6) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize(("name", "change"), [
    ("privacy", {"rho_nano": 10**9}), ("privacy", {"delta": 1e-5}), ("privacy", {"max_groups_per_unit": 9}),
    ("privacy", {"unit": "household"}), ("privacy", {"honest_fraction": 0.9}),
])
def test_privacy_terms_may_not_be_loosened(sqlite_database: Any, name: str, change: dict[str, Any]) -> None:
    market = city.build(sqlite_database)
    demand = submit(sqlite_database, release="dp", privacy=city.privacy())
    claims = draft(sqlite_database, demand)
    assert claims.privacy is not None
    looser = claims.model_copy(update={"privacy": claims.privacy.model_copy(update=change)})
    with pytest.raises(ProblemError) as caught:
        accept(sqlite_database, demand, grants.sign_grant(looser, market.authority_key))
    assert (caught.value.code, caught.value.args_) == ("grant_too_wide", {"name": name})


WITH_DISTRICT = [{"resource_id": f"res_{n}", "columns": ["age", "district"]} for n in (1, 2, 3, 4)]


def test_values_of_one_department_alone_are_named_in_the_grant(sqlite_database: Any) -> None:
    market = city.build(sqlite_database)
    demand = submit(sqlite_database, resources=WITH_DISTRICT)
    claims = draft(sqlite_database, demand)
    alone = grants.SoleValues(resource="households", column="district", values=("区1", "区2", "区3", "区4"))
    assert claims.sole_values == (alone,)
    for wrong in ((), (alone.model_copy(update={"values": ("区1", "区2", "区3")}),)):
        with pytest.raises(ProblemError) as caught:
            accept(sqlite_database, demand, grants.sign_grant(claims.model_copy(update={"sole_values": wrong}),
                                                              market.authority_key))
        assert (caught.value.code, caught.value.args_) == ("grant_too_wide", {"name": "sole_values"})
    more = claims.model_copy(update={"sole_values": (alone.model_copy(update={"values": ("共有", *alone.values)}),)})
    assert accept(sqlite_database, demand, grants.sign_grant(more, market.authority_key)).status == "active"


def test_own_figures_are_asked_for_with_a_reason_and_never_added(sqlite_database: Any) -> None:
    market = city.build(sqlite_database)
    demand = submit(sqlite_database)
    claims = draft(sqlite_database, demand).model_copy(update={"own_figures": True})
    with pytest.raises(ProblemError, match="grant_too_wide"):
        accept(sqlite_database, demand, grants.sign_grant(claims, market.authority_key))
    assert issue(sqlite_database, market, own_figures=True, own_figures_reason="逐部门核对").own_figures


def test_a_grant_of_the_first_version_counts_as_expired_and_can_still_be_read(sqlite_database: Any) -> None:
    market = city.build(sqlite_database)
    record = issue(sqlite_database, market)
    claims = authorisation.read_grant(record).model_dump(mode="json")
    for later in ("release", "privacy", "own_figures", "sole_values"):
        del claims[later]
    jws = _jws.sign(claims, grants.GRANT_TYPE, market.authority_key)
    with sqlite_database.transaction() as session:
        row = session.get_one(GrantRecord, record.id)
        row.jws, row.digest, row.claims_version = jws, grants.grant_digest(jws), 1
    with sqlite_database.reading() as session:
        with pytest.raises(ProblemError) as caught:
            authorisation.usable_grant(session, record.id, utc_now())
        row = authorisation.get_grant(session, DEVELOPER, record.id)
        assert authorisation.read_grant(row).scenario_title == "普惠金融"
        assert authorisation.grant_state(row, utc_now()) == "outdated"
    assert caught.value.code == "grant_outdated"
    with pytest.raises(ProblemError, match="grant_invalid"):  # no first version of today's
        grants.read_first_grant(record.jws, market.authority_key.public_key())
    demand = submit(sqlite_database)
    with pytest.raises(ProblemError, match="grant_invalid"):  # and none is taken in any more
        accept(sqlite_database, demand, jws)


def test_only_the_authoritys_signature_counts(database: Any, market: Any) -> None:
    demand = submit(database)
    with pytest.raises(ProblemError, match="grant_invalid"):
        accept(database, demand, grants.sign_grant(draft(database, demand), keys.generate_signing_key()))
    with pytest.raises(ProblemError, match="grant_invalid"):
        accept(database, demand, "rubbish")
    (database.settings.keys_dir / "authority.pub").unlink()
    with pytest.raises(ProblemError, match="authority_key_missing"):
        accept(database, demand, grants.sign_grant(draft(database, demand), market.authority_key))


def test_handing_in_a_grant_twice_makes_one(database: Any, market: Any) -> None:
    demand = submit(database)
    claims = draft(database, demand)
    jws = grants.sign_grant(claims, market.authority_key)
    assert accept(database, demand, jws).id == accept(database, demand, jws).id
    again = grants.sign_grant(claims.model_copy(update={"minimum_cohort": 20}), market.authority_key)
    with pytest.raises(ProblemError, match="wrong_state"):
        accept(database, demand, again)
    with database.reading() as session:
        assert [e.tag for e in trust.events_for(session, claim_rules.grant_id(demand))] == ["authorisation:grant:issued"]


def test_a_demand_is_checked_again_when_it_is_granted(database: Any, market: Any) -> None:
    demand = submit(database)
    with database.transaction() as session:
        session.get_one(DataResource, "res_2").grade = 4
    with pytest.raises(ProblemError, match="demand_grade_forbidden"):
        draft(database, demand)
    with database.transaction() as session:
        session.get_one(DataResource, "res_2").grade = 3
        session.get_one(Node, "node_3").status = "revoked"
    with pytest.raises(ProblemError, match="demand_node_unavailable"):
        draft(database, demand)


def test_term_and_revocation_end_a_grant(database: Any, market: Any) -> None:
    record = issue(database, market)
    with database.reading() as session:
        with pytest.raises(ProblemError, match="grant_expired"):
            authorisation.usable_grant(session, record.id, utc_now() + dt.timedelta(days=91))
        with pytest.raises(ProblemError, match="agreement_not_in_force"):  # which comes before any grant under it
            authorisation.usable_grant(session, record.id, utc_now() - dt.timedelta(days=1))
        with pytest.raises(ProblemError, match="not_found"):
            authorisation.usable_grant(session, "grant_nowhere", utc_now())
    assert revoke(database, revocations(market, 1)) == 1
    with database.reading() as session:
        authorisation.usable_grant(session, record.id, utc_now())
    assert revoke(database, revocations(market, 2, record.id, "grant_unknown_here")) == 2
    with database.reading() as session:
        with pytest.raises(ProblemError, match="grant_revoked"):
            authorisation.usable_grant(session, record.id, utc_now())
        assert authorisation.get_grant(session, DEVELOPER, record.id).revocation_reason == "停止使用"
        assert trust.events_for(session, record.id)[-1].tag == "authorisation:grant:revoked"


def test_revocation_lists_only_grow(database: Any, market: Any) -> None:
    record = issue(database, market)
    second = revocations(market, 2, record.id)
    revoke(database, second)
    assert revoke(database, second) == 2
    for jws, code in ((revocations(market, 1, record.id), "revocations_old"),
                      (revocations(market, 2, record.id, next_update=int(time.time()) + 5000), "revocations_old"),
                      (revocations(market, 3), "revocations_dropped"),
                      (revocations(market, 3, record.id, next_update=1), "revocations_past"),
                      ("rubbish", "revocations_invalid"), (record.jws, "revocations_invalid")):
        with pytest.raises(ProblemError, match=code):
            revoke(database, jws)
    with pytest.raises(ProblemError, match="not_allowed"):
        revoke(database, revocations(market, 3, record.id), DEVELOPER)
    with database.reading() as session:
        latest = authorisation.latest_revocations(session)
        assert latest is not None
        assert latest.number == 2


def test_a_grant_changed_in_the_database_is_no_grant(database: Any, market: Any) -> None:
    record = issue(database, market)
    with database.transaction() as session:
        row = session.get_one(GrantRecord, record.id)
        row.jws = row.jws[:-8] + "AAAAAAAA"
    with database.reading() as session, pytest.raises(ProblemError, match="grant_invalid"):
        authorisation.usable_grant(session, record.id, utc_now())


def test_lists_are_paged_newest_first(database: Any, market: Any) -> None:
    made = [propose(database, title=f"场景{n}") for n in range(5)]
    with database.reading() as session:
        first = authorisation.list_scenarios(session, DEVELOPER, limit=3)
        second = authorisation.list_scenarios(session, DEVELOPER, cursor=first.next, limit=3)
        assert sorted(s.id for s in first.items + second.items) == sorted(made)
        assert second.next is None
        assert authorisation.list_scenarios(session, RIVAL).items == []
        assert authorisation.scenario_actions(DEVELOPER, first.items[0]) == ["edit", "submit", "withdraw"]
        assert authorisation.scenario_actions(AUTHORITY, first.items[0]) == []
        assert authorisation.list_scenarios(session, AUTHORITY).items == []  # drafts are their owner's alone
