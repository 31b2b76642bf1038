"""Desks of reviewers ask the database as often for thirty rows as for three."""

from __future__ import annotations

from typing import Any

from sqlmodel import select
from tests.factories.market import STATISTICS, make_output, make_product
from tests.factories.queries import counting

from marketplace import db, work
from marketplace.computing.models import EgressReview
from marketplace.products.models import ProductVersion


def _asked(client: Any, address: str) -> int:
    client.get(address)  # what is found out once is not counted
    with counting() as seen:
        answer = client.get(address)
    assert answer.status_code == 200, address
    return len(seen)


def test_no_query_is_made_for_each_row_of_a_desk(pages: Any) -> None:
    def more(count: int) -> None:
        with db.transaction() as session:
            for _ in range(count):
                make_product(session, pages.city, listed=False)
                make_output(session, pages.city, STATISTICS, approved=False)
            for row in session.exec(select(ProductVersion)):
                row.status, row.submitted_by = "egress_review", "mem_of_somebody"
                session.add(row)

    authority = pages.member("data_authority")
    more(3)
    few = [_asked(authority, address) for address in ("/desk/versions", "/reviews")]
    with counting() as seen, db.reading() as session:
        waiting = work.waiting(session, pages.city["data_authority"], db.utc_now())
    asked = len(seen)
    assert {"version.egress", "result.egress"} <= {item.kind for item in waiting}
    more(12)
    assert "Next page" not in authority.get("/desk/versions").text
    assert [_asked(authority, address) for address in ("/desk/versions", "/reviews")] == few
    with counting() as seen, db.reading() as session:
        assert len(work.waiting(session, pages.city["data_authority"], db.utc_now())) > len(waiting)
        assert session.exec(select(EgressReview)).first() is not None
    assert len(seen) - 1 == asked
