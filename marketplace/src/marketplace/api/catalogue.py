"""REST: data resources and the federated apps installed here. Both are public: they describe data and hold none."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from marketplace import db
from marketplace.api import _documents
from marketplace.api.auth import actor, public
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, Listing, Out, PageQuery, PathIn, QueryIn, Time, listing
from marketplace.catalogue import dcat
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing
from marketplace.paging import decode_cursor, encode_cursor
from marketplace.settings import settings

api = blueprint("catalogue")


class FoundQuery(QueryIn):
    q: str = Field("", max_length=100)
    sector: str | None = Field(None, max_length=40)
    grade: int | None = Field(None, ge=1, le=4)
    organisation_id: str | None = Field(None, max_length=64)
    frequency: Literal["realtime", "daily", "weekly", "monthly", "quarterly", "yearly", "irregular"] | None = None
    standard: str | None = Field(None, max_length=120)
    quality: Literal[60, 70, 80, 90, 95] | None = Field(None, description="Least quality in per cent.")
    tag: list[str] = Field(default_factory=list, max_length=5, description="Tags it must have, all of them.")

    def filters(self) -> catalogue.Filters:
        return catalogue.Filters(self.sector, self.grade, self.organisation_id, self.frequency, self.standard, self.quality,
                                 tuple(self.tag))


class ResourceQuery(FoundQuery, PageQuery):
    sort: Literal["relevance", "title", "newest", "rows", "quality", "updated"] = "relevance"


class ChangesQuery(PageQuery):
    after: int = Field(-1, ge=-1, le=2**53, description="Audit index of the last change already known.")


class HistoryQuery(QueryIn):
    before: int | None = Field(None, ge=0, le=2**53, description="Audit index; older changes are given.")
    limit: int = Field(50, ge=1, le=200)


class QualityQuery(QueryIn):
    limit: int = Field(60, ge=1, le=400)


class FacetCount(Out):
    value: str
    count: int


class FacetsOut(Out):
    total: int
    exact: bool = Field(description="All results were counted; otherwise the newest 10,000.")
    counts: dict[str, list[FacetCount]] = Field(description="Facet: its values with counts, the most frequent first.")


class ChangeOut(Out):
    index: int = Field(description="Of the audit event; ask for what comes after the last one you know.")
    resource_id: str
    kind: Literal["registered", "changed", "withdrawn"]
    changes: list[dict[str, Any]]
    at: Time


class CatalogueChangeOut(ChangeOut):
    code: str | None
    title: str
    title_en: str
    organisation_id: str
    status: str


class QualityOut(Out):
    measured_at: Time
    row_count: int
    completeness: int
    validity: int
    uniqueness: int
    timeliness: int | None = Field(description="null: no date column, or no update frequency declared.")
    columns: list[dict[str, Any]]
    below: list[str] = Field(description="Measures below what the market asks for.")


class ResourceOut(Out):
    id: str
    node_id: str
    organisation_id: str
    name: str
    title: str
    title_en: str
    description: str
    sector: str
    grade: int
    row_count: int
    columns: list[dict[str, Any]]
    profile: dict[str, Any] | None = Field(description="Quality as measured at the node, in whole percents; null: not measured.")
    approval: str
    code: str | None = Field(description="Registration code.")
    standard: str
    frequency: str = Field(description="How often it is brought up to date; empty: not declared.")
    steward: str = Field(description="The office that answers for it.")
    tags: list[str]
    status: str
    created_at: Time
    updated_at: Time


class ResourceDetailOut(ResourceOut):
    standings: dict[str, dict[str, Any]] = Field(
        description="By column that holds an element: element, role (authoritative, contested, other), source [resource, column].")
    open_objections: int


class DepartmentOut(Out):
    id: str
    name_zh: str
    name_en: str
    credit_code: str | None
    status: str
    resources: int = Field(description="Active resources.")


class StewardOut(Out):
    name: str
    resources: int


class DepartmentDetailOut(DepartmentOut):
    stewards: list[StewardOut] = Field(description="The offices that answer for its data, those of the most resources first.")


class AppVersionOut(Out):
    version: str
    digest: str
    allowed_at: list[str]


class AppOut(Out):
    name: str
    version: str
    digest: str
    title_zh: str
    title_en: str
    output_form: str
    noisy: bool = Field(description="It can answer with noise, under a grant whose release is dp.")
    questions: list[str] = Field(description="Message types it puts to the departments.")
    params_schema: dict[str, Any] = Field(description="JSON Schema of a job's parameters.")
    content_schema: dict[str, Any] | None = Field(description="JSON Schema of the result's content, where the app says.")
    allowed_at: list[str] = Field(description="Departments whose node allows this version; empty unless signed in.")
    developer: str = Field(description="The organisation that submitted it; empty for an app that comes with the product.")
    versions: list[AppVersionOut] = Field(description="Accepted versions of a developer's app, the highest first.")


class NamePath(PathIn):
    name: str = Field(max_length=100)


@api.get("/resources", summary="The catalogue of data resources; as DCAT where the client prefers application/ld+json",
         responses={200: Listing[ResourceOut]})
@public
def list_resources(query: ResourceQuery) -> Any:
    with db.reading() as session:
        if _documents.wants_linked_data():
            return _documents.linked_data(dcat.catalog(session, actor(), settings().public_url, cursor=query.cursor, limit=query.limit))
        rows, following = catalogue.list_resources(session, actor(), q=query.q, filters=query.filters(), sort=query.sort,
                                                   cursor=query.cursor, limit=query.limit)
        return listing([ResourceOut.of(row) for row in rows], following)


@api.get("/resources/facets", summary="How many of the resources found have which value", responses={200: FacetsOut})
@public
def resource_facets(query: FoundQuery) -> dict[str, Any]:
    with db.reading() as session:
        found = catalogue.facets(session, actor(), q=query.q, filters=query.filters())
        return FacetsOut.of(found, total=found.total, exact=found.exact, counts={
            name: [{"value": value, "count": count} for value, count in counts] for name, counts in found.counts.items()})


@api.get("/resources/changes", summary="Changes of the catalogue since a place in the audit log, oldest first",
         responses={200: Listing[CatalogueChangeOut]})
@public
def resource_changes(query: ChangesQuery) -> dict[str, Any]:
    after = decode_cursor(query.cursor, 1, int)[0] if query.cursor else query.after
    with db.reading() as session:
        found = catalogue.changes(session, actor(), after=after, limit=query.limit + 1)
        items = [CatalogueChangeOut.of(change, **{name: getattr(row, name) for name in ("code", "title", "title_en", "organisation_id",
                                                                                      "status")}) for change, row in found[:query.limit]]
    return listing(items, encode_cursor(items[-1]["index"]) if len(found) > query.limit else None)


@api.get("/resources/changes.atom", summary="The newest changes as an Atom feed")
@public
def resource_feed() -> Response:
    with db.reading() as session:
        return _documents.changes_feed(catalogue.newest(session, actor()), settings().public_url)


@api.get("/dcat", summary="The catalogue as DCAT 3 (DCAT-AP 3.0.1), page by page")
@public
def dcat_catalog(query: PageQuery) -> Response:
    with db.reading() as session:
        return _documents.linked_data(dcat.catalog(session, actor(), settings().public_url, cursor=query.cursor, limit=query.limit))


@api.get("/resources/<id>", summary="One data resource; as DCAT where the client prefers application/ld+json",
         responses={200: ResourceDetailOut})
@public
def get_resource(path: IdPath) -> Any:
    with db.reading() as session:
        row = catalogue.get_resource(session, actor(), path.id)
        if _documents.wants_linked_data():
            return _documents.linked_data(dcat.dataset(session, row, settings().public_url))
        held = {column: {"element": one.element, "role": one.role, "source": list(one.source) if one.source else None}
                for (_id, column), one in catalogue.standings(session, [row]).items()}
        return ResourceDetailOut.of(row, standings=held, open_objections=catalogue.open_objections(session, row.id))


@api.get("/resources/<id>/quality", summary="Quality as measured at the node over time, oldest first", responses={200: Listing[QualityOut]})
@public
def resource_quality(path: IdPath, query: QualityQuery) -> dict[str, Any]:
    with db.reading() as session:
        catalogue.get_resource(session, actor(), path.id)
        return listing([QualityOut.of(row) for row in catalogue.quality_history(session, actor(), path.id, limit=query.limit)])


@api.get("/resources/<id>/history", summary="Changes of one resource, newest first", responses={200: Listing[ChangeOut]})
@public
def resource_history(path: IdPath, query: HistoryQuery) -> dict[str, Any]:
    with db.reading() as session:
        catalogue.get_resource(session, actor(), path.id)
        return listing([ChangeOut.of(row) for row in catalogue.history(session, actor(), path.id, before=query.before, limit=query.limit)])


@api.get("/departments", summary="The departments whose resources make the catalogue", responses={200: Listing[DepartmentOut]})
@public
def list_departments(query: PageQuery) -> dict[str, Any]:
    with db.reading() as session:
        page = catalogue.list_departments(session, actor(), cursor=query.cursor, limit=query.limit)
    return listing([DepartmentOut.of(row) for row in page.items], page.next)


@api.get("/departments/<id>", summary="One department, and who answers for its data", responses={200: DepartmentDetailOut})
@public
def get_department(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        row = catalogue.get_department(session, actor(), path.id)
    return DepartmentDetailOut.of(row, stewards=[{"name": name, "resources": count} for name, count in row.stewards])


@api.get("/apps", summary="Federated apps that a demand can name", responses={200: Listing[AppOut]})
@public
def list_apps() -> dict[str, Any]:
    with db.reading() as session:
        return listing([AppOut.of(card) for card in computing.list_apps(session, actor())])


@api.get("/apps/<name>", summary="One federated app", responses={200: AppOut})
@public
def get_app(path: NamePath) -> dict[str, Any]:
    with db.reading() as session:
        return AppOut.of(computing.get_app(session, actor(), path.name))
