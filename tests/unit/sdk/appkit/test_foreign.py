"""A developer's app on the coordinator: its ``serve`` runs shut in, and only what it declares comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shuyan import confinement
from shuyan.appkit import loader, pack
from shuyan.appkit.mock import Mock
from shuyan.appkit.package import Package
from shuyan.appkit.testing import MockFederation
from shuyan.federation import foreign
from shuyan.federation.apps import installed
from shuyan.federation.grid import RunCancelled
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError

pytestmark = pytest.mark.skipif(not confinement.sufficient(confinement.layers_here()), reason="no sandbox for other people's code here")

HOSTILE = Path(__file__).parents[2] / "node_agent" / "hostile" / "__init__.py"
MOCK = Mock.model_validate({"resources": {"visits": {"rows": 30, "columns": {
    "cost": {"type": "number"}, "district": {"type": "string", "domain": ["east", "west"]}}}}, "cases": [{"params": {}}]})
HARMLESS = {"resource": "visits", "column": "cost"}


def federation(package: Package) -> MockFederation:
    """Departments that run the code in this process; the coordinator's side is shut in, as it always is."""
    app = loader.import_app(package.name, package.sources)
    made = MockFederation(app, MOCK)
    made.apps = {package.name: dataclasses.replace(foreign.installed_app(package), digest=made.apps[package.name].digest)}
    return made


@pytest.fixture(scope="module")
def hostile() -> Package:
    sources = {"hostile/__init__.py": HOSTILE.read_text()}
    return pack(loader.static_manifest(loader.import_app("hostile", sources)), sources)


def test_it_computes_what_it_computes_anywhere(package: Package) -> None:
    params = {"resource": "visits", "column": "cost", "by": "district"}
    with federation(package) as shut_in, MockFederation(loader.import_app(package.name, package.sources), MOCK) as free:
        assert shut_in.try_out(params) == free.try_out(params)


@pytest.mark.parametrize(("mode", "code", "where"), [
    ("server_socket", "app_server_failed", "hostile/__init__.py"), ("server_file", "app_server_failed", "hostile/__init__.py"),
    ("server_program", "app_server_failed", "PermissionError"), ("server_raise", "app_server_failed", "ValueError"),
    ("server_memory", "app_server_failed", "MemoryError"), ("server_exit", "app_server_failed", "serve"),
    ("server_violation", "sandbox_violation", ""), ("server_more", "app_content_undeclared", "rows_of_somebody"),
    ("server_kind", "app_content_undeclared", "kind")])
def test_what_a_hostile_one_comes_to(hostile: Package, mode: str, code: str, where: str) -> None:
    told: list[str] = []
    with federation(hostile) as made:
        grid = made.grid("hostile", {**HARMLESS, "mode": mode}, progress=lambda *said, **_: told.append(said[2]))
        with pytest.raises(ProblemError) as raised:
            made.apps["hostile"].load().run(grid)
    assert raised.value.code == code
    assert where in raised.value.text("en")
    assert "secret" not in raised.value.text("en") + "".join(told)


def test_what_it_tells_is_not_told(hostile: Package) -> None:
    told: list[str] = []
    with federation(hostile) as made:
        grid = made.grid("hostile", HARMLESS, progress=lambda *said, **_: told.append(said[2]))
        content = made.apps["hostile"].load().run(grid)
    assert content["rows"] == 90
    assert set(told) == {"round_started", "round_opening", "round_finished"}


def test_it_asks_only_what_it_declares(hostile: Package) -> None:
    with federation(hostile) as made, pytest.raises(ProblemError) as raised:
        made.run("hostile", {**HARMLESS, "mode": "server_ask_more"})
    assert raised.value.code == "unknown_action"


def test_what_a_department_says_is_passed_on(hostile: Package) -> None:
    with federation(hostile) as made:
        with pytest.raises(NodeFailure) as raised:
            made.run("hostile", {**HARMLESS, "column": "district"})
        assert raised.value.code == "wrong_type"


def test_it_is_ended(hostile: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_START_SECONDS", 0.0)
    short = hostile.manifest.app.limits.model_copy(update={"seconds": 1})
    manifest = hostile.manifest.model_copy(update={"app": hostile.manifest.app.model_copy(update={"limits": short})})
    busy = dataclasses.replace(hostile, manifest=manifest)
    with federation(hostile) as made:
        grid = made.grid("hostile", {**HARMLESS, "mode": "server_spin"})
        with pytest.raises(ProblemError) as raised:
            foreign.run_foreign(busy, grid, grid.raw_params)
        assert raised.value.code == "app_server_timeout"
        cancelled: Any = made.grid("hostile", {**HARMLESS, "mode": "server_spin"})
        cancelled.cancel()
        with pytest.raises(RunCancelled):
            made.apps["hostile"].load().run(cancelled)


def test_a_folder_of_packages(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = package.manifest
    later = pack(manifest.model_copy(update={"app": manifest.app.model_copy(update={"version": "1.10.0"})}), package.sources, package.readme)
    earlier = pack(manifest.model_copy(update={"app": manifest.app.model_copy(update={"version": "1.9.0"})}), package.sources, package.readme)
    for one in (package, later, earlier):
        (tmp_path / one.file_name).write_bytes(one.data)
    (tmp_path / "broken-1.0.0.shuyanapp").write_bytes(b"PK")
    monkeypatch.setenv("SHUYAN_APPS_DIR", str(tmp_path))
    found = installed()
    assert (found["visit_costs"].version, found["visit_costs"].digest) == ("1.10.0", later.digest)
    assert "statistics" in found
    monkeypatch.delenv("SHUYAN_APPS_DIR")
    assert "visit_costs" not in installed()
