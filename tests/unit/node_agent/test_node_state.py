"""What is on the node's disk: directory, keys, journal, sources and resources, checkpoints."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from concurrent import futures

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_harness import Enrolment, Pki, invitation, patients

from node_agent import enrolment
from node_agent.admin import Admin
from node_agent.checkpoints import Checkpoints
from node_agent.config import Lock, NodeDir
from node_agent.journal import Journal
from node_agent.keys import NodeKeys
from node_agent.state import State
from shuyan.problems import ProblemError
from shuyan.trust import merkle
from shuyan.trust.cards import verify_card
from shuyan.trust.keys import generate_signing_key
from shuyan.trust.merkle import Frontier, leaf_hash
from shuyan.trust.notes import Checkpoint, node_verifier, sign_checkpoint, verify_cosignature
from shuyan_protos.link.v1 import link_pb2, link_pb2_grpc
from shuyan_protos.local.v1 import local_pb2


def _problem(code):
    return pytest.raises(ProblemError, match=f"^{code}:")


@pytest.fixture
def node_dir(place):
    made = NodeDir(place / "node")
    made.create()
    NodeKeys.create(made)
    return made


@pytest.fixture
def admin(node_dir):
    made = Admin(node_dir, apps={})
    yield made
    made.close()


def test_a_commit_waits_for_the_disk_unless_it_is_said_not_to(tmp_path):
    state = State(tmp_path / "state.db")

    def waits() -> bool:
        return state.one("PRAGMA synchronous")[0] == 2

    for wait in (True, False, False, True):
        with state.transaction(wait=wait), state.transaction():  # the outer one decides
            state.put("key", "value")
            assert waits() is wait
    with state.transaction():
        assert waits()
    state.close()


# --- directory, keys, enrolment ---


def test_everything_is_readable_by_its_owner_only(node_dir):
    State(node_dir.database).close()
    for path in [node_dir.path, *node_dir.path.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_directory_is_made_once(node_dir):
    with _problem("node_dir_exists"):
        node_dir.create()
    with _problem("node_dir_missing"):
        NodeDir(node_dir.path / "other").require()


def test_a_directory_too_deep_for_a_socket_is_refused(tmp_path):
    with _problem("node_dir_path_too_long"):
        NodeDir(tmp_path / ("x" * 100)).create()


def test_one_agent_a_directory(node_dir):
    with Lock(node_dir), _problem("node_dir_locked"), Lock(node_dir):
        pass
    with Lock(node_dir):
        pass


@pytest.mark.parametrize("text", ["nonsense = [", "[worker]\nmemory_mb = 1\n", "[policy]\nfoo = 1\n"])
def test_a_wrong_configuration_is_named(node_dir, text):
    node_dir.config_file.write_text(text)
    with _problem("node_config_invalid"):
        node_dir.config()


@pytest.fixture
def enrolling():
    pki = Pki()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = Enrolment(pki, 9)
    link_pb2_grpc.add_EnrolmentServicer_to_server(servicer, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pki.server()]))
    server.start()
    yield pki, port, servicer
    server.stop(0)


def test_enrolment_pins_and_proves(node_dir, enrolling):
    pki, port, servicer = enrolling
    invited = enrolment.Invitation.parse(invitation(port, pki))
    identity = enrolment.enrol(node_dir, invited, b"authority pem")
    assert (identity.node_id, identity.organisation) == ("nod_1", "卫健委")
    assert (node_dir.keys / "ca.pem").read_bytes() == pki.pem
    assert (node_dir.keys / "authority.pub").read_bytes() == b"authority pem"
    keys = NodeKeys.load(node_dir)
    assert servicer.request.proof == keys.enrolment_proof(servicer.request.certificate_request)
    assert servicer.request.agreement_key == keys.agreement_public
    card = keys.card(identity)
    assert verify_card(json.dumps(card.model_dump())) == card
    with _problem("already_enrolled"):
        enrolment.enrol(node_dir, invited, b"")


def test_enrolment_refused_and_unreachable(node_dir, enrolling):
    pki, port, _ = enrolling
    with _problem("enrolment_refused"):
        enrolment.enrol(node_dir, enrolment.Invitation.parse(invitation(port, pki, code="wrong")), b"")
    with _problem("enrolment_unreachable"):
        enrolment.enrol(node_dir, enrolment.Invitation.parse(invitation(1, pki)), b"")
    other = Pki()
    with _problem("enrolment_unreachable"):
        enrolment.enrol(node_dir, enrolment.Invitation.parse(invitation(port, other)), b"")
    assert node_dir.identity() is None


@pytest.mark.parametrize("token", ["", "%%%", "e30", "bnVsbA", "eyJ2IjoyfQ"])
def test_invitations_that_are_none(token):
    with _problem("invitation_invalid"):
        enrolment.Invitation.parse(token)


# --- journal ---


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.text(max_size=10), st.integers(-2**50, 2**50)), min_size=1, max_size=8), st.data())
def test_any_changed_or_missing_entry_shows(tmp_path_factory, entries, data):
    path = tmp_path_factory.mktemp("j") / "state.sqlite"
    state = State(path)
    journal = Journal(state)
    for event, value in entries:
        journal.append(event, value=value)
    assert journal.verify() == len(entries)
    state.close()
    victim = data.draw(st.integers(1, len(entries)))
    with sqlite3.connect(path) as raw:
        raw.executescript("DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete;")
        if data.draw(st.booleans()) and victim < len(entries):
            raw.execute("DELETE FROM journal WHERE sequence = ?", (victim,))
        else:
            raw.execute("UPDATE journal SET at_ms = at_ms + 1 WHERE sequence = ?", (victim,))
    raw.close()
    state = State(path)
    with pytest.raises(ProblemError) as broken:
        Journal(state).verify()
    assert (broken.value.code, broken.value.args_) == ("journal_broken", {"sequence": victim})
    state.close()


def test_the_journal_is_append_only_and_rolls_back_whole(admin):
    admin.journal.append("a")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        admin.state.execute("DELETE FROM journal")

    def half():
        with admin.state.transaction():
            admin.journal.append("b")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert admin.journal.append("c") == 2
    assert admin.journal.verify() == 2


def test_the_journal_outlives_kill_9(place):
    """A child appends and says so after each commit; killed, everything it said is there, and the chain holds."""
    path = place / "state.sqlite"
    State(path).close()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        journal = Journal(State(path))
        while True:
            os.write(writing, journal.append("step").to_bytes(4, "big"))
    os.close(writing)
    said = 0
    while said < 50:
        said = int.from_bytes(os.read(reading, 4), "big")
    os.kill(child, 9)
    os.waitpid(child, 0)
    while rest := os.read(reading, 4):
        said = int.from_bytes(rest, "big")
    os.close(reading)
    state = State(path)
    assert Journal(state).verify() in (said, said + 1)
    state.close()


# --- sources and resources ---


@pytest.fixture
def table(place):
    path = place / "table.csv"
    path.write_text(patients())
    return path


def _resource(**fields):
    return link_pb2.Resource(**{"name": "r", "sector": "health", "grade": 2, "approval": "manual", **fields})


def test_sources_are_measured_in_place(admin, table, place):
    source = admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(table)))
    assert source.row_count == 20
    assert {c.name: c.type for c in source.columns} == {
        "id": "integer", "name": "string", "sex": "string", "age": "integer", "weight": "number"}
    (place / "table2.csv").write_text(patients(5))
    both = admin.AddSource(local_pb2.AddSourceRequest(name="both", location=str(place / "table*.csv")))
    assert both.row_count == 25
    with _problem("source_exists"):
        admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(table)))


def test_parquet_sources(admin, place):
    import duckdb

    file = place / "t.parquet"
    duckdb.sql("SELECT range AS n, range / 3.0 AS x, DATE '2024-01-01' + range::INT AS d FROM range(7)").write_parquet(
        str(file))
    source = admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(file)))
    assert (source.kind, source.row_count) == ("parquet", 7)
    assert [c.type for c in source.columns][:2] == ["integer", "number"]


@pytest.mark.parametrize(("name", "kind", "location", "code"), [
    ("Bad", "", "{t}", "name_invalid"), ("", "", "{t}", "name_invalid"), ("s", "xls", "{t}", "source_kind"),
    ("s", "", "/nowhere/x.csv", "source_location"), ("s", "", "table.csv", "source_location"),
    ("s", "parquet", "{t}", "source_unreadable"), ("s", "", "/etc", "source_kind"), ("s", "csv", "/etc", "source_location")])
def test_sources_that_are_refused(admin, table, name, kind, location, code):
    with _problem(code):
        admin.AddSource(local_pb2.AddSourceRequest(name=name, kind=kind, location=location.format(t=table)))


@pytest.mark.parametrize(("fields", "code"), [
    ({"name": "R r"}, "name_invalid"), ({"grade": 0}, "resource_grade"), ({"grade": 5}, "resource_grade"),
    ({"sector": "space"}, "resource_sector"), ({"approval": "maybe"}, "resource_approval"),
    ({"columns": [link_pb2.Column(name="gone")]}, "resource_column"),
    ({"columns": [link_pb2.Column(name="id", identifier=True, domain=["*"])]}, "dimension_identifier"),
    ({"columns": [link_pb2.Column(name="sex", lower=0, upper=1)]}, "bounds_invalid"),
    ({"columns": [link_pb2.Column(name="age", lower=2, upper=1)]}, "bounds_invalid"),
    ({"columns": [link_pb2.Column(name="age", lower=float("nan"))]}, "bounds_invalid")])
def test_resources_that_are_refused(admin, table, fields, code):
    admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(table)))
    with _problem(code):
        admin.RegisterResource(local_pb2.RegisterResourceRequest(source="s", resource=_resource(**fields)))
    assert not admin.resources.list()


def test_types_and_counts_are_measured_not_believed(admin, table):
    admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(table)))
    made = admin.RegisterResource(local_pb2.RegisterResourceRequest(source="s", resource=_resource(
        row_count=10**9, columns=[link_pb2.Column(name="age", lower=0, upper=120),
                                  link_pb2.Column(name="sex", domain=["f", "m", "x"])])))
    assert made.row_count == 20
    assert [(c.name, c.type, list(c.domain)) for c in made.columns] == [
        ("age", "integer", []), ("sex", "string", ["f", "m", "x"])]
    with _problem("source_in_use"):
        admin.RemoveSource(local_pb2.RemoveSourceRequest(name="s"))
    admin.WithdrawResource(local_pb2.WithdrawResourceRequest(name="r"))
    admin.RemoveSource(local_pb2.RemoveSourceRequest(name="s"))
    with _problem("source_not_found"):
        admin.RemoveSource(local_pb2.RemoveSourceRequest(name="s"))


@pytest.fixture
def open_types(admin, place):
    """A source whose types the data leave open: nothing at all, a word among numbers, NaN, halves."""
    file = place / "open.csv"
    file.write_text("empty,mixed,whole,half,nan,day,code\n,1,1.0,0.5,nan,2024-01-01,7\n,2.5,2.0,,1,2024-01-02,8\n,many,,2.0,,,9\n")
    admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(file)))
    return file


def _declare(admin, name, kind, **more):
    made = admin.RegisterResource(local_pb2.RegisterResourceRequest(source="s", resource=_resource(
        columns=[link_pb2.Column(name=name, type=kind, **more)])))
    return made.columns[0]


@pytest.mark.parametrize(("name", "kind"), [
    ("empty", "number"), ("empty", "integer"), ("empty", "date"), ("empty", "boolean"), ("empty", "string"),
    ("whole", "integer"), ("code", "number"), ("day", "timestamp"), ("nan", "number"), ("half", "number")])
def test_a_type_the_data_leave_open_is_declared(admin, open_types, name, kind):
    assert _declare(admin, name, kind).type == kind
    assert admin.resources.find("r").schema[name].type == kind


@pytest.mark.parametrize(("name", "kind", "code"), [
    ("mixed", "number", "resource_type_differs"), ("mixed", "boolean", "resource_type_differs"),
    ("half", "integer", "resource_type_differs"), ("nan", "integer", "resource_type_differs"),
    ("code", "string", "resource_type_unfit"), ("day", "number", "resource_type_unfit"), ("whole", "date", "resource_type_unfit"),
    ("empty", "float", "resource_type"), ("empty", "?", "resource_type")])
def test_a_declared_type_is_tried_on_every_value(admin, open_types, name, kind, code):
    with _problem(code):
        _declare(admin, name, kind)
    assert not admin.resources.list()


def test_a_declared_type_counts_for_bounds_and_dimensions(admin, open_types):
    assert _declare(admin, "empty", "number", lower=0, upper=1).upper == 1
    assert list(_declare(admin, "whole", "integer", domain=["*"]).domain) == ["1", "2"]
    with _problem("bounds_invalid"):
        _declare(admin, "empty", "string", lower=0, upper=1)


def test_a_dimension_of_too_many_values_is_refused(admin, place):
    file = place / "wide.csv"
    file.write_text("k\n" + "\n".join(f"v{i}" for i in range(1001)) + "\n")
    admin.AddSource(local_pb2.AddSourceRequest(name="s", location=str(file)))
    with _problem("dimension_too_wide"):
        admin.RegisterResource(local_pb2.RegisterResourceRequest(source="s", resource=_resource(
            columns=[link_pb2.Column(name="k", domain=["*"])])))


# --- checkpoints ---


class Log:
    """A log that may fork."""

    def __init__(self, leaves=(), origin="shuyan.test/log", key=None):
        self.leaves, self.origin, self.key = list(leaves), origin, key or generate_signing_key()

    def message(self, size, from_size):
        frontier = Frontier()
        table = dict(made for leaf in self.leaves[:size] for made in frontier.append(leaf_hash(leaf)))
        proof = merkle.consistency_proof(from_size, size, lambda wanted: [table[p] for p in wanted]) if from_size else []
        note = sign_checkpoint(Checkpoint(self.origin, size, frontier.root()), self.key)
        return link_pb2.Checkpoint(note=note, consistency_proof=proof, from_size=from_size)


@pytest.fixture
def cosigner(admin, node_dir):
    return Checkpoints(admin.state, admin.journal, "nod_1", NodeKeys.load(node_dir).signing)


def test_checkpoints_that_continue_are_cosigned(cosigner, node_dir):
    log = Log(b"%d" % i for i in range(20))
    verifier = node_verifier("nod_1", NodeKeys.load(node_dir).signing.public_key())
    for before, size in [(0, 3), (3, 8), (8, 8), (8, 20)]:
        message = log.message(size, before)
        signature = cosigner.cosign(message)
        assert signature.size == size
        assert abs(verify_cosignature(message.note, signature.line, verifier) - time.time()) < 60
    assert cosigner.size == 20
    assert not cosigner.forked
    assert cosigner.cosign(log.message(8, 3)) is None


def test_a_fork_is_never_cosigned_and_raises_an_alert(cosigner, admin):
    log = Log(b"%d" % i for i in range(20))
    assert cosigner.cosign(log.message(5, 0))
    fork = Log([b"other", *log.leaves[1:]], key=log.key)
    assert cosigner.cosign(fork.message(9, 5)) is None
    assert cosigner.cosign(fork.message(9, 5)) is None
    assert cosigner.cosign(fork.message(5, 5)) is None
    assert cosigner.cosign(Log(log.leaves, origin="other/log").message(9, 5)) is None
    assert cosigner.cosign(Log(log.leaves).message(9, 5)) is None
    assert cosigner.cosign(link_pb2.Checkpoint(note="no note")) is None
    assert cosigner.size == 5
    assert cosigner.forked
    assert list(admin.Status(local_pb2.StatusRequest()).alerts) == ["log_forked"]
    refused = [entry for entry in admin.journal.read() if entry.event == "checkpoint:refused"]
    assert [entry.data["reason"] for entry in refused] == ["fork", "fork", "another_log", "malformed"]
    assert cosigner.cosign(log.message(9, 5))
