"""Developers' apps over REST and through the SDK: who is let in, what comes back, what is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.apps import shared_app
from tests.factories.market import City, make_city
from tests.factories.programs import Signer, make_package

import shuyan
from marketplace import db
from marketplace.actor import SYSTEM
from marketplace.api import limits
from marketplace.parties import service as parties
from marketplace.settings import settings
from shuyan.trust import keys

SECRET = "a secret long enough for a test"
SCOPES = {"developer": "read products", "operator": "read operate", "data_authority": "read grants", "consumer": "read orders"}


class Desks:
    """Programs of every party at one market."""

    def __init__(self, city: City) -> None:
        self.city, self.app = city, shared_app()
        with db.transaction() as session:
            wanted = {kind: (city[kind].organisation_id or "", scope) for kind, scope in SCOPES.items()}
            wanted["department"] = (city.departments[0], "read")
            for kind, (organisation_id, scope) in wanted.items():
                parties.create_client(session, SYSTEM, name=kind, scope=scope, organisation_id=organisation_id,
                                      client_id=f"client_{kind}", secret=SECRET)

    def __getitem__(self, kind: str) -> shuyan.Market:
        return shuyan.connect("http://market", client_id=f"client_{kind}", client_secret=SECRET,
                              transport=httpx.WSGITransport(app=self.app))


@pytest.fixture
def desks(sqlite_database: Any) -> Iterator[Desks]:
    del sqlite_database
    with db.transaction() as session:
        city = make_city(session)
    yield Desks(city)
    limits.limiter.reset()


def test_from_submission_to_download(desks: Desks, tmp_path: Path) -> None:
    signer, package = Signer(settings()), make_package()
    developer, operator, department = desks["developer"], desks["operator"], desks["department"]
    row = developer.programs.submit(package.data)
    assert (row.digest, row.status, developer.programs.submit(package.data).id) == (package.digest, "submitted", row.id)
    assert department.programs.list() == []
    detail = operator.programs.get(row.id)
    assert detail.actions == ["return", "reject", "accept"]  # type: ignore[attr-defined]
    assert detail.changes["files"][0]["kind"] == "added"  # type: ignore[attr-defined]
    assert operator.programs.package(row.id) == package.data
    for kind in ("developer", "data_authority", "department", "consumer"):
        with pytest.raises(shuyan.ProblemResponse) as raised:
            desks[kind].programs.accept(row.id, signer.sign(package))
        assert raised.value.code in ("scope_missing", "not_found")
    with pytest.raises(shuyan.NotAllowed):
        operator.programs.accept(row.id, Signer().sign(package))
    assert operator.programs.accept(row.id, signer.sign(package)).signer == "运营公司"

    public = tmp_path / "operator.pub"
    keys.save_public_key(public, signer.key.public_key())
    target = department.programs.download("visit_costs", folder=tmp_path / "here", key=public)
    assert target.read_bytes() == package.data
    assert target.with_name(target.name + ".sig").read_text().strip() == signer.sign(package)
    other = tmp_path / "other.pub"
    keys.save_public_key(other, Signer().key.public_key())
    with pytest.raises(shuyan.VerificationFailed):
        department.programs.download("visit_costs", folder=tmp_path / "nowhere", key=other)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(shuyan.ShuyanError):
        desks["consumer"].programs.download("visit_costs")
    assert [one["version"] for one in developer.apps.get("visit_costs").versions] == ["1.0.0"]
    with pytest.raises(shuyan.InvalidInput):
        operator.programs.suspend(row.id, "")
    assert developer.programs.retire(row.id, "不再维护").status == "retired"
    assert "visit_costs" not in {app.name for app in developer.apps()}


@pytest.mark.parametrize("sent", ["", "not base64!", base64.b64encode(b"PK").decode()])
def test_no_package(desks: Desks, sent: str) -> None:
    developer = desks["developer"]
    with pytest.raises(shuyan.InvalidInput) as raised:
        developer._api.post("/app-submissions", {"package": sent})
    assert raised.value.code == "package_invalid"


def test_a_returned_app_comes_again(desks: Desks) -> None:
    developer, operator = desks["developer"], desks["operator"]
    row = developer.programs.submit(make_package(more="\nimport socket\n").data)
    assert [one["rule"] for one in row.findings if "socket" in one["text"]]
    assert operator.programs.send_back(row.id, "不得使用网络").note == "不得使用网络"
    again = developer.programs.submit(make_package().data, note="已删除")
    assert developer.programs.withdraw(again.id).status == "withdrawn"
    assert [one.status for one in developer.programs.list(name="visit_costs")] == ["withdrawn", "returned"]
