"""What an administrator does about developers' apps, from the command line; and what a node demands of its sandbox."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict

import pytest
import rfc8785
from node_harness import runs
from tests.factories import forking

from node_agent.worker.host import Limits, Table, Work, WorkerFailureError
from node_agent.worker.pool import Workers
from shuyan import confinement
from shuyan.appkit import loader, pack, sign_package
from shuyan.appkit.project import Project, new_project
from shuyan.federation import _flower
from shuyan.federation.answers import PlainAnswer
from shuyan.federation.schema import Column
from shuyan.trust.keys import fingerprint, generate_signing_key, save_public_key


def command(node_dir, *arguments, code=0):
    done = forking.finished(["shuyan-node", "--lang", "en", "--dir", str(node_dir), *map(str, arguments)], environment=os.environ, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def third_party(node_dir):
    return [app for app in json.loads(command(node_dir, "app", "list", "--json")) if app["kind"] == "third_party"]


@pytest.fixture
def package(tmp_path):
    read = Project.read(new_project("visit_costs", tmp_path))
    return pack(loader.static_manifest(loader.import_app(read.name, read.sources)), read.sources, read.readme)


def test_from_a_key_to_an_app_and_back(place, package):
    node_dir, key = place / "node", generate_signing_key()
    command(node_dir, "init")
    file = place / package.file_name
    file.write_bytes(package.data)
    file.with_name(file.name + ".sig").write_text(sign_package(package, key, issuer="Operator", at=int(time.time())))
    save_public_key(place / "operator.pub", key.public_key())
    assert "trust-key" in command(node_dir, "app", "install", file, code=1)
    command(node_dir, "app", "trust-key", place / "operator.pub", code=1)  # nobody answered the question
    assert fingerprint(key.public_key()) in command(node_dir, "app", "trust-key", place / "operator.pub", "--yes")
    (place / "other.pub").write_text("no key")
    assert "key" in command(node_dir, "app", "trust-key", place / "other.pub", "--yes", code=1)
    assert package.digest in command(node_dir, "app", "install", file)
    (app,) = third_party(node_dir)
    assert (app["name"], app["digest"], app["signer"], app["allowed"]) == ("visit_costs", package.digest, "Operator", False)
    command(node_dir, "app", "allow", "visit_costs", "--digest", "sha256:" + "0" * 64, code=1)
    command(node_dir, "app", "allow", "visit_costs", "--digest", package.digest)
    assert third_party(node_dir)[0]["allowed"]
    # What lies on the disk is believed only as long as it is what was signed.
    kept = node_dir / "apps" / "visit_costs" / "package.shuyanapp"
    assert kept.stat().st_mode & 0o777 == 0o400
    os.chmod(kept, 0o600)
    kept.write_bytes(package.data + b"\0")
    assert third_party(node_dir) == []
    assert "app_unusable" in json.loads(command(node_dir, "status", "--json"))["alerts"]
    kept.write_bytes(package.data)
    assert len(third_party(node_dir)) == 1
    (trusted,) = json.loads(command(node_dir, "app", "keys", "--json"))
    command(node_dir, "app", "distrust-key", trusted["fingerprint"])
    assert third_party(node_dir) == []
    command(node_dir, "app", "distrust-key", trusted["fingerprint"], code=1)
    command(node_dir, "app", "remove", "visit_costs")
    command(node_dir, "app", "remove", "visit_costs", code=1)
    events = [entry["event"] for entry in json.loads(command(node_dir, "journal", "--json"))["entries"]]
    assert [event for event in events if event.startswith("app")] == [
        "app_key:trusted", "app:installed", "app:allowed", "app_key:distrusted", "app:removed"]


def test_the_status_names_the_layers(place):
    command(place / "node", "init")
    status = json.loads(command(place / "node", "status", "--json"))
    assert tuple(status["sandbox"]) == confinement.layers_here()
    assert ("sandbox_missing" in status["alerts"]) == (not confinement.sufficient(status["sandbox"]))


def statistics(place, rows=50, **limits):
    """A task of an app that comes with the product over a small table."""
    file = place / "rows.csv"
    file.write_text("cost\n" + "".join(f"{row}.5\n" for row in range(rows)))
    table = Table("visits", "csv", str(file), (asdict(Column("cost", "number")),))
    message = _flower.Outgoing(_flower.question_content({}, None, {"rows": 1, "count": 1, "sum": 1, "square": 1}), "query.tally", "r", 1)
    params = rfc8785.dumps({"resource": "visits", "columns": ["cost"], "domains": {}}).decode()
    return Work("r", "statistics", (table,), params, message.to_node(1, "m"))


async def outcome(place, work, *, limits=None, **options):
    workers = Workers(limits or Limits(), place / "scratch", place / "worker.log", **options)
    try:
        answer = PlainAnswer.from_bytes(await workers.run(work, time.monotonic() + 60))
        return float(answer.vectors["rows"].sum()), workers.layers
    except WorkerFailureError as failure:
        return failure.code, workers.layers
    finally:
        await workers.stop()


@runs
async def test_a_node_may_demand_the_sandbox_for_every_app(place):
    work = statistics(place)
    assert (await outcome(place, work, required=True, layers=("no_new_privs",)))[0] == "sandbox_unavailable"
    assert (await outcome(place, work, layers=("no_new_privs",))) == (50.0, ("no_new_privs",))
    if confinement.sufficient(confinement.layers_here()):
        rows, layers = await outcome(place, work, required=True)
        assert (rows, confinement.sufficient(layers)) == (50.0, True)


@runs
async def test_a_source_that_is_replaced_is_read_again(place):
    workers = Workers(Limits(spill_mb=64, threads=2), place / "scratch", place / "worker.log")
    try:
        for rows in (30, 40):
            work = statistics(place, rows)
            replaced = place / "new.csv"
            replaced.write_text((place / "rows.csv").read_text())
            replaced.replace(place / "rows.csv")
            answer = PlainAnswer.from_bytes(await workers.run(work, time.monotonic() + 60))
            assert answer.vectors["rows"].sum() == rows
            await workers.forget("r")
        assert (place / "scratch" / "spill").is_dir()
    finally:
        await workers.stop()
