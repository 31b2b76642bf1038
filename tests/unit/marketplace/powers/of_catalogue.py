"""The negative list, elements that departments claim, objections to quality."""

from __future__ import annotations

from sqlmodel import Session
from tests.factories.market import City
from tests.unit.marketplace.powers.adapters import Act, Adapter, noted

from marketplace.catalogue import negative, objections
from marketplace.catalogue import service as catalogue
from marketplace.catalogue.models import DataResource, Element, NegativeEntry, QualityObjection
from marketplace.ids import new_id


def _negative(session: Session, city: City) -> NegativeEntry:
    return negative.enter(session, city["data_authority"], kind="pattern", field="name", pattern="*secret*", reason="不得授权")


def _element(session: Session, city: City) -> Element:
    row = Element(name="自然人.婚姻状况")
    session.add(row)
    session.flush()
    return row


def _objection(session: Session, city: City) -> QualityObjection:
    resource = DataResource(id=new_id("res"), node_id=city.nodes[0], organisation_id=city.departments[0], name="households", title="住户",
                            sector="livelihood", grade=2, row_count=100, columns=[{"name": "age", "type": "integer"}])
    session.add(resource)
    session.flush()
    return objections.raise_objection(session, city["developer"], resource.id, measure="timeliness", text="数据过期")


def _side(_session: Session, row: QualityObjection, party: str) -> str:
    return row.department_id if party == "source_department" else row.organisation_id


def _answer(action: str) -> Act:
    return lambda session, actor, row: objections.act(session, actor, row.id, action, "说明")


ADAPTERS: dict[str, Adapter] = {
    "negative_entry": Adapter(_negative, {
        "revise": lambda session, actor, row: negative.revise(session, actor, row.id, reason="新的理由"),
        "withdraw": noted(negative.withdraw)}, owner=lambda *_: "org_nobodys"),
    "element": Adapter(_element, {
        "settle": lambda session, actor, row: catalogue.settle_element(session, actor, row.name, resource_id="res_x", column="c",
                                                                       reason="理由")}, owner=lambda *_: "org_nobodys"),
    "quality_objection": Adapter(_objection, {name: _answer(name) for name in (
        "accept", "decline", "fix", "confirm", "reopen", "dispute", "withdraw", "order", "dismiss")}, owner=_side),
}
