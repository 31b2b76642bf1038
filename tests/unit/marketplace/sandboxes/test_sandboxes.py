"""Sandboxes at the market: what they describe, whose they are, their quota, and what may go from them to the nodes."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from tests.factories.federation import AIR, PARAMS, Zone, air, zone

from marketplace import db
from marketplace.actor import PUBLIC, SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.catalogue import service as catalogue
from marketplace.computing import nodes
from marketplace.computing import service as computing
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.sandboxes import rules
from marketplace.sandboxes import service as sandboxes
from marketplace.settings import settings
from shuyan.jobs import digest_of
from shuyan.mockdata import table
from shuyan.mockdata.federation import MockedFederation
from shuyan.problems import ProblemError


@pytest.fixture
def market(sqlite_database) -> Zone:
    return zone()


def scenario_of(session, market: Zone) -> str:
    return authorisation.get_grant(session, market.developer, market.grant_id).scenario_id


def opened(market: Zone) -> str:
    with db.transaction() as session:
        return sandboxes.open_sandbox(session, market.developer, scenario_of(session, market)).id


def described(market: Zone, box: str):
    with db.reading() as session:
        return sandboxes.describe(session, market.developer, box)


def parts_of(market: Zone, box: str, params=None):
    told = described(market, box)
    from shuyan.federation.apps.base import built_in

    with MockedFederation(told, {(one.node_id, one.name): table(told, one, 40) for one in told.resources}) as federation:
        return federation.fill(built_in()["statistics"], PARAMS if params is None else params).parts


def tried(market: Zone, box: str, parts, *, error: str | None = None) -> str:
    with db.transaction() as session:
        run = sandboxes.begin_run(session, market.developer, box, parts=parts, digest=digest_of(parts),
                                  description_digest="sha256:" + "0" * 64, rows=100)
    with db.transaction() as session:
        return sandboxes.finish_run(session, market.developer, box, run.id, duration_ms=12, error_code=error,
                                    result_digest=None if error else "sha256:" + "1" * 64).id


def submit(market: Zone, run: str = "", params=None, grant_id: str = ""):
    with db.transaction() as session:
        job = computing.submit_job(session, market.developer, grant_id=grant_id or market.grant_id, app="statistics",
                                   params=PARAMS if params is None else params, idempotency_key=new_id("key"), sandbox_run=run)
        return job.id, job.sandbox_run_id


def refused(code: str):
    return pytest.raises(ProblemError, match=f"^{code}:")


# --- what it describes ---


def test_a_sandbox_has_what_was_approved_and_nothing_else(market):
    told = described(market, opened(market))
    assert told.basis == "grant"
    assert told.basis_id == market.grant_id
    assert {one.name for one in told.resources} == {"air"}
    assert {column.name for one in told.resources for column in one.columns} == {"pm25", "year", "wind", "remark"}  # no sensor
    assert len(told.resources) == 3
    assert told.terms.minimum_cohort == 10
    assert {app.name for app in told.terms.apps} == {"regression", "statistics"}
    assert described(market, opened(market)).digest == told.digest  # opened twice is once
    market.grant(columns=("pm25",))  # another scenario's grant changes nothing here
    assert described(market, opened(market)).digest == told.digest


def test_of_an_approval_with_noise_the_unit_is_there_but_not_to_be_read(market):
    privacy = {"unit": "sensor", "unit_columns": {"air": "sensor"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1, "delta": 1e-6,
               "rho_nano": 10**9, "honest_fraction": 1.0}
    market.grant_id = market.grant(columns=("year", "wind"), release="dp", privacy=privacy)
    told = described(market, opened(market))
    assert [column.name for column in told.resources[0].columns if not column.granted] == ["sensor"]
    assert told.resources[0].granted.columns == ("year", "wind")
    tables = {(one.node_id, one.name): table(told, one, 200) for one in told.resources}
    from shuyan.federation.apps.base import built_in

    with MockedFederation(told, tables) as federation:
        app = built_in()["statistics"]
        filled = federation.fill(app, {"resource": "air", "columns": [], "group_by": [["year"]], "rho_nano": 10**8})
        assert federation.put("statistics", filled)["kind"] == "statistics"


def test_missing_shares_come_of_measured_completeness_and_a_withdrawn_grant_describes_nothing(market):
    one = market.departments[0]
    profile = {"measured_at_ms": 1, "completeness": 90, "validity": 100, "uniqueness": 100, "timeliness": None, "date_column": "",
               "latest_month": "2025-11", "columns": [{"name": column["name"], "completeness": 70 if column["name"] == "pm25" else 100,
                                                       "validity": 100} for column in AIR]}
    with db.transaction() as session:
        catalogue.sync_resources(session, nodes.nodes_by_id(session, [one.node_id])[one.node_id], [air(profile=profile)])
    box = opened(market)
    told = described(market, box)
    missing = {column.name: column.missing for item in told.resources if item.resource_id == one.resource_id for column in item.columns}
    assert missing["pm25"] == 30
    assert missing["year"] == 0
    assert told.until == "2025-11-30"
    with db.transaction() as session:
        authorisation.hold_grant(session, Actor("source_department", one.organisation_id, member_id="mem_dep"), market.grant_id, "停用")
    with refused("sandbox_nothing_approved"):
        described(market, box)
    with refused("sandbox_nothing_approved"), db.transaction() as session:
        sandboxes.begin_run(session, market.developer, box, parts={}, digest=digest_of({}), description_digest="d", rows=1)


# --- whose it is ---


def test_no_other_tenant_reaches_a_sandbox(market):
    box = opened(market)
    parts = parts_of(market, box)
    run = tried(market, box, parts)
    with db.transaction() as session:
        other = parties.register_organisation(session, SYSTEM, kind="developer", name_zh="另一家", name_en="Another")
    stranger = Actor("developer", other.id, member_id="mem_other")
    with db.reading() as session:
        scenario = scenario_of(session, market)
        assert sandboxes.list_sandboxes(session, stranger).items == []
        assert sandboxes.list_sandboxes(session, stranger, scenario_id=scenario).items == []
    department = Actor("source_department", market.departments[0].organisation_id, member_id="mem_dep")
    for actor in (stranger, department, PUBLIC, Actor("consumer", other.id, member_id="mem_other")):
        for reach in (
            lambda session, who=actor: sandboxes.get_sandbox(session, who, box),
            lambda session, who=actor: sandboxes.describe(session, who, box),
            lambda session, who=actor: sandboxes.list_runs(session, who, box),
            lambda session, who=actor: sandboxes.close_sandbox(session, who, box),
            lambda session, who=actor: sandboxes.open_sandbox(session, who, scenario),
            lambda session, who=actor: sandboxes.begin_run(session, who, box, parts=parts, digest=digest_of(parts), description_digest="d", rows=1),
            lambda session, who=actor: sandboxes.finish_run(session, who, box, run, duration_ms=1, result_digest=None),
        ):
            with refused("not_found"), db.transaction() as session:
                reach(session)
    # those who oversee see that it is there and what was tried, but have no description and act in nobody's place
    with db.reading() as session:
        assert sandboxes.get_sandbox(session, market.authority, box).id == box
        assert [one.id for one in sandboxes.list_runs(session, market.operator, box).items] == [run]
        for actor in (market.authority, market.operator):
            with refused("not_found"):
                sandboxes.describe(session, actor, box)
    with refused("not_allowed"), db.transaction() as session:
        sandboxes.close_sandbox(session, market.operator, box)
    # a run of another's is none
    with refused("not_found"), db.transaction() as session:
        sandboxes.tried(session, other.id, market.grant_id, parts, run)


# --- runs and quota ---


def test_runs_are_taken_down_until_the_day_is_used_up(market, monkeypatch):
    box = opened(market)
    parts = parts_of(market, box)
    monkeypatch.setattr(settings(), "sandbox_runs_a_day", 2)
    run = tried(market, box, parts)
    tried(market, box, parts, error="cohort_too_small")
    with refused("sandbox_runs_used_up"):
        tried(market, box, parts)
    with db.reading() as session:
        runs = sandboxes.list_runs(session, market.developer, box).items
        assert [one.status for one in runs] == ["failed", "succeeded"]
        use = sandboxes.use_of(session, sandboxes.get_sandbox(session, market.developer, box))
        assert (use.runs_today, use.runs_a_day) == (2, 2)
    monkeypatch.setattr(settings(), "sandbox_runs_a_day", 9)
    for wrong in ({"digest": "sha256:" + "0" * 64}, {"parts": {**parts, "params": {"x": "a\x00"}}}, {"parts": {**parts, "params": {"x": "a" * 70_000}}}):
        asked = {"parts": parts, "digest": digest_of(wrong.get("parts", parts)), "description_digest": "d", "rows": 1, **wrong}
        with refused("sandbox_parts_invalid"), db.transaction() as session:
            sandboxes.begin_run(session, market.developer, box, **asked)
    with refused("sandbox_run_rows"), db.transaction() as session:
        sandboxes.begin_run(session, market.developer, box, parts=parts, digest=digest_of(parts), description_digest="d", rows=10**6)
    with db.transaction() as session:  # told twice is once; told otherwise is refused
        assert sandboxes.finish_run(session, market.developer, box, run, duration_ms=99, result_digest="sha256:" + "1" * 64).duration_ms == 12
    with refused("wrong_state"), db.transaction() as session:
        sandboxes.finish_run(session, market.developer, box, run, duration_ms=1, error_code="x")
    with db.transaction() as session:
        sandboxes.close_sandbox(session, market.developer, box)
    with refused("sandbox_closed"):
        tried(market, box, parts)
    with refused("sandbox_closed"):
        described(market, box)
    with db.transaction() as session:
        assert sandboxes.reopen_sandbox(session, market.developer, box).status == "open"


def test_of_runs_begun_at_once_no_more_than_the_quota_are_taken(database, monkeypatch):
    market = zone()
    box = opened(market)
    parts = parts_of(market, box)
    monkeypatch.setattr(settings(), "sandbox_runs_a_day", 3)

    def begin(_: int) -> str:
        try:
            with db.transaction() as session:
                sandboxes.begin_run(session, market.developer, box, parts=parts, digest=digest_of(parts), description_digest="d", rows=1)
        except ProblemError as problem:
            return problem.code
        return "begun"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(begin, range(8)))
    assert sorted(said) == ["begun"] * 3 + ["sandbox_runs_used_up"] * 5


def test_a_sandbox_opened_at_once_is_one(database):
    market = zone()
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: opened(market), range(4)))) == 1


# --- to the nodes ---


def test_a_job_is_the_run_it_is_said_to_be_or_refused(market):
    box = opened(market)
    run = tried(market, box, parts_of(market, box))
    assert submit(market, run)[1] == run
    assert submit(market)[1] == run  # not named, but the very same
    with pytest.raises(ProblemError) as changed:
        submit(market, run, {**PARAMS, "columns": []})
    assert changed.value.code == "changed_since_sandbox"
    assert "params.columns" in changed.value.text("zh")
    with refused("not_found"):
        submit(market, "run_nothing")
    failed = tried(market, box, parts_of(market, box), error="cohort_too_small")
    with refused("not_tried_in_sandbox"):
        submit(market, failed)
    with refused("not_tried_in_sandbox"):  # tried, but in another scenario's sandbox
        submit(market, run, grant_id=market.grant())
    with db.reading() as session:
        assert len(computing.jobs_of_runs(session, [run])[run]) == 2


def test_which_jobs_must_have_been_tried_is_a_setting(market, monkeypatch):
    assert submit(market, params={**PARAMS, "columns": []})[1] is None  # a built-in app need not
    monkeypatch.setattr(settings(), "sandbox_required", "all")
    with refused("not_tried_in_sandbox"):
        submit(market)
    run = tried(market, opened(market), parts_of(market, opened(market)))
    assert submit(market)[1] == run
    assert rules.must_be_tried("own_apps", built_in=False)
    assert not rules.must_be_tried("own_apps", built_in=True)
    assert not rules.must_be_tried("none", built_in=False)


@given(st.sampled_from(["columns", "group_by", "resource", "app_digest"]), st.data())
@effort(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_is_refused_and_named(market, where, data):
    box = opened(market)
    parts = parts_of(market, box)
    with db.reading() as session:
        runs = sandboxes.list_runs(session, market.developer, box).items
    run = runs[0].id if runs else tried(market, box, parts)
    other = copy.deepcopy(parts)
    if where == "app_digest":
        other["app_digest"] = "sha256:" + data.draw(st.text("0123456789abcdef", min_size=64, max_size=64))
    else:
        other["params"][where] = data.draw(st.text(max_size=4) | st.lists(st.text(max_size=3), max_size=3) | st.integers(-9, 9))
    with db.reading() as session:
        if json.dumps(other, sort_keys=True) == json.dumps(parts, sort_keys=True):
            assert sandboxes.tried(session, market.developer.organisation_id or "", market.grant_id, other, run) == run
            return
        with pytest.raises(ProblemError) as refused_:
            sandboxes.tried(session, market.developer.organisation_id or "", market.grant_id, other, run)
    assert refused_.value.code == "changed_since_sandbox"
    assert where in str(refused_.value.args_["what"])


# --- marginals ---

SPREAD = {"method": "measured", "epsilon": 1.0, "measured_at_ms": 1_700_000_000_000, "columns": [
    {"name": "wind", "labels": ["N", "S"], "weights": [900, 100]},
    {"name": "pm25", "edges": [0.0, 50.0, 400.0], "weights": [700, 300]},
    {"name": "sensor", "labels": ["1"], "weights": [1000]},  # an identifier: left out
    {"name": "year", "labels": ["1999"], "weights": [1000]},  # not declared: left out
    {"name": "wind", "labels": "no", "weights": [-1]},
]}


def test_marginals_reach_a_sandbox_once_their_department_approved_them(market):
    one = market.departments[0]
    reviewer = Actor("source_department", one.organisation_id, member_id="mem_dep")
    box = opened(market)
    bare = described(market, box).digest

    def take(spread):
        with db.transaction() as session:
            sandboxes.take_marginals(session, {"air": one.resource_id}, {"air": spread})

    take(SPREAD)
    with db.reading() as session:
        row = sandboxes.get_marginals(session, reviewer, one.resource_id)
        assert [column["name"] for column in row.columns] == ["wind", "pm25"]
        assert row.status == "offered"
        digest = row.digest
        with refused("not_found"):
            sandboxes.get_marginals(session, market.developer, one.resource_id)
        with refused("not_found"):
            sandboxes.get_marginals(session, Actor("source_department", market.departments[1].organisation_id, member_id="m"), one.resource_id)
    assert described(market, box).digest == bare
    with refused("marginals_changed"), db.transaction() as session:
        sandboxes.decide_marginals(session, reviewer, one.resource_id, "approve", digest="sha256:" + "0" * 64)
    with refused("marginals_note_missing"), db.transaction() as session:
        sandboxes.decide_marginals(session, reviewer, one.resource_id, "refuse")
    with db.transaction() as session:
        sandboxes.decide_marginals(session, reviewer, one.resource_id, "approve", digest=digest)
    take(SPREAD)  # the node tells it with every list: nothing changes
    told = described(market, box)
    mine = next(item for item in told.resources if item.resource_id == one.resource_id)
    assert {column.name: column.marginal is not None for column in mine.columns} == {"pm25": True, "year": False, "wind": True, "remark": False}
    winds = list(table(told, mine, 2_000)["wind"])
    assert 0.86 < winds.count("N") / 2_000 < 0.94
    take({**SPREAD, "columns": SPREAD["columns"][:1]})  # others wait again
    assert described(market, box).digest == bare
    take(None)
    with db.reading() as session:
        assert sandboxes.get_marginals(session, reviewer, one.resource_id).status == "withdrawn"
