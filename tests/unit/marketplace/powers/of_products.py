"""Products and their versions, of both tiers."""

from __future__ import annotations

from sqlmodel import Session, select
from tests.factories.market import City, make_product
from tests.unit.marketplace.powers.adapters import Act, Adapter, plain

from marketplace.actor import Actor
from marketplace.products import service as products
from marketplace.products.models import Product, ProductVersion
from marketplace.products.stages import CHECKLISTS


def _product(session: Session, city: City) -> Product:
    return session.get_one(Product, make_product(session, city))


def _version(session: Session, city: City) -> ProductVersion:
    product = make_product(session, city, listed=False)
    return session.exec(select(ProductVersion).where(ProductVersion.product_id == product)).one()


def _first_tier(session: Session, city: City) -> ProductVersion:
    version = _version(session, city)
    product = session.get_one(Product, version.product_id)
    product.tier, product.organisation_id = 1, city["operator"].organisation_id or ""
    session.add(product)
    session.flush()
    return version


def _owner(session: Session, row: ProductVersion, _party: str) -> str:
    return session.get_one(Product, row.product_id).organisation_id


def _pass(stage: str) -> Act:
    return lambda session, actor, row: products.pass_stage(session, actor, row.product_id, row.number, ticked=CHECKLISTS[stage],
                                                           stage=stage)


def _as_suspended(_session: Session, row: Product, state: str) -> None:
    """What the market suspended, the market puts back."""
    row.suspended_by = "data_authority" if state == "suspended" else ""


def _edit(session: Session, actor: Actor, row: Product) -> object:
    return products.edit_product(session, actor, row.id, title_zh="新名称")


_VERSION_ACTS: dict[str, Act] = {
    "test": lambda session, actor, row: products.run_tests(session, actor, row.product_id, row.number),
    "submit": lambda session, actor, row: products.submit_version(session, actor, row.product_id, row.number),
    "pass_security": _pass("security_test"), "pass_compliance": _pass("compliance_review"), "pass_egress": _pass("egress_review"),
    "return": lambda session, actor, row: products.return_version(session, actor, row.product_id, row.number, "请更正"),
    "register": lambda session, actor, row: products.register_version(session, actor, row.product_id, row.number),
    "withdraw": lambda session, actor, row: products.withdraw_version(session, actor, row.product_id, row.number),
}

ADAPTERS: dict[str, Adapter] = {
    "product": Adapter(_product, {
        "edit": _edit, "list": plain(products.list_product),
        "suspend": lambda session, actor, row: products.suspend_product(session, actor, row.id, "说明"),
        "resume": plain(products.resume_product), "keep": plain(products.keep_product),
        "retire": lambda session, actor, row: products.retire_product(session, actor, row.id, "说明")}, before=_as_suspended),
    "product_version": Adapter(_version, _VERSION_ACTS, elsewhere={"list": "product"}, owner=_owner),
    "first_tier_version": Adapter(_first_tier, _VERSION_ACTS, elsewhere={"list": "product"}, owner=_owner),
}
