"""What the use cases of the authorisation chain have in common: facts from other domains, rows that may be seen, pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlmodel import Session, col, or_, select

from marketplace.actor import Actor
from marketplace.authorisation import asking, errors, rules
from marketplace.authorisation.models import DataDemand, Scenario
from marketplace.catalogue import service as catalogue
from marketplace.clock import CITY as CITY
from marketplace.computing.nodes import nodes_by_id
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.programs import service as programs
from marketplace.settings import settings
from shuyan.problems import ProblemError
from shuyan.trust.keys import load_public_key


def authority_key() -> Ed25519PublicKey:
    """The data authority's public key. Raises ``authority_key_missing``."""
    path = settings().keys_dir / "authority.pub"
    if not path.exists():
        raise ProblemError(errors.AUTHORITY_KEY_MISSING)
    return load_public_key(path)


def authority(session: Session) -> str:
    """The data authority's organisation. Raises ``authority_missing``."""
    found = first_of(session, "data_authority")
    if found is None:
        raise ProblemError(errors.NO_AUTHORITY)
    return found


def first_of(session: Session, kind: str) -> str | None:
    """The first active organisation of a kind."""
    return next((row.id for row in parties.list_organisations(session, kind=kind, limit=50) if row.status == "active"), None)


def named(session: Session, organisation_id: str | None) -> dict[str, str]:
    """What an organisation, or the market itself, is called in messages: their ``organisation`` and ``organisation_en``."""
    if organisation_id is None:
        return {"organisation": "平台", "organisation_en": "The market"}
    found = parties.organisations_by_id(session, [organisation_id]).get(organisation_id)
    return {"organisation": found.name_zh, "organisation_en": found.name_en} if found else {"organisation": organisation_id}


def app_facts(session: Session) -> dict[str, asking.AppFacts]:
    """Every registered app as the rules need it."""
    return {name: asking.AppFacts(app.manifest.output_form, app.load().privacy is not None)
            for name, app in programs.installed(session).items()}


def resource_facts(session: Session, ids: Iterable[str]) -> dict[str, asking.ResourceFacts]:
    """Catalogue entries as the rules need them, by id; unknown ones are left out."""
    rows = catalogue.resources_by_id(session, ids)
    nodes = nodes_by_id(session, {row.node_id for row in rows.values()})
    return {row.id: asking.ResourceFacts(
        id=row.id, node_id=row.node_id, name=row.name, grade=row.grade, active=row.status == "active",
        columns={column["name"]: bool(column.get("identifier")) for column in row.columns},
        domains={column["name"]: tuple(column.get("domain") or ()) for column in row.columns},
        node=nodes[row.node_id].name if row.node_id in nodes else "") for row in rows.values()}


def owners(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """By resource id, the department that answers for it."""
    return {row.id: row.organisation_id for row in catalogue.resources_by_id(session, ids).values()}


def moment(seconds: int) -> dt.datetime:
    """A NumericDate, aware."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def day(at: dt.datetime) -> str:
    """The last whole day before a deadline, in the city, for messages."""
    return (at.astimezone(CITY) - dt.timedelta(seconds=1)).date().isoformat()


def scenario(session: Session, actor: Actor, scenario_id: str, *, lock: bool = False) -> Scenario:
    """A scenario the actor may see. Raises ``not_found``."""
    row = session.get(Scenario, scenario_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not rules.may_see(actor, row.organisation_id, row.status):
        raise ProblemError("not_found", what="scenario")
    return row


def demand(session: Session, actor: Actor, demand_id: str, *, lock: bool = False) -> DataDemand:
    """A demand the actor may see. Raises ``not_found``."""
    row = session.get(DataDemand, demand_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or not rules.may_see(actor, row.organisation_id, row.status):
        raise ProblemError("not_found", what="demand")
    return row


def page(session: Session, actor: Actor, model: Any, filters: Mapping[str, str | None], cursor: str | None,
         limit: int) -> Page[Any]:
    """Rows the actor may see, newest first. Raises ``not_signed_in``, ``bad_cursor``."""
    if actor.party == "public":
        raise ProblemError("not_signed_in")
    query = select(model).order_by(col(model.id).desc()).limit(clamp(limit) + 1)
    if actor.party not in rules.OVERSEERS:
        query = query.where(model.organisation_id == actor.organisation_id)
    elif actor.party != "system":
        query = query.where(or_(model.organisation_id == actor.organisation_id, model.status != "draft"))
    for name, value in filters.items():
        if value:
            query = query.where(getattr(model, name) == value)
    if cursor:
        query = query.where(col(model.id) < decode_cursor(cursor, 1, str)[0])
    return make_page(session.exec(query).all(), clamp(limit), lambda row: (row.id,))


def negative(session: Session, asked: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """By resource id, what of the columns asked for is on the negative list; ``""``: the resource altogether."""
    out: dict[str, set[str]] = {}
    for hit in catalogue.negative_hits(session, asked):
        out.setdefault(hit.resource_id, set()).add(hit.column or "")
    return {id_: frozenset(found) for id_, found in out.items()}
