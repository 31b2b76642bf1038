"""Sandboxes, the runs in them, marginals of resources."""

from __future__ import annotations

from sqlmodel import Session
from tests.factories.market import City
from tests.unit.marketplace.powers.adapters import Adapter, plain

from marketplace.authorisation.models import Scenario
from marketplace.catalogue.models import DataResource
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.sandboxes import service as sandboxes
from marketplace.sandboxes.models import ResourceMarginals, Sandbox, SandboxRun

_DIGEST = "sha256:" + "0" * 64


def _sandbox(session: Session, city: City) -> Sandbox:
    owner = city["developer"].organisation_id or ""
    scenario = Scenario(id=new_id("scn"), organisation_id=owner, title="t", purpose="p", sector="finance")
    session.add(scenario)
    session.flush()
    row = Sandbox(id=new_id("sandbox"), scenario_id=scenario.id, organisation_id=owner, title="t", seed="s" * 32, opened_by="x")
    session.add(row)
    session.flush()
    return row


def _run(session: Session, city: City) -> SandboxRun:
    box = _sandbox(session, city)
    row = SandboxRun(id=new_id("run"), sandbox_id=box.id, organisation_id=box.organisation_id, submitted_by="x", app="statistics",
                     app_digest=_DIGEST, params={}, resources={}, digest=_DIGEST, description_digest=_DIGEST, rows=1)
    session.add(row)
    session.flush()
    return row


def _marginals(session: Session, city: City) -> ResourceMarginals:
    resource = DataResource(id=new_id("res"), node_id=city.nodes[0], organisation_id=city.departments[0], name=new_id("n"), title="t",
                            sector="finance", grade=2, row_count=1, columns=[])
    session.add(resource)
    session.flush()
    row = ResourceMarginals(resource_id=resource.id, organisation_id=city.departments[0], method="declared", columns=[], digest=_DIGEST,
                            measured_at=utc_now())
    session.add(row)
    session.flush()
    return row


ADAPTERS = {
    "sandbox": Adapter(_sandbox, {"shut": plain(sandboxes.close_sandbox), "open_again": plain(sandboxes.reopen_sandbox)}),
    "sandbox_run": Adapter(_run, {
        "record_success": lambda session, actor, row: sandboxes.finish_run(
            session, actor, row.sandbox_id, row.id, duration_ms=1, result_digest=_DIGEST),
        "record_failure": lambda session, actor, row: sandboxes.finish_run(session, actor, row.sandbox_id, row.id, duration_ms=1, error_code="x")}),
    "marginals": Adapter(_marginals, {
        "approve": lambda session, actor, row: sandboxes.decide_marginals(session, actor, row.resource_id, "approve", digest=_DIGEST),
        "refuse": lambda session, actor, row: sandboxes.decide_marginals(session, actor, row.resource_id, "refuse", note="说明"),
        "withdraw": lambda session, actor, row: sandboxes.decide_marginals(session, actor, row.resource_id, "withdraw", note="说明")}),
}
