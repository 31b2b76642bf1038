"""Reports with reviews, approvals against them, what a rejection costs, and the cards of models; who may see what."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlmodel import select
from tests.factories.apps import shared_app
from tests.factories.federation import Zone, zone
from tests.factories.review import release

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.api import limits
from marketplace.computing import cards, runs
from marketplace.computing import service as computing
from marketplace.computing.models import EgressReview, Job, JobOutput
from marketplace.parties import service as parties
from marketplace.products import service as products
from marketplace.trust import service as trust
from shuyan.federation.grid import SecureGrid
from shuyan.problems import ProblemError

SECRET = "a secret long enough for a test"
PARAMS = {"resource": "air", "family": "linear", "target": "pm25", "features": ["year"], "split": {"fraction": 0.4}}
STRANGER = Actor("consumer", "org_stranger", member_id="mem_s")


@pytest.fixture
def market(sqlite_database: Any) -> Zone:
    del sqlite_database
    made = zone(rows=120)
    made.grant_id = made.grant(apps=["statistics", "regression"])
    return made


def trained(market: Zone, key: str = "k", change: Callable[[dict[str, Any]], None] = lambda content: None) -> str:
    """A model that the departments trained, at its review."""
    with db.transaction() as session:
        job_id = computing.submit_job(session, market.developer, grant_id=market.grant_id, app="regression", params=PARAMS,
                                      title="PM2.5 <模型>", idempotency_key=key, fresh=True).id
        run_id = runs.begin(session, job_id, 1)
        assert run_id is not None
        order = runs.order(session, job_id, run_id)
    from shuyan.federation.apps.base import installed

    app = installed()["regression"]
    grid = SecureGrid(market.transport(), grant=order.grant, grant_jws=order.grant_jws, run_id=run_id, app=app, params=order.params,
                      participants=tuple(order.departments))
    content = app.load().run(grid)
    change(content)
    with db.transaction() as session:
        assert runs.finish(session, run_id, form="model", content=content, participants=grid.participants, rows=grid.smallest_cohort,
                           content_model=app.load().content_model)
    return job_id


def plant(content: dict[str, Any]) -> None:
    content["warnings"] = [{"code": "note", "terms": ["13812345678"], "zh": "x", "en": "x"}]


def review_id(job_id: str) -> str:
    with db.reading() as session:
        review = computing.review_of_job(session, job_id)
        assert review is not None
        return review.id


def decide(market: Zone, job_id: str, *, approve: bool = True, note: str = "", override: str = "") -> EgressReview:
    with db.transaction() as session:
        if approve:
            release(session, review_id(job_id), note, override, leave="data_authority")
        return computing.decide_review(session, market.authority, review_id(job_id), approve, note, override)


def test_a_reviewer_sees_checks_report_card_and_cost(market: Zone) -> None:
    job_id = trained(market)
    with db.reading() as session:
        detail = computing.get_review(session, market.authority, review_id(job_id))
        assert detail.review.report is not None
        assert detail.review.report["lineage"]["job_id"] == job_id
        assert [one["name"] for one in detail.review.report["lineage"]["departments"]] == ["监测站0", "监测站1", "监测站2"]
        assert detail.blocking == []
        assert detail.card is not None
        assert detail.card["provenance"]["status"] == "pending"
        assert (detail.cost["departments"], detail.cost["rho_nano"], detail.cost["products"]) == (3, 0, [])
        assert "重新计算" in detail.cost["sentences"][0]["zh"]
        event = next(one for one in trust.events_for(session, job_id) if one.tag == "computing:run:finished")
        assert '"report_digest":"sha256:' in event.leaf
        for actor in (market.developer, market.operator, STRANGER):
            with pytest.raises(ProblemError, match="not_allowed"):
                computing.get_review(session, actor, review_id(job_id))


def test_nothing_is_approved_against_its_report_without_a_written_reason(market: Zone) -> None:
    job_id = trained(market, change=plant)
    with db.reading() as session:
        assert computing.get_review(session, market.authority, review_id(job_id)).blocking == ["identifiers_strong"]
    for override in ("", "   "):
        with pytest.raises(ProblemError, match="review_blocked") as refused:
            decide(market, job_id, note="可以", override=override)
        assert refused.value.field == "override"
    for actor in (market.operator, market.developer, Actor("data_authority", market.developer.organisation_id, member_id="m")):
        with db.transaction() as session, pytest.raises(ProblemError):
            computing.decide_review(session, actor, review_id(job_id), True, "", "公开的服务热线")
    with db.reading() as session:
        assert session.get_one(Job, job_id).status == "reviewing"
    decided = decide(market, job_id, override=" 为公开的服务热线 ")
    assert (decided.status, decided.override_reason) == ("approved", "为公开的服务热线")
    with db.reading() as session:
        tags = [one.tag for one in trust.events_for(session, job_id)]
        assert tags[-2:] == ["computing:egress:overridden", "computing:egress:approved"]
        leaf = trust.events_for(session, job_id)[-2].leaf
        assert "identifiers_strong" in leaf
        assert "热线" not in leaf  # personal data never enters the log
        assert "egress_overridden" in [line.code for line in computing.job_log(session, market.developer, job_id)]
        assert computing.model_card(session, market.developer, job_id)["provenance"]["overridden"] is True
        assert trust.check_database(session).ok


def test_a_reason_is_kept_only_where_one_was_needed_and_a_rejection_needs_none(market: Zone) -> None:
    assert decide(market, trained(market), override="多余").override_reason == ""
    assert decide(market, trained(market, "k2", plant), approve=False, note="含手机号").status == "rejected"
    with db.reading() as session:
        rejected = next(one for one in computing.list_reviews(session, market.authority)[0] if one.status == "rejected")
        assert computing.get_review(session, market.authority, rejected.id).card is None


def test_reviews_from_before_there_were_reports_go_on_as_before(market: Zone) -> None:
    job_id = trained(market)
    with db.transaction() as session:
        session.get_one(EgressReview, review_id(job_id)).report = None
    assert decide(market, job_id).status == "approved"
    with db.reading() as session:
        assert computing.model_card(session, market.developer, job_id)["limits"]


def test_what_is_on_sale_counts_among_the_costs_of_a_rejection(market: Zone) -> None:
    sold = trained(market)
    decide(market, sold)
    with db.transaction() as session:
        product = products.draft_product(session, market.developer, sector="environment", delivery_form="model", title_zh="空气质量模型",
                                         title_en="Air model", summary_zh="摘要", summary_en="Summary", description_zh="", description_en="")
        products.create_version(session, market.developer, product.id, job_id=sold)
    with db.reading() as session:
        cost = computing.get_review(session, market.authority, review_id(trained(market, "later"))).cost
    assert [(one["title_zh"], one["organisations"]) for one in cost["products"]] == [("空气质量模型", 0)]
    assert "空气质量模型" in cost["sentences"][-1]["zh"]


# --- cards -----------------------------------------------------------------------------------------------------------


def test_a_card_writes_itself(market: Zone) -> None:
    job_id = trained(market)
    with db.reading() as session, pytest.raises(ProblemError, match="result_not_released"):
        computing.model_card(session, market.developer, job_id)
    decide(market, job_id)
    with db.reading() as session:
        card = computing.model_card(session, market.developer, job_id)
        assert card == computing.model_card(session, market.authority, job_id)
        for actor in (market.operator, STRANGER):
            with pytest.raises(ProblemError, match="not_found"):
                computing.model_card(session, actor, job_id)
        log = {event.index: event.tag for event in trust.events_for(session, job_id)}
    assert [one["code"] for one in card["sections"]] == [
        "model", "intended_use", "data", "preprocessing", "training", "evaluation", "privacy", "limits", "provenance", "contact"]
    assert card["model"]["family"] == "linear"
    assert card["data"]["rows"] < 360  # some were held out
    assert [one["name"] for one in card["data"]["departments"]] == ["监测站0", "监测站1", "监测站2"]
    assert {one["rows_of"] for one in card["evaluation"]} == {"in_sample", "held_out"}
    assert [log[one["index"]] for one in card["provenance"]["log"]] == ["computing:run:finished", "computing:egress:approved"]
    assert "membership_not_tried" in [one["code"] for one in card["limits"]]
    for section in card["sections"]:
        assert all(line["zh"] and line["en"] for line in section["lines"])
    for language in ("zh", "en"):
        text = computing.card_markdown(card, language)  # type: ignore[arg-type]
        assert text.startswith("# PM2.5 \\<模型\\>")
        assert text.count("\n## ") == len(card["sections"])
        assert "<" not in text.replace("\\<", "")


@pytest.mark.parametrize(("noise", "said"), [
    ({"rows": 5.0, "inertia": 0.1, "centres": [[1.0], [2.0]]}, ["±9.8", "year ±3.92"]),
    ({"rows": 5.0, "features": [], "components": [{"sd": 1.0, "half_width": 1.96, "apart": True, "angle": 2.5, "loadings": [0.1]},
                                                  {"sd": 1.0, "half_width": 1.5, "apart": False, "angle": None, "loadings": None}]},
     ["±1.96, ±1.5", "1: 2.5°", "one by one: 2"])])
def test_a_card_tells_what_noise_does_to_clusters_and_components(market: Zone, noise: dict[str, Any], said: list[str]) -> None:
    job_id = trained(market)
    with db.transaction() as session:
        output = session.exec(select(JobOutput).where(JobOutput.job_id == job_id)).one()
        output.content = {**output.content, "noise": noise}
        card = cards.build(session, session.get_one(Job, job_id), output, None)
        session.rollback()
    lines = [line for section in card["sections"] if section["code"] == "privacy" for line in section["lines"]]
    for text in said:
        assert text in " ".join(line["en"] for line in lines)
    assert all(line["zh"] and line["en"] for line in lines)


def test_statistics_have_no_card(market: Zone) -> None:
    with db.transaction() as session:
        job_id = computing.submit_job(session, market.developer, grant_id=market.grant_id, app="statistics", idempotency_key="s",
                                      params={"resource": "air", "columns": ["pm25"], "group_by": [[]]}).id
        run_id = runs.begin(session, job_id, 1)
        assert run_id is not None
        assert runs.finish(session, run_id, form="statistics", participants=[one.node_id for one in market.departments], rows=120, content={
            "kind": "statistics", "resource": "air", "rows": 120, "departments": 3, "minimum_cohort": 10, "histograms": [], "tables": []})
    decide(market, job_id)
    with db.reading() as session, pytest.raises(ProblemError, match="card_of_models_only"):
        computing.model_card(session, market.developer, job_id)


@pytest.mark.parametrize(("share", "rows", "lower", "upper"), [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775), (0.9, 1000, 0.8799, 0.9171)])
def test_intervals_of_shares_are_wilsons(share: float, rows: int, lower: float, upper: float) -> None:
    assert cards.wilson(share, rows) == pytest.approx((lower, upper), abs=1e-4)


def test_cards_and_reports_over_rest_and_the_sdk(market: Zone) -> None:
    blocked, fine = trained(market, "a", plant), trained(market, "b")
    with db.transaction() as session:
        for name, organisation, scope in (("dev", "org_developer", "read jobs"), ("auth", "org_data_authority", "read egress")):
            parties.create_client(session, SYSTEM, name=name, scope=scope, organisation_id=organisation, client_id=name, secret=SECRET)
        release(session, review_id(blocked), override="公开的服务热线", leave="data_authority")
        release(session, review_id(fine), leave="data_authority")
    transport = httpx.WSGITransport(app=shared_app())
    try:
        with shuyan.connect("http://market", client_id="auth", client_secret=SECRET, transport=transport) as authority:
            review = authority.reviews.get(review_id(blocked))
            assert review.report is not None
            assert review.report["severity"] == "fail"
            assert review.blocking == ["identifiers_strong"]
            assert review.cost["sentences"][0]["en"]
            with pytest.raises(shuyan.ProblemResponse) as refused:
                authority.reviews.approve(review.id)
            assert refused.value.code == "review_blocked"
            assert authority.reviews.approve(review.id, override="公开的服务热线").override_reason == "公开的服务热线"
            authority.reviews.approve(review_id(fine))
        with shuyan.connect("http://market", client_id="dev", client_secret=SECRET, transport=transport) as developer:
            card = developer.jobs.get(fine).card()
            assert card["job_id"] == fine
            with httpx.Client(transport=transport, base_url="http://market") as plain:
                token = plain.post("/api/v1/oauth/token", data={"grant_type": "client_credentials"}, auth=("dev", SECRET)).json()["access_token"]
                headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
                text = plain.get(f"/api/v1/jobs/{fine}/card.md", headers=headers)
                assert text.headers["content-type"].startswith("text/markdown")
                assert "## Intended use" in text.text
                assert plain.get(f"/api/v1/jobs/{fine}/card.json", headers=headers).json() == copy.deepcopy(card)
                assert plain.get(f"/api/v1/jobs/{fine}/card", headers={}).status_code == 401
    finally:
        limits.limiter.reset()
