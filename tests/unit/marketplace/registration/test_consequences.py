"""What a party's standing means for its grants and its listings."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select
from tests.factories.market import STATISTICS, make_city, make_output, make_product

from marketplace import db
from marketplace.authorisation.models import GrantHold, GrantRecord
from marketplace.computing.models import Job
from marketplace.products.models import Product
from marketplace.registration import service as registration


@pytest.mark.usefixtures("database")
def test_a_suspended_developers_grants_stop_and_its_products_leave_the_shelf() -> None:
    with db.transaction() as session:
        city = make_city(session)
        product = make_product(session, city)
        grant = session.get_one(Job, make_output(session, city, STATISTICS)).grant_id
    developer = city["developer"].organisation_id or ""

    def measure(action: str) -> tuple[Any, ...]:
        with db.transaction() as session:
            registration.take_measure(session, city["data_authority"], developer, action, "数据使用超出授权范围")
        with db.reading() as session:
            holds = session.exec(select(GrantHold.status).where(GrantHold.grant_id == grant)).all()
            return session.get_one(GrantRecord, grant).status, list(holds), session.get_one(Product, product).status

    assert measure("suspend") == ("held", ["placed"], "suspended")
    # the grant is usable again; what is sold its seller decides anew
    assert measure("resume") == ("active", ["void"], "suspended")
    assert measure("bar") == ("held", ["void", "placed"], "suspended")
