"""From a scenario to a grant, as the parties themselves do it: each with a program of its own, the authority with its command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shuyan
from demo import pages
from demo.layout import AUTHORITY, DEVELOPER, OPERATOR, REVIEWER
from demo.market import DemoMarket
from shuyan._text import t


def operate(market: DemoMarket) -> str:
    """The authority and the operator agree; another person of the authority approves. Returns the agreement's id."""
    authority, reviewer, operator = (market.connect(party) for party in (AUTHORITY, REVIEWER, OPERATOR))
    terms = {"mode": "overall", "months": 36, "usage_fee_fen": 20_000_000,
             "split": {"treasury": 10, "operator": 20, "source_departments": 30, "developer": 40},
             "plan": authority.files.upload(pages.plan(), "应急预案.pdf").id,
             "text": authority.files.upload(pages.agreement(), "授权运营协议.pdf").id}
    agreement = authority.agreements.draft(OPERATOR.organisation_id, terms).id
    authority.agreements.propose(agreement)
    operator.agreements.accept(agreement)
    reviewer.agreements.approve(agreement)
    market.wait_for(lambda: True if operator.agreements.get(agreement).status == "signing" else None,
                    t("公示期满", "the end of the public notice"))
    operator.agreements.sign(agreement)
    authority.agreements.sign(agreement)
    return agreement


def obtain(market: DemoMarket, **wanted: Any) -> str:
    """Ask for a grant, see everybody agree, have it signed; returns its id. Takes what :func:`ask` takes."""
    demand = ask(market, **wanted)
    market.authority_command("issue", demand, "--yes")
    return next(grant.id for grant in market.connect(DEVELOPER).grants.list() if grant.demand_id == demand)


def ask(market: DemoMarket, *, title: str, purpose: str, sector: str, columns: Mapping[str, Sequence[str]], apps: Sequence[str],
        public_benefit: bool = False, months: int = 12, **terms: Any) -> str:
    """Scenario, first check, argument, list, first check, review, agreement; returns the id of a demand that may be granted.

    Args:
        columns: by resource id.
        terms: see :meth:`shuyan.Demands.draft`.
    """
    developer = market.connect(DEVELOPER)
    scenario = developer.scenarios.propose(
        title, purpose, sector, necessity="现有渠道没有可用的统计口径，须以公共数据为依据。", effect="为决策提供可核验的统计结果。",
        public_benefit=public_benefit, benefit="结果可供公众和主管部门参考。" if public_benefit else "", months=months)
    developer.scenarios.submit(scenario.id)
    agree(market, lambda: developer.scenarios.opinions(scenario.id))
    demand = developer.demands.draft(scenario.id, columns, apps, reason="计算统计量和训练模型所必需。", **terms)
    if wrong := developer.demands.check(demand.id):
        raise RuntimeError(wrong[0].text)
    developer.demands.submit(demand.id)
    agree(market, lambda: developer.demands.opinions(demand.id))
    if (agreement := developer.demands.get(demand.id).agreement_id) is not None:
        market.connect(OPERATOR).agreements.sign(agreement)
        developer.agreements.sign(agreement)
    return demand.id


def agree(market: DemoMarket, opinions: Callable[[], list[shuyan.Opinion]]) -> None:
    """Whoever is asked looks at it and agrees, stage by stage."""
    parties = {party.organisation_id: party for party in reversed(market.layout.parties)}
    while asked := [one for one in opinions() if one.status in ("pending", "overdue")]:
        for opinion in asked:
            market.connect(parties[opinion.organisation_id]).opinions.approve(opinion.id, "符合要求，同意。")


def release(market: DemoMarket, job_id: str, override: str = "") -> None:
    """Everybody who is asked lets a job's result leave the domain."""
    parties = {party.organisation_id: party for party in reversed(market.layout.parties)}
    for review in market.connect(AUTHORITY).reviews.list(status="pending"):
        if review.job_id == job_id:
            for one in market.connect(AUTHORITY).reviews.get(review.id).opinions:
                reviewer = market.connect(parties[one["organisation_id"]] if one["organisation_id"] else AUTHORITY)
                reviewer.reviews.approve(review.id, "自动检查全部通过，符合授权用途。", override=override)


def review_version(market: DemoMarket, product: str, number: int) -> None:
    """A drafted version goes through its tests and every review, up to where its code can be issued."""
    developer, operator = market.connect(DEVELOPER), market.connect(OPERATOR)
    parties = {party.organisation_id: party for party in reversed(market.layout.parties)}
    developer.products.test(product, number)
    stage = developer.products.submit(product, number)["status"]
    while stage in ("security_test", "compliance_review"):
        stage = operator.products.approve(product, number, stage)["status"]
    if stage == "egress_review":
        decides = operator.products.dossier(product, number)["decides"]
        for party in (AUTHORITY, *(parties[one] for one in decides["departments"])):
            market.connect(party).products.approve(product, number, stage)
