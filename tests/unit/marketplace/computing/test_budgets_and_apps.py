"""What the market shows of privacy budgets and of apps."""

from __future__ import annotations

from typing import Any

import pytest
from tests.factories.federation import Zone

from marketplace import db
from marketplace.actor import PUBLIC, SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing import budgets, nodes
from marketplace.computing import service as computing
from shuyan.federation.apps import installed
from shuyan.federation.privacy import accounting
from shuyan.problems import ProblemError

STRANGER = Actor("developer", "org_stranger", member_id="mem_s")


def told(scope: str = "grantee", **changes: Any) -> dict[str, Any]:
    """A budget as a node tells it."""
    return {"scope": scope, "resource": "" if scope == "grant" else "air", "grantee": "" if scope == "resource" else "org_developer",
            "grant_id": "", "cap_nano": 10**9, "spent_nano": 4 * 10**8, "renewal": "monthly", "renews_at_ms": 1_800_000_000_000,
            "delta": 1e-6, **changes}


def sync(market: Zone, department: int, *items: dict[str, Any]) -> None:
    with db.transaction() as session:
        budgets.sync(session, market.departments[department].node_id, items)


def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = authorisation.read_grant
    monkeypatch.setattr(authorisation, "read_grant", lambda record: honest(record).model_copy(update={"release": "dp"}))


def test_the_budgets_that_a_grants_jobs_are_charged_to(market: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy(monkeypatch)
    sync(market, 0, told(), told("resource", spent_nano=2 * 10**9), told("grant", grant_id=market.grant_id),
         told(grantee="org_other"), told("grant", grant_id="grant_other"), told(resource="water"))
    sync(market, 1, told(renewal="never", renews_at_ms=0))
    with db.reading() as session:
        found = computing.grant_budgets(session, market.developer, market.grant_id)
        with pytest.raises(ProblemError, match="not_found"):
            computing.grant_budgets(session, STRANGER, market.grant_id)
    assert [(one.department, one.scope) for one in found] == [
        ("监测站0", "grant"), ("监测站0", "grantee"), ("监测站0", "resource"), ("监测站1", "grantee")]
    assert [one.left_nano for one in found] == [6 * 10**8, 6 * 10**8, 0, 6 * 10**8]
    assert found[0].epsilon_spent == pytest.approx(accounting.epsilon(4 * 10**8, 1e-6))
    assert (found[3].renewal, found[3].renews_at) == ("never", None)


def test_a_nodes_list_replaces_the_one_before_and_nonsense_is_left_out(market: Zone) -> None:
    sync(market, 0, told(), told(resource="water"))
    sync(market, 0, told(spent_nano=5), told("all"), told(delta=0.0), told(delta=float("nan")), told(cap_nano=-1),
         told(renewal="daily"), told(resource="a\x00b"), told(resource="x" * 200), told(renews_at_ms=1 << 60))
    with db.reading() as session:
        (one,) = computing.list_budgets(session, SYSTEM)
    assert (one.spent_nano, one.resource) == (5, "air")


def test_overseers_see_all_departments_their_own_and_others_none(small_market: Zone) -> None:
    sync(small_market, 0, told())
    sync(small_market, 1, told())
    department = Actor("source_department", small_market.departments[0].organisation_id, member_id="m")
    with db.reading() as session:
        assert len(computing.list_budgets(session, small_market.authority)) == 2
        assert len(computing.list_budgets(session, SYSTEM, node_id=small_market.departments[1].node_id)) == 1
        assert [one.node_id for one in computing.list_budgets(session, department)] == [small_market.departments[0].node_id]
        with pytest.raises(ProblemError, match="not_allowed"):
            computing.list_budgets(session, small_market.developer)
        with pytest.raises(ProblemError, match="not_signed_in"):
            computing.list_budgets(session, PUBLIC)


def test_a_grant_of_exact_answers_has_no_budgets(small_market: Zone) -> None:
    sync(small_market, 0, told())
    with db.reading() as session:
        assert computing.grant_budgets(session, small_market.developer, small_market.grant_id) == []


def test_the_gallery_says_what_apps_take_and_where_they_are_allowed(small_market: Zone) -> None:
    digest = installed()["statistics"].digest
    with db.transaction() as session:
        for place, allowed in enumerate((digest, "sha256:other")):
            nodes.node_connected(session, small_market.departments[place].node_id, software_version="1",
                                 apps=[{"name": "statistics", "digest": allowed}], revocations_seen=0)
    with db.reading() as session:
        card = computing.get_app(session, small_market.developer, "statistics")
        assert card.allowed_at == ("监测站0",)
        assert (card.digest, card.output_form) == (digest, "statistics")
        assert {"resource", "columns", "group_by"} <= set(card.params_schema["properties"])
        assert not {"domains", "bounds"} & set(card.params_schema["properties"])
        assert computing.get_app(session, PUBLIC, "statistics").allowed_at == ()
        assert {one.name for one in computing.list_apps(session, PUBLIC)} == set(installed())
        with pytest.raises(ProblemError, match="not_found"):
            computing.get_app(session, PUBLIC, "nothing")
