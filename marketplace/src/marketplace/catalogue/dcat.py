"""The catalogue as DCAT 3 in JSON-LD, after the application profile DCAT-AP 3.0.1, for other catalogues to harvest.

A resource is a dataset whose only distribution is its page here: the rows never leave their department, so there is nothing to
download, and access rights say so. The IRIs of resources, their departments and the offices that answer for them are pages of the market.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from sqlmodel import Session

from marketplace.actor import Actor
from marketplace.catalogue import tokens
from marketplace.catalogue.departments import steward_mark
from marketplace.catalogue.models import DataResource
from marketplace.catalogue.search import list_resources
from marketplace.parties import service as parties

MEDIA_TYPE: Final = "application/ld+json"

CONTEXT: Final[dict[str, Any]] = {
    "dcat": "http://www.w3.org/ns/dcat#", "dct": "http://purl.org/dc/terms/", "foaf": "http://xmlns.com/foaf/0.1/",
    "skos": "http://www.w3.org/2004/02/skos/core#", "vcard": "http://www.w3.org/2006/vcard/ns#",
    "dqv": "http://www.w3.org/ns/dqv#", "hydra": "http://www.w3.org/ns/hydra/core#", "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#"}

_FREQUENCY: Final = "http://publications.europa.eu/resource/authority/frequency/"
_FREQUENCIES: Final[Mapping[str, str]] = {
    "realtime": "UPDATE_CONT", "daily": "DAILY", "weekly": "WEEKLY", "monthly": "MONTHLY", "quarterly": "QUARTERLY",
    "yearly": "ANNUAL", "irregular": "IRREG"}
_RIGHTS: Final = "http://publications.europa.eu/resource/authority/access-right/"
_RESTRICTED: Final = "RESTRICTED"  # whatever the grade: use goes through a grant, and rows are seen by nobody


def catalog(session: Session, actor: Actor, base: str, *, cursor: str | None = None, limit: int = 100) -> dict[str, Any]:
    """One page of the catalogue, the newest resources first; ``hydra:next`` leads to the next.

    Args:
        base: the market's public address, without a slash at its end.

    Raises:
        ProblemError: ``bad_resource_cursor``.
    """
    rows, following = list_resources(session, actor, sort="newest", cursor=cursor, limit=max(1, min(limit, 100)))
    here = f"{base}/api/v1/dcat"
    view: dict[str, Any] = {"@id": f"{here}?cursor={quote(cursor, safe='')}" if cursor else f"{here}?first", "@type": "hydra:PartialCollectionView",
                            "hydra:first": {"@id": here}}
    if following:
        view["hydra:next"] = {"@id": f"{here}?cursor={quote(following, safe='')}"}
    agents = _agents(session, rows, base)
    return {"@context": CONTEXT, "@graph": [
        {"@id": f"{base}/#catalogue", "@type": "dcat:Catalog",
         "dct:title": [_zh("公共数据资源目录"), _en("Catalogue of public data resources")],
         "dct:description": [_zh("各部门节点登记的公共数据资源；目录只描述数据，不含数据。"),
                             _en("Public data resources as registered by the departments' nodes; it describes data and holds none.")],
         "dct:publisher": {"@id": f"{base}/#market"}, "foaf:homepage": {"@id": f"{base}/resources", "@type": "foaf:Document"},
         "dct:language": [{"@id": "http://publications.europa.eu/resource/authority/language/ZHO", "@type": "dct:LinguisticSystem"},
                          {"@id": "http://publications.europa.eu/resource/authority/language/ENG", "@type": "dct:LinguisticSystem"}],
         "dcat:dataset": [{"@id": address(base, row)} for row in rows], "hydra:view": view},
        {"@id": f"{base}/#market", "@type": "foaf:Agent", "foaf:name": [_zh("数堰"), _en("Shuyan")]},
        *agents.values(), *_themes(rows, base), *(_dataset(row, base) for row in rows)]}


def dataset(session: Session, row: DataResource, base: str) -> dict[str, Any]:
    """One resource as a document of its own; see :func:`catalog`."""
    return {"@context": CONTEXT, "@graph": [*_agents(session, [row], base).values(), *_themes([row], base), _dataset(row, base)]}


def address(base: str, row: DataResource) -> str:
    """The IRI of a resource."""
    return f"{base}/resources/{row.id}"


def _agents(session: Session, rows: Iterable[DataResource], base: str) -> dict[str, dict[str, Any]]:
    found = parties.organisations_by_id(session, {row.organisation_id for row in rows})
    return {key: {"@id": f"{base}/departments/{key}", "@type": "foaf:Agent", "foaf:name": [_zh(one.name_zh), _en(one.name_en)]}
            for key, one in sorted(found.items())}


def _themes(rows: Iterable[DataResource], base: str) -> list[dict[str, Any]]:
    scheme = f"{base}/#sectors"
    out = [{"@id": f"{base}/#sector-{sector}", "@type": "skos:Concept", "skos:inScheme": {"@id": scheme},
            "skos:prefLabel": [_zh(tokens.SECTOR_WORDS.get(sector, sector)), _en(sector.replace("_", " "))]}
           for sector in sorted({row.sector for row in rows})]
    return [{"@id": scheme, "@type": "skos:ConceptScheme", "dct:title": [_zh("领域"), _en("Sectors")]}, *out]


def _dataset(row: DataResource, base: str) -> dict[str, Any]:
    here = address(base, row)
    out: dict[str, Any] = {
        "@id": here, "@type": "dcat:Dataset", "dct:identifier": row.code or row.id,
        "dct:title": [_zh(row.title), *([_en(row.title_en)] if row.title_en else [])],
        "dct:description": [_zh(row.description or row.title)], "dct:publisher": {"@id": f"{base}/departments/{row.organisation_id}"},
        "dcat:theme": [{"@id": f"{base}/#sector-{row.sector}"}], "dct:issued": _time(row.created_at), "dct:modified": _time(row.updated_at),
        "dcat:landingPage": {"@id": here + "#page", "@type": "foaf:Document"},
        "dct:accessRights": {"@id": _RIGHTS + _RESTRICTED, "@type": "dct:RightsStatement"},
        "dcat:distribution": {"@id": here + "#access", "@type": "dcat:Distribution", "dcat:accessURL": {"@id": here, "@type": "rdfs:Resource"},
                              "dct:description": [_zh("须经授权，以联邦计算方式使用；原始数据不出域。"),
                                                  _en("To be used by federated computation under a grant; rows never leave their department.")]}}
    if row.tags:
        out["dcat:keyword"] = list(row.tags)
    if row.frequency:
        out["dct:accrualPeriodicity"] = {"@id": _FREQUENCY + _FREQUENCIES[row.frequency], "@type": "dct:Frequency"}
    if row.standard:
        out["dct:conformsTo"] = {"@id": here + "#standard", "@type": "dct:Standard", "dct:title": _zh(row.standard)}
    if row.steward:
        out["dcat:contactPoint"] = {"@id": f"{base}/departments/{row.organisation_id}#{steward_mark(row.steward)}", "@type": "vcard:Kind",
                                    "vcard:fn": row.steward}
    measured = row.profile or {}
    figures = [(name, measured[name]) for name in ("completeness", "validity", "uniqueness", "timeliness") if measured.get(name) is not None]
    if figures:
        out["dqv:hasQualityMeasurement"] = [
            {"@id": f"{here}#{name}", "@type": "dqv:QualityMeasurement", "dqv:isMeasurementOf": {"@id": f"{base}/#measure-{name}"},
             "dqv:value": value} for name, value in figures]
    return out


def _zh(text: str) -> dict[str, str]:
    return {"@value": text, "@language": "zh"}


def _en(text: str) -> dict[str, str]:
    return {"@value": text, "@language": "en"}


def _time(at: Any) -> dict[str, str]:
    return {"@value": f"{at:%Y-%m-%dT%H:%M:%SZ}", "@type": "xsd:dateTime"}
