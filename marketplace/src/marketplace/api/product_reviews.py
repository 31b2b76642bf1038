"""REST: a version's tests and reviews, up to its registration code."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, scope
from marketplace.api.base import blueprint
from marketplace.api.products import VersionOut, VersionPath
from marketplace.api.schemas import In, Listing, Out, PageQuery, Time, listing
from marketplace.products import service as products

api = blueprint("products")
api.name = "api_product_reviews"


class CasesIn(In):
    cases: list[dict[str, Any]] = Field(default_factory=list, max_length=20, description="Bodies of calls that must be answered, beside those "
                                                                                         "that follow from the input schema.")


class PassIn(In):
    ticked: list[str] = Field(default_factory=list, max_length=20, description="Codes of the stage's checklist, all of which must be confirmed.")
    note: str = Field("", max_length=2000)
    stage: Literal["security_test", "compliance_review", "egress_review"] | None = Field(
        None, description="The stage that is meant; wrong_state if the version has moved on meanwhile.")


class ReturnIn(In):
    note: str = Field("", max_length=2000, description="What has to be changed.")
    stage: Literal["security_test", "compliance_review", "egress_review"] | None = None


class WaitingQuery(PageQuery):
    stage: Literal["security_test", "compliance_review", "egress_review", "cleared"] | None = None


class TestRunOut(Out):
    id: str
    number: int
    manifest_digest: str
    cases: list[dict[str, Any]] = Field(description="{name, body, expected, outcome, code, digest, ok}")
    passed: bool
    created_at: Time


class DecisionOut(Out):
    round: int
    stage: str
    organisation_id: str | None
    decision: str
    ticked: list[str]
    checks: list[dict[str, Any]]
    note: str
    created_at: Time


class DossierOut(VersionOut):
    checks: list[dict[str, Any]] = Field(description="Automatic checks now: {code, passed, args}.")
    checklist: list[str] = Field(description="Codes that the reviewer of the present stage confirms.")
    reviews: list[DecisionOut]
    lineage: list[dict[str, Any]] = Field(description="From the departments to the version: {kind, id, digest, title_zh, title_en}.")
    content: dict[str, Any] = Field(description="What leaves; for those who have a say in it.")
    report: dict[str, Any] = Field(description="The findings of the job's own egress review.")
    unchanged: list[str] = Field(description="Parts that are as in the last registered version.")
    decides: dict[str, Any] = Field(description="Who decides on the egress: {party, organisation_id, departments}.")
    actions: list[str]
    tests: list[TestRunOut]


@api.get("/product-versions", summary="Versions that wait for a review or their code", responses={200: Listing[VersionOut]})
@scope("read")
def waiting(query: WaitingQuery) -> dict[str, Any]:
    """For those who review and register; what the caller may do with each its own page says."""
    with db.reading() as session:
        page = products.waiting_versions(session, actor(), stage=query.stage, cursor=query.cursor, limit=query.limit)
        return listing([VersionOut.of(row.version) for row in page.items], page.next)


@api.get("/products/<id>/versions/<int:number>", summary="One version with all that a reviewer looks at", responses={200: DossierOut})
@scope("read")
def dossier(path: VersionPath) -> dict[str, Any]:
    with db.reading() as session:
        found = products.dossier(session, actor(), path.id, path.number)
        runs = products.test_runs(session, [found.version.id]).get(found.version.id, [])
        return {**VersionOut.of(found.version), "checks": found.checks, "checklist": list(found.checklist),
                "reviews": [DecisionOut.of(row) for row in found.reviews], "lineage": found.lineage, "content": found.content,
                "report": found.report, "unchanged": found.unchanged, "actions": found.actions,
                "decides": {"party": found.seated.party, "organisation_id": found.seated.organisation_id,
                            "departments": sorted(found.seated.departments)},
                "tests": [TestRunOut.of(run) for run in runs]}


@api.post("/products/<id>/versions/<int:number>/test", summary="Run the tests of a version", responses={200: TestRunOut})
@scope("products")
def run_tests(path: VersionPath, body: CasesIn) -> dict[str, Any]:
    with db.transaction() as session:
        return TestRunOut.of(products.run_tests(session, actor(), path.id, path.number, body.cases))


@api.post("/products/<id>/versions/<int:number>/submit", summary="Hand a tested version in for review", responses={200: VersionOut})
@scope("products")
def submit_version(path: VersionPath) -> dict[str, Any]:
    with db.transaction() as session:
        return VersionOut.of(products.submit_version(session, actor(), path.id, path.number))


@api.post("/products/<id>/versions/<int:number>/pass", summary="Pass the stage that a version is in", responses={200: VersionOut})
def pass_stage(path: VersionPath, body: PassIn) -> dict[str, Any]:
    """The operator's programs need the scope ``operate``, others ``egress``."""
    with db.transaction() as session:
        return VersionOut.of(products.pass_stage(session, actor(), path.id, path.number, ticked=body.ticked, note=body.note,
                                                  stage=body.stage))


@api.post("/products/<id>/versions/<int:number>/return", summary="Return a version for correction", responses={200: VersionOut})
def return_version(path: VersionPath, body: ReturnIn) -> dict[str, Any]:
    """The operator's programs need the scope ``operate``, others ``egress``."""
    with db.transaction() as session:
        return VersionOut.of(products.return_version(session, actor(), path.id, path.number, body.note, stage=body.stage))


@api.post("/products/<id>/versions/<int:number>/withdraw", summary="Give up a version that has no code yet", responses={200: VersionOut})
@scope("products")
def withdraw_version(path: VersionPath) -> dict[str, Any]:
    with db.transaction() as session:
        return VersionOut.of(products.withdraw_version(session, actor(), path.id, path.number))


@api.post("/products/<id>/versions/<int:number>/register", summary="Issue a cleared version's registration code",
          responses={200: VersionOut})
def register_version(path: VersionPath) -> dict[str, Any]:
    """The operator for the second tier (scope ``operate``), the data authority for the first (``egress``)."""
    with db.transaction() as session:
        return VersionOut.of(products.register_version(session, actor(), path.id, path.number))
