"""The audit log as a service, on every database we support."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.computing.models import Node
from marketplace.events import Tag
from marketplace.parties.models import Organisation
from marketplace.trust import service as trust
from marketplace.trust.models import AuditEvent, Checkpoint
from shuyan.problems import ProblemError
from shuyan.trust import keys, merkle, notes
from shuyan.trust.bundle import verify_bundle

ACTOR = Actor("operator", "org_1", "mem_1")


def fill(database: Any, count: int, subject: str = "product_1") -> None:
    with database.transaction() as session:
        for number in range(count):
            trust.append(session, Tag.PRODUCT_LISTED, ACTOR, subject, related=[f"order_{number}"], data={"n": number})


def checkpoint(database: Any) -> Checkpoint | None:
    with database.transaction() as session:
        return trust.make_checkpoint(session)


def add_node(database: Any, node_id: str = "node_1") -> Any:
    key = keys.generate_signing_key()
    with database.transaction() as session:
        session.merge(Organisation(id="org_d", kind="source_department", name_zh="税务局", name_en="Tax"))
        session.flush()
        session.add(Node(id=node_id, organisation_id="org_d", name=f"name of {node_id}", certificate_pem="",
                         certificate_serial=node_id, signing_key=keys.encode_public(key.public_key()),
                         agreement_key=""))
    return key


def test_an_event_is_there_exactly_if_its_transaction_commits(database: Any) -> None:
    fill(database, 2)
    session = Session(db.writer_engine())
    assert trust.append(session, Tag.JOB_SUBMITTED, ACTOR, "job_1") == 2
    session.close()  # without a commit
    with database.transaction() as session:
        assert trust.append(session, Tag.JOB_SUBMITTED, ACTOR, "job_2") == 2
    with database.reading() as session:
        assert trust.log_size(session) == 3
        assert trust.events_for(session, "job_1") == []
        assert [e.index for e in trust.events_for(session, "job_2")] == [2]
        assert trust.check_database(session).ok


def test_a_leaf_is_canonical_and_names_the_actor_by_id(database: Any) -> None:
    with database.transaction() as session:
        trust.append(session, Tag.ORDER_PLACED, Actor("consumer", "org_1", "mem_9"), "order_1",
                     related=["product_2", "product_1", "order_1"], data={"名": "值", "a": 1})
    with database.reading() as session:
        (event,) = trust.events_for(session, "product_1")
    assert event.leaf == (
        '{"actor":{"id":"mem_9","party":"consumer"},"at":"' + event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        + '","data":{"a":1,"名":"值"},"related":["product_1","product_2"],"subject":"order_1",'
        '"tag":"commerce:order:placed"}')
    assert event.leaf_hash == merkle.leaf_hash(event.leaf.encode()).hex()


def test_a_leaf_has_a_largest_size(database: Any) -> None:
    with pytest.raises(ProblemError, match="event_too_large"), database.transaction() as session:
        trust.append(session, Tag.ORDER_PLACED, ACTOR, "order_1", data={"text": "x" * 20_000})


def test_events_are_paged_by_index(database: Any) -> None:
    fill(database, 7)
    with database.reading() as session:
        first = trust.events_for(session, "product_1", limit=3)
        rest = trust.events_for(session, "product_1", after=first[-1].index, limit=100)
        assert [e.index for e in first + rest] == list(range(7))
        assert [e.index for e in trust.events_for(session, "order_4")] == [4]
        assert len(trust.events_for(session)) == 7


@pytest.mark.parametrize("threads", [6])
def test_concurrent_appends_lose_and_double_nothing(database: Any, threads: int) -> None:
    each, failures = 20, []

    def work(number: int) -> None:
        try:
            for step in range(each):
                with database.transaction() as session:
                    trust.append(session, Tag.RUN_STARTED, SYSTEM, f"run_{number}_{step}")
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    with database.reading() as session:
        subjects = [row.subject for row in session.exec(trust.select(AuditEvent).order_by("index"))]
        assert sorted(subjects) == sorted(f"run_{n}_{s}" for n in range(threads) for s in range(each))
        report = trust.check_database(session)
    assert report.ok, report.statement("en")
    assert report.events == threads * each


def test_checkpoints_are_signed_and_only_made_when_the_log_grew(database: Any) -> None:
    assert checkpoint(database) is None
    fill(database, 5)
    with database.reading() as session:
        assert trust.needs_checkpoint(session)
    made = checkpoint(database)
    assert made is not None
    opened = notes.open_checkpoint(made.note, trust.log_verifier())
    assert (opened.origin, opened.size) == ("shuyan.sz/log", 5)
    assert checkpoint(database) is None
    with database.reading() as session:
        assert not trust.needs_checkpoint(session)
        leaves = [bytes.fromhex(e.leaf_hash) for e in trust.events_for(session)]
    assert merkle.root_of(leaves) == opened.root


def test_proofs_hold_at_every_size(database: Any) -> None:
    fill(database, 37)
    with database.reading() as session:
        leaves = [bytes.fromhex(e.leaf_hash) for e in trust.events_for(session, limit=100)]
        for size in (1, 2, 7, 8, 32, 36, 37):
            root = merkle.root_of(leaves[:size])
            for index in range(size):
                merkle.verify_inclusion(index, size, leaves[index], trust.inclusion_proof(session, index, size), root)
            merkle.verify_consistency(size, 37, trust.consistency_proof(session, size, 37), root,
                                      merkle.root_of(leaves))
        for first, second in ((0, 5), (6, 5), (5, 38)):
            with pytest.raises(ProblemError, match="proof_range"):
                trust.consistency_proof(session, first, second)
        with pytest.raises(ProblemError, match="proof_range"):
            trust.inclusion_proof(session, 37, 38)


def test_only_a_departments_own_cosignature_is_kept(database: Any) -> None:
    key = add_node(database)
    fill(database, 3)
    made = checkpoint(database)
    assert made is not None
    good = notes.cosign(made.note, notes.node_key_name("node_1"), key, time=1_700_000_000)
    forged = notes.cosign(made.note, notes.node_key_name("node_1"), keys.generate_signing_key(), time=1)
    with database.transaction() as session:
        with pytest.raises(ProblemError, match="cosignature_invalid"):
            trust.add_cosignature(session, "node_1", 3, forged)
        with pytest.raises(ProblemError, match="cosignature_invalid"):
            trust.add_cosignature(session, "node_1", 3, "— rubbish\n")
        with pytest.raises(ProblemError, match="not_allowed"):
            trust.add_cosignature(session, "node_2", 3, good)
        with pytest.raises(ProblemError, match="not_found"):
            trust.add_cosignature(session, "node_1", 4, good)
        trust.add_cosignature(session, "node_1", 3, good)
        trust.add_cosignature(session, "node_1", 3, good)
    with database.reading() as session:
        full = trust.cosigned_note(session, trust.get_checkpoint(session, 3))
        report = trust.check_database(session)
    assert full == made.note + good
    assert report.ok
    assert report.cosignatures == 1


def test_a_bundle_proves_a_products_events_offline(database: Any) -> None:
    node_keys = {name: add_node(database, name) for name in ("node_1", "node_2", "node_3")}
    fill(database, 4)
    first = checkpoint(database)
    fill(database, 9, "product_2")
    second = checkpoint(database)
    assert first is not None
    assert second is not None
    with database.transaction() as session:
        for node_id, key in node_keys.items():
            trust.add_cosignature(session, node_id, 13, notes.cosign(
                second.note, notes.node_key_name(node_id), key, time=1_700_000_000))
    fill(database, 1, "product_3")
    checkpoint(database)  # newer, but nobody has cosigned it yet
    with database.reading() as session:
        bundle = trust.bundle(session, "product_2", since=4)
        default = trust.bundle(session, "product_2")
    verified = verify_bundle(bundle, key=trust.log_vkey(), since=first.note)
    assert (verified.size, len(verified.events), len(verified.cosigners)) == (13, 9, 3)
    assert (verified.earlier_size, verified.earlier_pinned) == (4, True)
    assert "product_2" in verified.statement("en")
    assert verify_bundle(default).earlier_size == 4
    with database.reading() as session, pytest.raises(ProblemError, match="no_events"):
        trust.bundle(session, "product_9")


def test_a_bundle_needs_a_checkpoint(database: Any) -> None:
    fill(database, 1)
    with database.reading() as session, pytest.raises(ProblemError, match="log_empty"):
        trust.bundle(session, "product_1")


TAMPERINGS: list[tuple[str, list[str], str, int]] = [
    ("a changed event", ["UPDATE audit_event SET leaf = replace(leaf, '\"n\":6', '\"n\":7') WHERE \"index\" = 6"],
     "event_changed", 6),
    ("a changed column", ["UPDATE audit_event SET subject = 'other' WHERE \"index\" = 6"], "event_columns", 6),
    ("a deleted event", ["DELETE FROM audit_subject WHERE \"index\" = 6", "DELETE FROM audit_event WHERE \"index\" = 6"],
     "event_missing", 6),
    ("a hidden relation", ["DELETE FROM audit_subject WHERE \"index\" = 6 AND subject = 'order_6'"], "event_subjects", 6),
    ("a changed inner hash", ["UPDATE merkle_node SET hash = '00' WHERE level = 2 AND \"index\" = 1"], "node_wrong", 7),
    ("a missing inner hash", ["DELETE FROM merkle_node WHERE level = 0 AND \"index\" = 6"], "node_wrong", 6),
    ("an extra inner hash", ["INSERT INTO merkle_node (level, \"index\", hash) VALUES (9, 9, '00')"], "node_extra", 1),
    ("a wrong size", ["UPDATE log_head SET size = 11"], "size_wrong", 12),
    ("a changed checkpoint", ["UPDATE checkpoint SET root = '00' WHERE size = 8"], "checkpoint_root", 8),
    ("a swapped note", ["UPDATE checkpoint SET note = replace(note, 'shuyan.sz', 'shuyan.gz') WHERE size = 8"],
     "checkpoint_signature", 8),
    ("a cut-off end", [f"DELETE FROM {t} WHERE \"index\" >= 10" for t in ("audit_subject", "audit_event")]
     + ["UPDATE log_head SET size = 10"], "checkpoint_beyond", 12),
]


@pytest.mark.parametrize(("statements", "code", "at"), [t[1:] for t in TAMPERINGS], ids=[t[0] for t in TAMPERINGS])
def test_tampering_is_found_and_placed(database: Any, statements: list[str], code: str, at: int) -> None:
    fill(database, 8)
    checkpoint(database)
    fill(database, 4, "product_2")
    checkpoint(database)
    with database.reading() as session:
        assert trust.check_database(session).ok
    with database.transaction() as session:
        for statement in statements:
            session.connection().exec_driver_sql(statement)
    with database.reading() as session:
        report = trust.check_database(session)
    assert not report.ok
    assert (code, at) in {(f.code, f.at) for f in report.findings}
    if code not in ("checkpoint_beyond", "node_extra"):
        assert (report.findings[0].code, report.findings[0].at) == (code, at)
    assert report.findings[0].text("zh") in report.statement("zh")


def rewrite_history(database: Any, index: int) -> None:
    """What an administrator of the database could do: change an event and recompute every hash."""
    with database.transaction() as session:
        events = trust.events_for(session, limit=500)
        frontier = merkle.Frontier()
        for event in events:
            if event.index == index:
                event.leaf = event.leaf.replace('"n":2', '"n":9')
                event.leaf_hash = merkle.leaf_hash(event.leaf.encode()).hex()
                session.add(event)
            for (level, position), value in frontier.append(merkle.leaf_hash(event.leaf.encode())):
                session.execute(text("UPDATE merkle_node SET hash = :h WHERE level = :l AND \"index\" = :i"),
                                {"h": value.hex(), "l": level, "i": position})


def test_a_rewritten_history_is_betrayed_by_the_signed_checkpoints(database: Any) -> None:
    fill(database, 8)
    checkpoint(database)
    rewrite_history(database, 2)
    with database.reading() as session:
        report = trust.check_database(session)
    assert [(f.code, f.at) for f in report.findings] == [("checkpoint_root", 8)]
    fill(database, 1)
    with pytest.raises(ProblemError, match="log_tampered"):
        checkpoint(database)


def test_a_rewritten_history_signed_anew_with_the_logs_key_is_betrayed_by_what_others_kept(database: Any) -> None:
    fill(database, 8)
    kept = checkpoint(database)
    assert kept is not None
    rewrite_history(database, 2)
    with database.transaction() as session:
        session.execute(text("DELETE FROM checkpoint"))
    fill(database, 3)
    checkpoint(database)
    with database.reading() as session:
        assert trust.check_database(session).ok  # from inside, nothing shows
        bundle = trust.bundle(session, "product_1")
        proof = [base64.b64encode(p).decode() for p in trust.consistency_proof(session, 8, 11)]
    forged = bundle | {"from_checkpoint": kept.note, "consistency": proof}
    with pytest.raises(ProblemError, match="consistency_invalid"):
        verify_bundle(forged, key=trust.log_vkey(), since=kept.note)


def test_the_logs_key_is_made_once(sqlite_database: Any) -> None:
    config = sqlite_database.settings
    before = (config.keys_dir / "log.key").read_bytes()
    trust.ensure_log_key(config)
    assert (config.keys_dir / "log.key").read_bytes() == before
    assert (config.keys_dir / "log.key").stat().st_mode & 0o777 == 0o600
    assert (config.keys_dir / "log.vkey").read_text().strip() == trust.log_vkey(config)
