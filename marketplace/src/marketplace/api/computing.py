"""REST: jobs, their log and result, and the egress reviews."""

from __future__ import annotations

import json
from typing import Any, Literal

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, required_key, scope
from marketplace.api.base import blueprint
from marketplace.api.problems import language
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, QueryIn, Time, listing
from marketplace.computing import service as computing

api = blueprint("computing")


class JobIn(In):
    grant_id: str = Field(max_length=64)
    app: str = Field(max_length=100)
    params: dict[str, Any]
    title: str = Field("", max_length=200)
    fresh: bool = Field(False, description="Compute again what was answered and released before. Never buys noise twice.")
    sandbox_run: str = Field("", max_length=64, description="The run in the scenario's sandbox that it is, unchanged.")


class ExplainIn(In):
    grant_id: str = Field(max_length=64)
    app: str = Field(max_length=100)
    params: dict[str, Any]


class QueryExplainIn(In):
    grant_id: str = Field(max_length=64)
    sql: str = Field(min_length=1, max_length=20_000)


class CostOut(Out):
    rho_nano: int = Field(description="At each department at most, in 1e-9 of zCDP's ρ.")
    epsilon: float
    delta: float
    short: list[str] = Field(description="Departments whose budgets, as last told, do not suffice.")


class ExplanationOut(Out):
    app: str
    app_digest: str
    release: Literal["exact", "dp"]
    resources: dict[str, list[str]] = Field(description="By name, the columns that are read.")
    departments: list[dict[str, Any]] = Field(description="{node_id, name, approval, allowed}")
    computes: list[dict[str, Any]] = Field(description="What each node works out: {sql, group_by, cells} of a query.")
    leaves: list[dict[str, Any]] = Field(description="The first questions' vectors, with noise those of all where these are known, "
                                                     "seen only as sums over all departments: {question, vector, values, bytes}.")
    rounds: int = Field(description="Questions put to each department at most; 0: not known beforehand.")
    cells: int | None = Field(description="Groups the result could have.")
    cohort: int = Field(description="Fewest rows that a released figure rests on.")
    cost: CostOut | None = Field(description="Privacy budget; null for exact answers, which cost none.")
    errors: list[dict[str, Any]] = Field(description="Noise on the sums: {question, vector, deviation, half_width} (95 %).")
    open_key: dict[str, Any] | None = Field(
        description="Of a query by undeclared values, how they are found: {title, max_keys, key_bytes, threshold, delta}; the "
                    "threshold in distinct units, noise included.")
    notes: list[Any] = Field(description="{code, text}: what else there is to know.")
    answered_before: str | None = Field(description="The job whose result would be given again at no cost.")
    params: dict[str, Any] = Field(description="As they would be submitted.")


class JobQuery(PageQuery):
    status: str | None = Field(None, max_length=20)


class LogQuery(QueryIn):
    after: int = Field(0, ge=0, le=2**31 - 1, description="Lines with a higher sequence number.")


class NoteIn(In):
    note: str = Field("", max_length=2000)


class ApproveIn(NoteIn):
    override: str = Field("", max_length=2000, description="Why, where findings of the report stand against it.")


class CardOut(Out):
    v: int
    job_id: str
    title: str
    model: dict[str, Any] = Field(description="{family, target, features, rounds, converged}")
    intended_use: dict[str, Any] = Field(description="{scenario, purpose, grantee, until}, of the grant.")
    data: dict[str, Any] = Field(description="{resources, departments, rows, read_from, read_to}")
    preprocessing: dict[str, Any]
    training: dict[str, Any] = Field(description="{app, settings}")
    evaluation: list[dict[str, Any]] = Field(description="{rows_of, rows, measure, value, lower, upper}; the last two a 95 % interval.")
    privacy: dict[str, Any] = Field(description="{release, minimum_cohort, budget, noise, membership, own_figures}")
    limits: list[dict[str, Any]] = Field(description="{code, zh, en}")
    provenance: dict[str, Any] = Field(description="Digests, versions of software, and where the log tells of it.")
    contact: dict[str, Any]
    sections: list[dict[str, Any]] = Field(description="The same to read: {code, title: {zh, en}, lines: [{zh, en}]}.")


class JobOut(Out):
    id: str
    organisation_id: str
    grant_id: str
    title: str
    app_name: str
    app_digest: str
    params: dict[str, Any]
    resources: list[str] = Field(description="Names of the resources it reads.")
    sandbox_run_id: str | None = Field(description="The run in its scenario's sandbox that it is.")
    reused_from: str | None = Field(description="The job whose released result this one has; nothing was computed for it.")
    status: str
    round: int
    rounds: int
    error_code: str | None
    cancel_requested: bool
    waiting_for: dict[str, str] = Field(description="While awaiting_approval: node id and number of the approval asked for.")
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class BudgetQuery(QueryIn):
    node_id: str | None = Field(None, max_length=64, description="Of one node only.")


class BudgetOut(Out):
    node_id: str
    department: str
    scope: Literal["grant", "grantee", "resource"] = Field(
        description="Of one grant; of one organisation and resource; or of a resource over all organisations.")
    resource: str
    grantee: str
    grant_id: str
    cap_nano: int = Field(description="In 1e-9 of zCDP's ρ.")
    spent_nano: int
    left_nano: int
    delta: float
    epsilon_cap: float = Field(description="ε of the cap at δ.")
    epsilon_spent: float
    renewal: Literal["never", "monthly", "quarterly", "yearly"]
    renews_at: Time | None
    told_at: Time = Field(description="When the department's node last said so.")


class LogLineOut(Out):
    sequence: int
    at: Time
    level: str
    code: str
    args: dict[str, Any]


class ResultOut(Out):
    job_id: str
    form: str
    content: dict[str, Any]
    digest: str
    participants: list[str]
    rows: int
    created_at: Time


class EgressOpinionOut(Out):
    party: str = Field(description="In what capacity it is asked.")
    organisation_id: str | None = Field(description="null: any organisation that is this party, until one has decided.")
    decision: Literal["pending", "approved", "rejected", "passed_on"]
    due_at: Time | None = Field(description="After this the data authority decides in its place.")
    decided_at: Time | None
    note: str
    override_reason: str = Field(description="Why it agrees against the report.")


class DecidesOut(Out):
    party: str
    organisation_id: str | None
    decision: str
    decided_at: Time | None


class ReviewOut(Out):
    id: str
    job_id: str
    output_id: str
    checks: list[dict[str, Any]]
    report: dict[str, Any] | None = Field(
        description="{v, severity, findings: [{code, severity, zh, en, args}], schema, cohorts, memory, membership, privacy, "
                    "lineage}; null where the output is older than reports are.")
    status: str
    decided_by: str | None
    decided_at: Time | None
    note: str
    override_reason: str = Field(description="Why it was approved against the report.")
    created_at: Time


class ReviewDetailOut(ReviewOut):
    opinions: list[EgressOpinionOut] = Field(description="Who is asked, who leads first, and what each has said.")
    blocking: list[str] = Field(description="Findings against which an approval needs a reason.")
    actions: list[str]


def _job(row: Any) -> dict[str, Any]:
    error = None
    if row.error_code:
        error = {"code": row.error_code, "detail": computing.failure_sentence(row.error_code, row.error_args, language())}
    return {**JobOut.of(row), "resources": computing.resources_of(row), "error": error, "actions": computing.job_actions(actor(), row)}


@api.post("/jobs", summary="Submit a job under a grant; needs an Idempotency-Key", responses={201: JobOut})
@scope("jobs")
def submit(body: JobIn) -> tuple[dict[str, Any], int]:
    key = required_key()
    with db.reading() as session:
        checked = computing.check_job(session, actor(), grant_id=body.grant_id, app=body.app, params=body.params,
                                      idempotency_key=key)
    with db.transaction() as session:
        return _job(computing.submit_job(session, actor(), grant_id=body.grant_id, app=body.app, params=body.params,
                                         title=body.title, idempotency_key=key, fresh=body.fresh, sandbox_run=body.sandbox_run, checked=checked)), 201


def _explained(grant_id: str, app: str, params: dict[str, Any]) -> dict[str, Any]:
    with db.reading() as session:
        found = computing.explain(session, actor(), grant_id=grant_id, app=app, params=params)
    return {**ExplanationOut.of(found), "notes": [
        {"code": code, "text": computing.note_sentence(code, language())} for code in found.notes]}


@api.post("/jobs/explain", summary="What a job would do; nothing is asked and nothing spent", responses={200: ExplanationOut})
@scope("jobs")
def explain_job(body: ExplainIn) -> dict[str, Any]:
    return _explained(body.grant_id, body.app, body.params)


@api.post("/queries/explain", summary="What a query would do; nothing is asked and nothing spent",
          responses={200: ExplanationOut})
@scope("jobs")
def explain_query(body: QueryExplainIn) -> dict[str, Any]:
    return _explained(body.grant_id, "query", {"sql": body.sql})


@api.get("/jobs", summary="Jobs, newest first", responses={200: Listing[JobOut]})
@scope("read")
def list_jobs(query: JobQuery) -> dict[str, Any]:
    with db.reading() as session:
        rows, following = computing.list_jobs(session, actor(), status=query.status, cursor=query.cursor,
                                              limit=query.limit)
        return listing([_job(row) for row in rows], following)


@api.get("/jobs/<id>", summary="One job and how far it is", responses={200: JobOut})
@scope("read")
def get_job(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return {**_job(computing.get_job(session, actor(), path.id)),
                "decides": [DecidesOut.of(one) for one in computing.decided_by(session, actor(), path.id)]}


@api.get("/jobs/<id>/log", summary="The job's log in the caller's language", responses={200: Listing[LogLineOut]})
@scope("read")
def job_log(path: IdPath, query: LogQuery) -> dict[str, Any]:
    with db.reading() as session:
        lines = computing.job_log(session, actor(), path.id, query.after)
    speech = language()
    return listing([{**LogLineOut.of(line), "text": computing.log_sentence(line.code, line.args, speech)}
                    for line in lines])


@api.post("/jobs/<id>/cancel", summary="Ask for a job to stop", responses={200: JobOut})
@scope("jobs")
def cancel_job(path: IdPath) -> dict[str, Any]:
    with db.transaction() as session:
        return _job(computing.cancel_job(session, actor(), path.id))


@api.get("/jobs/<id>/result", summary="The approved result", responses={200: ResultOut})
@scope("read")
def job_result(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return {**ResultOut.of(computing.job_result(session, actor(), path.id)), "job_id": path.id}


@api.get("/jobs/<id>/card", summary="The model card of an approved model", responses={200: CardOut})
@scope("read")
def model_card(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return computing.model_card(session, actor(), path.id)


@api.get("/jobs/<id>/card.json", summary="The model card as a file", responses={200: CardOut})
@scope("read")
def model_card_file(path: IdPath) -> Response:
    with db.reading() as session:
        card = computing.model_card(session, actor(), path.id)
    text = json.dumps(card, ensure_ascii=False, indent=2) + "\n"
    return Response(text, mimetype="application/json", headers={"Content-Disposition": f'attachment; filename="{path.id}-card.json"'})


@api.get("/jobs/<id>/card.md", summary="The model card as Markdown, in the caller's language")
@scope("read")
def model_card_text(path: IdPath) -> Response:
    with db.reading() as session:
        card = computing.model_card(session, actor(), path.id)
    return Response(computing.card_markdown(card, language()), mimetype="text/markdown",
                    headers={"Content-Disposition": f'attachment; filename="{path.id}-card.md"'})


@api.get("/budgets", summary="Privacy budgets as the departments' nodes tell them; for overseers and departments",
         responses={200: Listing[BudgetOut]})
@scope("read")
def list_budgets(query: BudgetQuery) -> dict[str, Any]:
    with db.reading() as session:
        return listing([BudgetOut.of(row) for row in computing.list_budgets(session, actor(), node_id=query.node_id)])


@api.get("/grants/<id>/budgets", summary="Every budget that jobs under a grant are charged to", responses={200: Listing[BudgetOut]})
@scope("read")
def grant_budgets(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return listing([BudgetOut.of(row) for row in computing.grant_budgets(session, actor(), path.id)])


@api.get("/egress-reviews", summary="What waits to leave the domain, and what was decided", responses={200: Listing[ReviewOut]})
@scope("read")
def list_reviews(query: JobQuery) -> dict[str, Any]:
    with db.reading() as session:
        rows, following = computing.list_reviews(session, actor(), status=query.status, cursor=query.cursor,
                                                 limit=query.limit)
        return listing([ReviewOut.of(row) for row in rows], following)


@api.get("/egress-reviews/<id>", summary="One review with the candidate output and who decides on it",
         responses={200: ReviewDetailOut})
@scope("read")
def get_review(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        detail = computing.get_review(session, actor(), path.id)
        return {**ReviewOut.of(detail.review), "job": _job(detail.job), "output": ResultOut.of(detail.output),
                "opinions": [EgressOpinionOut.of(one) for one in detail.opinions],
                "actions": detail.actions, "card": detail.card, "cost": detail.cost, "blocking": detail.blocking}


@api.post("/egress-reviews/<id>/approve", summary="Agree that an output leaves the domain; it does once everybody asked has agreed",
          responses={200: ReviewOut})
@scope("egress")
def approve(path: IdPath, body: ApproveIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ReviewOut.of(computing.decide_review(session, actor(), path.id, True, body.note, body.override))


@api.post("/egress-reviews/<id>/reject", summary="Keep an output in the domain; a note says why",
          responses={200: ReviewOut})
@scope("egress")
def reject(path: IdPath, body: NoteIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ReviewOut.of(computing.decide_review(session, actor(), path.id, False, body.note))
