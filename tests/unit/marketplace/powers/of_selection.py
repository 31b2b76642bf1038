"""Operator selection: the selection itself, and applications to it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlmodel import Session
from tests.factories.market import City
from tests.factories.selections import NOTICE, TERMS, person
from tests.unit.marketplace.powers.adapters import Act, Adapter, noted, plain

from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.selection import service as selections
from marketplace.selection.models import Selection, SelectionApplication
from marketplace.selection.store import applications, experts


def _selection(session: Session, city: City) -> Selection:
    """With an application, a panel of one who has not scored, a ranking and terms: whatever a state may need."""
    authority = city["data_authority"]
    row = selections.draft(session, authority, apply_until=utc_now() + dt.timedelta(days=9), notice=NOTICE)
    expert = person(session, city.departments[0], "source_department")
    selections.name_expert(session, authority, row.id, expert.member_id or "")
    applicant = city["operator"].organisation_id or ""
    made = SelectionApplication(id=new_id("application"), selection_id=row.id, organisation_id=applicant, statement="方案",
                                status="submitted", submitted_by="somebody")
    session.add(made)
    row.published_at, row.candidate_id, row.terms = utc_now(), made.id, TERMS
    row.ranking = [{"application_id": made.id, "organisation_id": applicant, "total": "80.00", "parts": ["80.00"] * 3}]
    row.drafted_by = "somebody"
    session.add(row)
    session.flush()
    return row


def _application(session: Session, city: City) -> SelectionApplication:
    row = _selection(session, city)
    row.status = "scoring"
    session.add(row)
    return applications(session, row.id)[0]


def _owner(session: Session, row: Any, party: str) -> str:
    """The authority's applications are those to its own selections; an applicant's are its own."""
    return session.get_one(Selection, row.selection_id).organisation_id if party == "data_authority" else str(row.organisation_id)


def _edit(session: Session, actor: Any, row: Selection) -> object:
    return selections.edit(session, actor, row.id, apply_until=utc_now() + dt.timedelta(days=5), notice=NOTICE)


def _name(session: Session, actor: Any, row: Selection) -> object:
    return selections.name_expert(session, actor, row.id, "mem_unknown")


_ACTS: dict[str, Act] = {
    "edit": _edit, "publish": plain(selections.publish), "name_expert": _name,
    "dismiss_expert": lambda session, actor, row: selections.dismiss_expert(session, actor, row.id, experts(session, row.id)[0].id),
    "set_aside": lambda session, actor, row: selections.set_aside(session, actor, applications(session, row.id)[0].id, "不符合条件"),
    "negotiate": plain(selections.negotiate), "next": noted(selections.next_candidate),
    "conclude": lambda session, actor, row: selections.conclude(session, actor, row.id, TERMS),
    "return": noted(selections.return_), "approve": plain(selections.approve), "cancel": noted(selections.cancel),
}

ADAPTERS: dict[str, Adapter] = {
    "selection": Adapter(_selection, _ACTS),
    "selection_application": Adapter(_application, {
        "withdraw": plain(selections.withdraw), "set_aside": noted(selections.set_aside)}, owner=_owner),
}
