"""REST: authoritative sources, the negative list, and objections to the quality of data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.catalogue import service as catalogue

api = blueprint("catalogue", "sources")

Measure = Literal["completeness", "validity", "uniqueness", "timeliness"]
NegativeKind = Literal["resource", "column", "pattern"]


class ElementQuery(PageQuery):
    status: Literal["clear", "conflict", "settled"] | None = None


class ElementOut(Out):
    name: str
    status: str
    resource_id: str | None = Field(description="The authoritative source; null: none, or contested and not decided.")
    column: str | None
    conflict_since: Time | None


class ClaimOut(Out):
    resource_id: str
    column: str
    organisation_id: str
    source: bool = Field(description="The department claims to be the authoritative source.")
    created_at: Time


class ElementDecisionOut(Out):
    resource_id: str
    column: str
    organisation_id: str
    claimants: list[str]
    reason: str
    created_at: Time


class ElementDetailOut(ElementOut):
    claims: list[ClaimOut]
    decisions: list[ElementDecisionOut]
    actions: list[str]


class ElementPath(PathIn):
    name: str = Field(max_length=128)


class DecisionIn(In):
    element: str = Field(min_length=1, max_length=128)
    resource_id: str = Field(max_length=64)
    column: str = Field(max_length=128)
    reason: str = Field(min_length=1, max_length=500)


class NegativeQuery(PageQuery):
    status: Literal["active", "withdrawn"] | None = None
    resource_id: str | None = Field(None, max_length=64)


class NegativeIn(In):
    kind: NegativeKind
    reason: str = Field(min_length=1, max_length=500)
    resource_id: str | None = Field(None, max_length=64)
    column: str = Field("", max_length=128)
    field: str = Field("", max_length=32, description="Of a pattern: name, title, element, classification, resource_name, resource_title.")
    pattern: str = Field("", max_length=120, description="* stands for anything; case makes no difference.")
    effective_from: Time | None = Field(None, strict=False, description="Now, if not given.")


class RevisionIn(In):
    kind: NegativeKind | None = None
    reason: str | None = Field(None, min_length=1, max_length=500)
    resource_id: str | None = Field(None, max_length=64)
    column: str | None = Field(None, max_length=128)
    field: str | None = Field(None, max_length=32)
    pattern: str | None = Field(None, max_length=120)
    effective_from: Time | None = Field(None, strict=False)


class ReasonIn(In):
    reason: str = Field(min_length=1, max_length=500)


class NegativeOut(Out):
    id: str
    version: int
    kind: str
    resource_id: str | None
    column: str
    field: str
    pattern: str
    reason: str
    effective_from: Time
    status: str
    created_at: Time


class NegativeVersionOut(Out):
    version: int
    body: dict[str, Any]
    created_at: Time


class NegativeDetailOut(NegativeOut):
    versions: list[NegativeVersionOut]
    actions: list[str]


class CheckIn(In):
    resources: dict[str, list[str]] = Field(max_length=100, description="Resource id: columns.")


class HitOut(Out):
    resource_id: str
    column: str | None = Field(description="null: the whole resource is barred.")
    entry_id: str
    reason: str


class ObjectionQuery(PageQuery):
    status: str | None = Field(None, max_length=20)
    resource_id: str | None = Field(None, max_length=64)


class ObjectionIn(In):
    resource_id: str = Field(max_length=64)
    measure: Measure
    text: str = Field(min_length=1, max_length=2000)
    column: str = Field("", max_length=128)


class ObjectionPath(PathIn):
    id: str = Field(max_length=64)
    action: Literal["accept", "decline", "fix", "confirm", "reopen", "dispute", "withdraw", "order", "dismiss"]


class StepIn(In):
    text: str = Field("", max_length=2000)


class ObjectionOut(Out):
    id: str
    resource_id: str
    organisation_id: str
    department_id: str
    column: str
    measure: str
    text: str
    status: str
    due_at: Time | None
    created_at: Time
    updated_at: Time


class StepOut(Out):
    number: int
    action: str
    status: str
    organisation_id: str | None
    text: str
    created_at: Time


class ObjectionDetailOut(ObjectionOut):
    steps: list[StepOut]
    actions: list[str]


# --- elements ---


@api.get("/elements", summary="Data elements and their authoritative sources, by name", responses={200: Listing[ElementOut]})
@public
def list_elements(query: ElementQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.list_elements(session, actor(), status=query.status, cursor=query.cursor, limit=query.limit)
        return listing([ElementOut.of(row) for row in page.items], page.next)


@api.get("/elements/<path:name>", summary="One element: who holds it, who claims it, what was decided", responses={200: ElementDetailOut})
@public
def get_element(path: ElementPath) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.get_element(session, actor(), path.name)
        return ElementDetailOut.of(page.element, claims=page.claims, decisions=page.decisions, actions=page.actions)


@api.post("/element-decisions", summary="Decide which column is an element's authoritative source", responses={200: ElementOut})
@scope("grants")
def settle_element(body: DecisionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ElementOut.of(catalogue.settle_element(session, actor(), body.element, resource_id=body.resource_id, column=body.column,
                                                      reason=body.reason))


# --- the negative list ---


@api.get("/negative-list", summary="What can be authorised to nobody, newest first", responses={200: Listing[NegativeOut]})
@public
def list_negative(query: NegativeQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.list_negative(session, actor(), status=query.status, resource_id=query.resource_id, cursor=query.cursor,
                                       limit=query.limit)
        return listing([NegativeOut.of(row) for row in page.items], page.next)


@api.get("/negative-list/<id>", summary="One entry with its versions", responses={200: NegativeDetailOut})
@public
def get_negative(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        row, versions, actions = catalogue.get_negative(session, actor(), path.id)
        return NegativeDetailOut.of(row, versions=versions, actions=actions)


@api.post("/negative-list", summary="Put a resource, a column or a pattern on the negative list", responses={201: NegativeOut})
@scope("grants")
def enter_negative(body: NegativeIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return NegativeOut.of(catalogue.enter(session, actor(), **body.model_dump())), 201


@api.post("/negative-list/<id>/revise", summary="Decide an entry anew, as its next version", responses={200: NegativeOut})
@scope("grants")
def revise_negative(path: IdPath, body: RevisionIn) -> dict[str, Any]:
    with db.transaction() as session:
        return NegativeOut.of(catalogue.revise(session, actor(), path.id, **body.model_dump()))


@api.post("/negative-list/<id>/withdraw", summary="Take an entry off the list", responses={200: NegativeOut})
@scope("grants")
def withdraw_negative(path: IdPath, body: ReasonIn) -> dict[str, Any]:
    with db.transaction() as session:
        return NegativeOut.of(catalogue.withdraw(session, actor(), path.id, body.reason))


@api.post("/negative-list/check", summary="What the list bars of some columns", responses={200: Listing[HitOut]})
@public
def check_negative(body: CheckIn) -> dict[str, Any]:
    with db.reading() as session:
        return listing([HitOut.of(hit) for hit in catalogue.negative_hits(session, body.resources)])


# --- objections to quality ---


@api.get("/quality-objections", summary="Objections this organisation is a side of or oversees", responses={200: Listing[ObjectionOut]})
@scope("read")
def list_objections(query: ObjectionQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.list_objections(session, actor(), status=query.status, resource_id=query.resource_id, cursor=query.cursor,
                                         limit=query.limit)
        return listing([ObjectionOut.of(row) for row in page.items], page.next)


@api.get("/quality-objections/<id>", summary="One objection with its history", responses={200: ObjectionDetailOut})
@scope("read")
def get_objection(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.get_objection(session, actor(), path.id)
        return ObjectionDetailOut.of(page.objection, steps=page.steps, actions=page.actions)


@api.post("/quality-objections", summary="Object to the quality of a resource", responses={201: ObjectionOut})
@scope("objections")
def raise_objection(body: ObjectionIn) -> tuple[dict[str, Any], int]:
    with db.transaction() as session:
        return ObjectionOut.of(catalogue.raise_objection(session, actor(), body.resource_id, measure=body.measure, text=body.text,
                                                         column=body.column)), 201


@api.post("/quality-objections/<id>/<action>", summary="Take the next step of an objection", responses={200: ObjectionOut})
@scope("read")
def act(path: ObjectionPath, body: StepIn) -> dict[str, Any]:
    with db.transaction() as session:
        return ObjectionOut.of(catalogue.act(session, actor(), path.id, path.action, body.text))
