"""REST: data resources and the federated apps installed here. Both are public: they describe data and hold none."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from marketplace import db
from marketplace.api.auth import actor, public
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, Listing, Out, PageQuery, PathIn, Time, listing
from marketplace.catalogue import service as catalogue
from marketplace.computing import service as computing

api = blueprint("catalogue")


class ResourceQuery(PageQuery):
    q: str = Field("", max_length=100)
    sector: str | None = Field(None, max_length=40)
    sort: Literal["relevance", "title", "newest", "rows"] = "relevance"


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
    status: str
    created_at: Time
    updated_at: Time


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


@api.get("/resources", summary="The catalogue of data resources", responses={200: Listing[ResourceOut]})
@public
def list_resources(query: ResourceQuery) -> dict[str, Any]:
    with db.reading() as session:
        rows, following = catalogue.list_resources(session, actor(), q=query.q, sector=query.sector, sort=query.sort,
                                                   cursor=query.cursor, limit=query.limit)
        return listing([ResourceOut.of(row) for row in rows], following)


@api.get("/resources/<id>", summary="One data resource", responses={200: ResourceOut})
@public
def get_resource(path: IdPath) -> dict[str, Any]:
    with db.reading() as session:
        return ResourceOut.of(catalogue.get_resource(session, actor(), path.id))


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
