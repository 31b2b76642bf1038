"""The negative list, elements that departments claim, objections to quality."""

from __future__ import annotations

from sqlmodel import Session
from tests.factories.market import City
from tests.unit.marketplace.powers.adapters import Adapter, noted

from marketplace.catalogue import negative
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.models import Element, NegativeEntry


def _negative(session: Session, city: City) -> NegativeEntry:
    return negative.enter(session, city["data_authority"], kind="pattern", field="name", pattern="*secret*", reason="不得授权")


def _element(session: Session, city: City) -> Element:
    row = Element(name="自然人.婚姻状况")
    session.add(row)
    session.flush()
    return row


ADAPTERS: dict[str, Adapter] = {
    "negative_entry": Adapter(_negative, {
        "revise": lambda session, actor, row: negative.revise(session, actor, row.id, reason="新的理由"),
        "withdraw": noted(negative.withdraw)}, owner=lambda *_: "org_nobodys"),
    "element": Adapter(_element, {
        "settle": lambda session, actor, row: catalogue.settle_element(session, actor, row.name, resource_id="res_x", column="c",
                                                                       reason="理由")}, owner=lambda *_: "org_nobodys"),
}
