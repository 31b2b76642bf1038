"""``shuyan-market`` as an operator uses it: set up, seed, check, and clear sentences when something is wrong."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from marketplace import db
from marketplace.cli import app
from marketplace.parties import invitations
from marketplace.rpc import pki
from marketplace.settings import settings
from shuyan import _text

SEED = {"organisations": [{"id": "org_operator", "kind": "operator", "name_zh": "运营", "name_en": "Operator",
                           "clients": [{"client_id": "op-app", "name": "app", "scope": "read operate"}]}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SHUYAN_DATA_DIR", str(tmp_path / "market"))
    monkeypatch.delenv("SHUYAN_DATABASE_URL", raising=False)
    settings.cache_clear()
    db._engines.cache_clear()
    _text.set_language("en")
    yield tmp_path
    for engine in db._engines(settings().resolved_database_url):
        engine.dispose()
    _text.set_language(None)
    settings.cache_clear()
    db._engines.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_init_can_be_repeated_and_keeps_the_keys(folder: Path) -> None:
    assert run("init").exit_code == 0
    key = folder / "market" / "keys" / "web.key"
    before = key.read_bytes()
    again = run("init")
    assert (again.exit_code, key.read_bytes()) == (0, before)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "Ready" in again.output
    assert run("db", "upgrade").exit_code == 0


def test_seed_prints_new_secrets_once(folder: Path) -> None:
    run("init")
    file = folder / "seed.json"
    file.write_text(json.dumps(SEED))
    first, again = run("seed", str(file)), run("seed", str(file))
    assert "Added 1 organisations, 0 members, 1 programs." in first.output
    assert "op-app " in first.output
    assert "op-app " not in again.output
    file.write_text("{")
    assert run("seed", str(file)).exit_code == 2
    file.write_text('{"organisations": [{"id": "x"}]}')
    assert run("seed", str(file)).exit_code == 1


def test_audit_check_detects_an_edited_database(folder: Path) -> None:
    run("init")
    (folder / "seed.json").write_text(json.dumps(SEED))
    run("seed", str(folder / "seed.json"))
    assert run("audit", "check").exit_code == 0
    with db.transaction() as session:
        session.execute(text("UPDATE audit_event SET leaf = replace(leaf, 'operator', 'OPERATOR')"))
    assert run("audit", "check").exit_code == 1


def test_without_a_database_it_says_what_to_do(folder: Path) -> None:
    for command in (["serve"], ["audit", "check"]):
        result = run(*command)
        assert result.exit_code == 3
        assert "shuyan-market init" in result.output


def test_a_taken_port_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SHUYAN_WEB_PORT", str(taken.getsockname()[1]))
        settings.cache_clear()
        result = run("serve")
    assert result.exit_code == 1
    assert "SHUYAN_WEB_PORT" in result.output


def test_an_invitation_needs_a_known_organisation(folder: Path) -> None:
    run("init")
    result = run("node", "invite", "--organisation", "org_none", "--name", "n")
    assert result.exit_code == 1
    assert "organisation" in result.output
    organisation = run("accounts", "begin", "source_department", "it@example.cn", "--name-zh", "卫健委", "--name-en", "Health").stdout.split()[0]
    kept = folder / "invitation.txt"
    early = run("node", "invite", "--organisation", organisation, "--name", "n", "--out", str(kept))
    assert (early.exit_code, "shuyan-coordinator init" in early.output, kept.exists()) == (1, True, False)
    pki.initialise(settings().keys_dir)
    made = run("node", "invite", "--organisation", organisation, "--name", "n", "--out", str(kept))
    assert made.exit_code == 0, made.output
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.read_text().strip()


def test_deadlines_are_listed_with_what_failed(folder: Path) -> None:
    from marketplace.deadlines import service as deadlines

    run("init")
    assert "Nothing is pending." in run("deadlines").output
    with db.transaction() as session:
        due = deadlines.put(session, "test", "thing_1", db.utc_now())
        deadlines.put(session, "test", "thing_2", db.utc_now())
        deadlines.failed(session, due.id, 0, "RuntimeError")
    everything, failed = run("deadlines").output, run("deadlines", "--failed").output
    assert "thing_1  failed 1 times (RuntimeError)" in everything
    assert "thing_2" in everything
    assert "thing_1" in failed
    assert "thing_2" not in failed


def test_an_organisation_is_begun_and_its_people_are_helped(folder: Path) -> None:
    run("init")
    begun = run("accounts", "begin", "data_authority", "chief@example.cn", "--name-zh", "市数据局", "--name-en", "Data Bureau")
    assert begun.exit_code == 0, begun.output
    organisation, link = begun.stdout.splitlines()[:2]
    with db.transaction() as session:
        invitations.accept_new(session, link.partition("token=")[2], display_name="局长", password="staple under the bridge", locale="zh")
    listed = run("accounts", "list", organisation)
    assert "chief@example.cn  active  admin,finance,handler,reviewer  password only" in listed.output
    for command in ("unlock", "sign-out", "reset-second-factor"):
        assert run("accounts", command, "chief@example.cn").exit_code == 0
        unknown = run("accounts", command, "nobody@example.cn")
        assert (unknown.exit_code, "account" in unknown.output.lower()) == (1, True)
    assert "/reset/new?token=" in run("accounts", "reset-password", "chief@example.cn").output
    assert "/invitation?token=" in run("accounts", "invite", organisation, "deputy@example.cn").output
    assert run("accounts", "invite", "org_none", "deputy@example.cn").exit_code == 1
    assert run("accounts", "begin", "king", "x@example.cn", "--name-zh", "x", "--name-en", "x").exit_code == 1
