"""An agreement negotiated, signed and ended through the SDK, over the market's real REST interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.factories.agreements import PDF, SPLIT
from tests.factories.apps import shared_app
from tests.factories.market import make_city

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.deadlines import service as deadlines
from marketplace.parties import service as parties
from marketplace.settings import settings

SECRET = "a secret long enough for a test"
Connect = Callable[[str, str], shuyan.Market]


@pytest.fixture
def connect(sqlite_database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connect, str]]:
    """Programs of the city's organisations, by kind and name; and the operator's id. Notices last no time at all."""
    del sqlite_database
    monkeypatch.setattr(settings(), "agreement_notice_days", 0)
    with db.transaction() as session:
        city = make_city(session)
    app = shared_app()
    with ExitStack() as stack:
        def enter(kind: str, name: str = "") -> shuyan.Market:
            client = f"client_{kind}{name}"
            with db.transaction() as session:
                parties.create_client(session, SYSTEM, name="sdk", scope="read agreements", organisation_id=city[kind].organisation_id,
                                      client_id=client, secret=SECRET)
            return stack.enter_context(shuyan.connect("http://market", client_id=client, client_secret=SECRET,
                                                      transport=httpx.WSGITransport(app=app)))

        yield enter, city["operator"].organisation_id or ""
    limits.limiter.reset()


def test_programs_of_both_sides_bring_an_agreement_into_force(connect: tuple[Connect, str]) -> None:
    enter, operator_id = connect
    authority, reviewer, operator = enter("data_authority", ""), enter("data_authority", "2"), enter("operator", "")
    terms = {"months": 36, "split": SPLIT, "usage_fee_fen": 500, "plan": authority.files.upload(PDF, "plan.pdf").id,
             "text": authority.files.upload(PDF, "text.pdf").id}
    with pytest.raises(shuyan.InvalidInput) as refused:
        authority.agreements.draft(operator_id, {**terms, "months": 37})
    assert refused.value.code == "agreement_term_length"
    drafted = authority.agreements.draft(operator_id, terms)
    authority.agreements.edit(drafted.id, {**terms, "usage_fee_fen": 400})
    authority.agreements.propose(drafted.id)
    seen = operator.agreements.get(drafted.id)
    assert (seen.version, seen.terms["usage_fee_fen"], seen.versions[1]["changes"]) == (
        2, 400, [{"term": "usage_fee_fen", "before": 500, "after": 400}])
    operator.agreements.accept(drafted.id, seen.version)
    with pytest.raises(shuyan.NotAllowed):
        authority.agreements.approve(drafted.id)
    assert reviewer.agreements.approve(drafted.id).status == "noticed"
    deadlines.fire_due()
    with pytest.raises(shuyan.Conflict):
        operator.agreements.sign(drafted.id, "sha256:" + "0" * 64)
    assert operator.agreements.sign(drafted.id).status == "signing"
    signed = authority.agreements.sign(drafted.id)
    assert signed.status == "effective"
    assert signed.ends_at is not None
    with pytest.raises(shuyan.Conflict) as early:
        operator.agreements.ask_renewal(drafted.id, "申请续期")
    assert early.value.code == "renewal_too_early"
    assert authority.agreements.suspend(drafted.id, "检查").status == "suspended"
    assert authority.agreements.resume(drafted.id).status == "effective"
    assert authority.agreements.terminate(drafted.id, "终止").status == "terminated"
    assert operator.agreements.list(status="terminated")[0].reason == "终止"


def test_a_selection_is_called_applied_to_and_read_by_programs(connect: tuple[Connect, str]) -> None:
    import datetime as dt

    from tests.factories.selections import NOTICE

    enter, _operator = connect
    authority, reviewer, operator = enter("data_authority", ""), enter("data_authority", "2"), enter("operator", "")
    until = db.utc_now() + dt.timedelta(days=3)
    with pytest.raises(shuyan.InvalidInput):
        authority.selections.draft(**{**NOTICE, "criteria": NOTICE["criteria"][:1]}, apply_until=until)
    drafted = authority.selections.draft(**NOTICE, apply_until=until)
    with pytest.raises(shuyan.NotAllowed):
        authority.selections.publish(drafted.id)
    assert reviewer.selections.publish(drafted.id).status == "applying"
    application = operator.selections.apply(drafted.id, "方案", [operator.files.upload(PDF, "a.pdf").id])
    seen = operator.selections.get(drafted.id)
    assert [one["id"] for one in seen.applications] == [application.id]
    assert authority.selections.get(drafted.id).applications == []
    assert operator.selections.withdraw(application.id).status == "withdrawn"
    assert authority.selections.cancel(drafted.id, "条件变化").status == "cancelled"
    assert [row.id for row in operator.selections.list()] == [drafted.id]
