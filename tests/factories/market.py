"""A small market for tests: a city's parties, an approved result, and a product on the way to sale.

What other domains would have done first (nodes, grant, job, egress review) is written as rows; from the product on,
everything goes through the services under test.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation.models import DataDemand, GrantRecord, Scenario
from marketplace.commerce import service as commerce
from marketplace.computing import routing
from marketplace.computing.models import EgressReview, Job, JobOutput, Node, Run
from marketplace.computing.submission import digest_of
from marketplace.digests import digest
from marketplace.ids import new_id
from marketplace.parties import service as parties
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.products.models import ProductVersion
from marketplace.products.stages import CHECKLISTS

PASSWORD = "correct horse battery"

STATISTICS: dict[str, Any] = {
    "kind": "statistics", "resource": "enterprises", "rows": 900, "departments": 3, "minimum_cohort": 10,
    "tables": [
        {"group_by": [], "cells": [
            {"group": {}, "rows": 900, "columns": {"tax": {"count": 900, "sum": 9000.0, "mean": 10.0, "variance": 4.0,
                                                           "sd": 2.0}}}], "suppressed": 0},
        {"group_by": ["sector"], "cells": [
            {"group": {"sector": name}, "rows": 300,
             "columns": {"tax": {"count": 300, "sum": 3000.0, "mean": 10.0, "variance": 4.0, "sd": 2.0}}}
            for name in ("manufacturing", "commerce", "transport")], "suppressed": 1},
    ],
    "histograms": [],
}
MODEL: dict[str, Any] = {
    "kind": "model", "family": "logistic", "target": "default",
    "features": [{"name": "age", "type": "number", "levels": [], "mean": 40.0, "sd": 10.0},
                 {"name": "sector", "type": "category", "levels": ["commerce", "transport"], "mean": [0.5],
                 "sd": [0.5]}],
    "terms": ["age", "sector=transport"], "coefficients": [0.5, -0.25], "intercept": 0.1, "l2": 1.0, "rows": 900,
    "departments": 3, "rounds": 5, "converged": True, "metrics": {},
}


@dataclass
class City:
    """The parties of a market, by kind, with an actor for each."""

    actors: dict[str, Actor] = field(default_factory=dict)
    departments: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)

    def __getitem__(self, kind: str) -> Actor:
        return self.actors[kind]


def make_city(session: Session) -> City:
    """An authority, an operator, a developer, two consumers and three departments with a node each."""
    city = City()
    for kind in ("data_authority", "operator", "developer", "consumer"):
        row = parties.register_organisation(session, SYSTEM, kind=kind, name_zh=f"{kind}单位", name_en=f"The {kind}")
        city.actors[kind] = Actor(kind, row.id, member_id=new_id("mem"))  # type: ignore[arg-type]
    other = parties.register_organisation(session, SYSTEM, kind="consumer", name_zh="另一使用方", name_en="Another")
    city.actors["other"] = Actor("consumer", other.id, member_id=new_id("mem"))
    for number in range(3):
        row = parties.register_organisation(session, SYSTEM, kind="source_department", name_zh=f"部门{number}",
                                            name_en=f"Department {number}")
        node = Node(id=new_id("node"), organisation_id=row.id, name=f"node-{number}", certificate_pem="",
                    certificate_serial=new_id("serial"), signing_key="", agreement_key="")
        session.add(node)
        city.departments.append(row.id)
        city.nodes.append(node.id)
    session.flush()
    return city


def make_output(session: Session, city: City, content: dict[str, Any], *, approved: bool = True) -> str:
    """A finished job of the developer with ``content`` as its result; returns the job's id."""
    developer = city["developer"].organisation_id or ""
    now = dt.datetime.now(dt.UTC)
    scenario = Scenario(id=new_id("scn"), organisation_id=developer, title="t", purpose="p", sector="finance")
    session.add(scenario)
    session.flush()
    demand = DataDemand(id=new_id("dem"), scenario_id=scenario.id, organisation_id=developer, body={})
    session.add(demand)
    session.flush()
    grant = GrantRecord(id=new_id("grant"), demand_id=demand.id, scenario_id=scenario.id, organisation_id=developer,
                        jws="jws", digest=digest(new_id("d")), not_before=now, expires_at=now + dt.timedelta(days=90))
    session.add(grant)
    session.flush()
    job = Job(id=new_id("job"), organisation_id=developer, submitted_by="x", grant_id=grant.id, app_name="statistics",
              app_digest=f"sha256:{'0' * 64}", params={"resource": "enterprises"},
              status="completed" if approved else "awaiting_egress", idempotency_key=new_id("key"), request_digest="d")
    session.add(job)
    session.flush()
    run = Run(id=new_id("run"), job_id=job.id, attempt=1, participants=city.nodes, status="finished")
    session.add(run)
    session.flush()
    output = JobOutput(id=new_id("out"), job_id=job.id, run_id=run.id, form=content["kind"], content=content,
                       digest=digest_of(content), participants=city.nodes, rows=content["rows"])
    session.add(output)
    session.flush()
    review = EgressReview(id=new_id("rev"), job_id=job.id, output_id=output.id, checks=[], status="approved" if approved else "pending")
    session.add(review)
    session.flush()
    if not approved:
        routing.ask(session, review, job)
        session.flush()
    return job.id


def make_product(session: Session, city: City, content: dict[str, Any] | None = None, *, listed: bool = True,
                 access_fee_fen: int = 100_000, call_fee_fen: int = 7, included_calls: int = 2) -> str:
    """A product of the developer, on sale unless ``listed`` is false; returns its id."""
    content = STATISTICS if content is None else content
    seller = city["developer"]
    product = products.draft_product(session, seller, sector="finance", title_zh="企业税收统计",
                                     title_en="Enterprise tax statistics", summary_zh="按行业",
                                     delivery_form="model" if content["kind"] == "model" else "api")
    products.create_version(session, seller, product.id, job_id=make_output(session, city, content))
    pricing.set_price(session, seller, product.id, access_fee_fen=access_fee_fen, call_fee_fen=call_fee_fen,
                      included_calls=included_calls, term_days=365)
    if listed:
        register(session, city, product.id)
        products.list_product(session, seller, product.id)
    return product.id


def review(session: Session, city: City, product_id: str, number: int = 1) -> None:
    """Walk a drafted version of the developer's through tests and every review that its submission asks for."""
    products.run_tests(session, city["developer"], product_id, number)
    version = products.submit_version(session, city["developer"], product_id, number)
    reviewers = {"security_test": "operator", "compliance_review": "operator", "egress_review": "data_authority"}
    while version.status in reviewers:
        products.pass_stage(session, city[reviewers[version.status]], product_id, number, ticked=CHECKLISTS[version.status])


def register(session: Session, city: City, product_id: str, number: int = 1) -> ProductVersion:
    """A drafted version, reviewed and registered."""
    review(session, city, product_id, number)
    return products.register_version(session, city["operator"], product_id, number)


def buy(session: Session, city: City, product_id: str, buyer: str = "consumer", key: str | None = None) -> str:
    """An order of ``buyer``, paid; returns its id."""
    order = commerce.place_order(session, city[buyer], product_id=product_id, idempotency_key=key or new_id("key"))
    commerce.record_payment(session, city["operator"], order.id, bank_reference=new_id("bank"),
                            amount_fen=order.amount_fen)
    return order.id


def make_token(organisation: Actor, scope: str) -> str:
    """An access token of a new program of ``organisation``'s."""
    token = new_id("token")
    with db.transaction() as session:
        client, _secret = parties.create_client(session, organisation, name="test", scope=scope)
        parties.issue_token(session, client_id=client.client_id, token=token, scope=client.scope)
    return token
