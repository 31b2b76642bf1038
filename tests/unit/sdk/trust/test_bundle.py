"""Offline verification: what a bundle proves, and every way in which it does not."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
import rfc8785

from shuyan.problems import ProblemError
from shuyan.trust import cards, keys, merkle, notes
from shuyan.trust.bundle import trusted_nodes, verify_bundle

KEY = keys.generate_signing_key()
NODES = {f"node_{n}": keys.generate_signing_key() for n in range(3)}
ORIGIN = "shuyan.sz/log"
LOG = notes.log_verifier(ORIGIN, KEY.public_key())


def leaf(number: int, subject: str = "product_1", related: tuple[str, ...] = ()) -> str:
    return rfc8785.dumps({"at": "2026-11-20T00:00:00.000000Z", "tag": "products:product:listed",
                          "actor": {"party": "operator", "id": "mem_1"}, "subject": subject, "related": list(related),
                          "data": {"n": number}}).decode()


LEAVES = [leaf(0), leaf(1, "order_1", ("product_1",)), *(leaf(n, "other") for n in range(2, 9)), leaf(9)]
HASHES = [merkle.leaf_hash(text.encode()) for text in LEAVES]
TABLE: dict[merkle.Position, bytes] = {}


def read(positions: Any) -> list[bytes]:
    return [TABLE[position] for position in positions]


for _index, _hash in enumerate(HASHES):
    TABLE.update(merkle.completed_hashes(_index, _hash, read))


def checkpoint(size: int, hashes: list[bytes] = HASHES) -> str:
    return notes.sign_checkpoint(notes.Checkpoint(ORIGIN, size, merkle.root_of(hashes[:size])), KEY)


def encoded(proof: list[bytes]) -> list[str]:
    return [base64.b64encode(part).decode() for part in proof]


EARLIER, LATEST = checkpoint(4), checkpoint(10)


def bundle(**changes: Any) -> dict[str, Any]:
    lines = [notes.cosign(LATEST, notes.node_key_name(name), key, time=1_700_000_000) for name, key in NODES.items()]
    return copy.deepcopy({
        "v": 1, "origin": ORIGIN, "subject": "product_1", "key": str(LOG),
        "checkpoint": notes.with_cosignatures(LATEST, lines),
        "events": [{"index": n, "leaf": LEAVES[n], "proof": encoded(merkle.inclusion_proof(n, 10, read))} for n in (0, 1, 9)],
        "from_checkpoint": EARLIER, "consistency": encoded(merkle.consistency_proof(4, 10, read)),
        "node_keys": [{"node_id": name, "name": f"部门{name}", "vkey": str(notes.node_verifier(name, key.public_key()))}
                      for name, key in NODES.items()],
    } | changes)


def test_what_is_proven_is_said_in_one_line() -> None:
    pinned = {name: str(notes.node_verifier(name, key.public_key())) for name, key in NODES.items()}
    verified = verify_bundle(bundle(), key=str(LOG), since=EARLIER, node_keys=pinned)
    assert verified.statement("en") == (
        f"Proven: 3 events of product_1 are in the log {ORIGIN} (size 10, cosigned by 3 departments); "
        "its first 4 are those of the checkpoint you kept, nothing rewritten.")
    assert verified.statement("zh") == (
        f"已证实：product_1 的 3 条事件均在存证日志 {ORIGIN} 中（共 10 条，3 个部门联署）；"
        "日志前 4 条与您保存的较早检查点一致，未被改写。")
    assert [event["index"] for event in verified.events] == [0, 1, 9]
    assert {c.name for c in verified.cosigners} == {f"部门{name}" for name in NODES}


def test_what_rests_on_the_bundles_own_word_is_said_too() -> None:
    verified = verify_bundle(json.dumps(bundle()))
    mark = keys.fingerprint(KEY.public_key())
    assert verified.statement("en").endswith(
        "its first 4 are those of an earlier checkpoint in the bundle, nothing rewritten. The log key (fingerprint "
        f"{mark}) and departments' keys came with the bundle: compare with another source.")
    assert verified.statement("zh").endswith(
        f"与存证包所附的较早检查点一致，未被改写。日志公钥（指纹 {mark}）和部门公钥取自存证包，请另行核对。")
    alone = verify_bundle(bundle(from_checkpoint=None, consistency=[], node_keys=[]), key=str(LOG))
    assert alone.statement("en").endswith("(size 10, cosigned by 0 departments).")


def test_departments_keys_are_read_from_cards_or_lines() -> None:
    vkeys = {name: str(notes.node_verifier(name, key.public_key())) for name, key in NODES.items()}
    lines = "# from the authority\n\n" + "\n".join(vkeys.values()) + "\n"
    made = [cards.sign_card(node_id=name, name=name, organisation="部门", signing_key=key,
                            agreement_key=keys.b64url(bytes(32))).model_dump() for name, key in NODES.items()]
    assert trusted_nodes(lines) == trusted_nodes(json.dumps(made)) == vkeys
    assert trusted_nodes(json.dumps(made[1])) == {"node_1": vkeys["node_1"]}
    verified = verify_bundle(bundle(), key=str(LOG), since=EARLIER, node_keys=trusted_nodes(lines))
    assert (verified.node_keys_pinned, len(verified.cosigners)) == (True, 3)


@pytest.mark.parametrize("text", ["", "# nothing", "rubbish", "[", "{}", "[" * 100_000, "[1]", str(LOG)],
                         ids=["empty", "a comment", "rubbish", "a bracket", "an object", "brackets", "a number", "the log's key"])
def test_what_is_no_departments_key(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        trusted_nodes(text)
    assert caught.value.code in ("trusted_nodes_invalid", "card_invalid")


def changed_event(**changes: Any) -> dict[str, Any]:
    made = bundle()
    made["events"][1] |= changes
    return made


REWRITTEN = [*HASHES[:2], merkle.leaf_hash(b"other"), *HASHES[3:]]


@pytest.mark.parametrize(("made", "code"), [
    (changed_event(leaf=LEAVES[1].replace('"n":1', '"n":2')), "inclusion_invalid"),
    (changed_event(index=2), "inclusion_invalid"),
    (changed_event(index=10), "inclusion_invalid"),
    (changed_event(proof=[]), "inclusion_invalid"),
    (changed_event(proof=["AAAA"]), "bundle_invalid"),
    (changed_event(proof=["!"]), "bundle_invalid"),
    (changed_event(index=True), "bundle_invalid"),
    (changed_event(**bundle()["events"][0]), "bundle_invalid"),
    (changed_event(index=5, leaf=LEAVES[5], proof=encoded(merkle.inclusion_proof(5, 10, read))), "event_of_another_subject"),
    (bundle(checkpoint=LATEST.replace("\n10\n", "\n11\n")), "checkpoint_signature_invalid"),
    (bundle(checkpoint="rubbish"), "note_invalid"),
    (bundle(origin="shuyan.gz/log"), "checkpoint_signature_invalid"),
    (bundle(key="rubbish"), "bundle_invalid"),
    (bundle(consistency=[]), "consistency_invalid"),
    (bundle(from_checkpoint=checkpoint(4, REWRITTEN)), "consistency_invalid"),
    (bundle(from_checkpoint="rubbish"), "note_invalid"),
    (bundle(events=[]), "bundle_invalid"), (bundle(v=2), "bundle_invalid"), (bundle(extra=1), "bundle_invalid"),
])
def test_what_proves_nothing(made: dict[str, Any], code: str) -> None:
    with pytest.raises(ProblemError) as caught:
        verify_bundle(made)
    assert caught.value.code == code


@pytest.mark.parametrize(("made", "where"), [
    (changed_event(proof=["!"]), "events.1.proof.0"), (changed_event(index=True), "events.1.index"),
    (bundle(consistency=["AAAA"]), "consistency.0"), (bundle(key="rubbish"), "key"), ("{", "JSON"),
    (bundle(node_keys=[{"node_id": "node_1", "name": "部门", "vkey": "rubbish"}]), "node_keys: node_1"),
    ({name: value for name, value in bundle().items() if name != "node_keys"}, "node_keys"),
])
def test_a_malformed_bundle_says_where(made: Any, where: str) -> None:
    with pytest.raises(ProblemError) as caught:
        verify_bundle(made)
    assert (caught.value.code, caught.value.args_) == ("bundle_invalid", {"where": where})
    assert where in caught.value.text("zh")


def test_another_logs_key_opens_nothing() -> None:
    other = notes.log_verifier(ORIGIN, keys.generate_signing_key().public_key())
    with pytest.raises(ProblemError, match="checkpoint_signature_invalid"):
        verify_bundle(bundle(), key=str(other))


def test_it_must_be_about_what_was_asked() -> None:
    with pytest.raises(ProblemError, match="event_of_another_subject"):
        verify_bundle(bundle(), subject="product_2")


def test_a_kept_checkpoint_must_be_continued() -> None:
    with pytest.raises(ProblemError, match="consistency_invalid"):
        verify_bundle(bundle(), since=checkpoint(4, REWRITTEN))
    with pytest.raises(ProblemError, match="consistency_invalid"):
        verify_bundle(bundle(), since=checkpoint(10, REWRITTEN))
    assert verify_bundle(bundle(from_checkpoint=None, consistency=[]), since=LATEST).earlier_size == 10
    with pytest.raises(ProblemError, match="earlier_checkpoint_unproven"):
        verify_bundle(bundle(), since=checkpoint(5))


def test_only_pinned_departments_count_once_each() -> None:
    one = {"node_1": str(notes.node_verifier("node_1", NODES["node_1"].public_key()))}
    assert [c.node_id for c in verify_bundle(bundle(), node_keys=one).cosigners] == ["node_1"]
    sybil = notes.cosign(LATEST, notes.node_key_name("node_9"), NODES["node_1"], time=5)
    made = bundle()
    made["checkpoint"] += sybil
    made["node_keys"].append({"node_id": "node_9", "name": "同一个", "vkey": str(
        notes.node_verifier("node_9", NODES["node_1"].public_key()))})
    assert len(verify_bundle(made).cosigners) == 3


def test_a_damaged_cosignature_is_an_error_and_not_one_less() -> None:
    made = bundle()
    line = notes.cosign(EARLIER, notes.node_key_name("node_1"), NODES["node_1"], time=5)
    made["checkpoint"] = notes.with_cosignatures(LATEST, [line])
    with pytest.raises(ProblemError, match="cosignature_invalid"):
        verify_bundle(made)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "NaN", '{"v":1}'])
def test_rubbish_is_no_bundle(text: str) -> None:
    with pytest.raises(ProblemError, match="bundle_invalid"):
        verify_bundle(text)
