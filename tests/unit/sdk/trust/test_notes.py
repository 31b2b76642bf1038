"""Signed notes, checkpoints and cosignatures in the bytes that the Go tools read and write."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shuyan.problems import ProblemError
from shuyan.trust import keys, notes

# golang.org/x/mod/sumdb/note, note_test.go
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = TEXT + ("\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")

# c2sp.org/tlog-cosignature, the example of the specification
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n")

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STATE = notes.Checkpoint("shuyan.sz/log", 7, bytes(32))
SIGNED = notes.sign_checkpoint(STATE, KEY)
LOG = notes.log_verifier("shuyan.sz/log", KEY.public_key())


def test_gos_published_note_is_read_verified_and_reproduced() -> None:
    verifier = notes.parse_verifier(VKEY)
    note = notes.parse_note(NOTE)
    notes.verify_note(note, verifier)
    assert str(verifier) == VKEY
    assert (note.text, str(note)) == (TEXT, NOTE)
    assert notes.sign_note(TEXT, "PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED)) == NOTE


def test_the_specifications_cosigned_checkpoint_is_read() -> None:
    note = notes.parse_note(COSIGNED)
    checkpoint = notes.parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size, checkpoint.text) == ("example.com/behind-the-sofa", 20852163, note.text)
    witness = note.signatures[1]
    assert (witness.name, int.from_bytes(witness.blob[:8], "big"), len(witness.blob)) == (
        "witness.example.com/w1", 1679315147, 72)
    assert str(note) == COSIGNED


def test_a_cosignature_covers_time_and_checkpoint_as_specified() -> None:
    line = notes.cosign(SIGNED, "shuyan/node_1", KEY, time=1679315147)
    data = base64.b64decode(line.split(" ")[2])
    message = f"cosignature/v1\ntime 1679315147\n{STATE.text}".encode()
    KEY.public_key().verify(data[12:], message)
    assert data[4:12] == (1679315147).to_bytes(8, "big")
    verifier = notes.node_verifier("node_1", KEY.public_key())
    assert data[:4] == verifier.key_id != notes.Verifier(verifier.name, notes.ED25519, KEY.public_key()).key_id
    assert notes.verify_cosignature(SIGNED, line, verifier) == 1679315147
    assert notes.verify_cosignature(notes.with_cosignatures(SIGNED, [line]), line, verifier) == 1679315147


def test_a_cosignature_of_anything_else_is_refused() -> None:
    line = notes.cosign(SIGNED, "shuyan/node_1", KEY, time=5)
    verifier = notes.node_verifier("node_1", KEY.public_key())
    other = notes.sign_checkpoint(notes.Checkpoint("shuyan.sz/log", 8, bytes(32)), KEY)
    stranger = notes.node_verifier("node_1", keys.generate_signing_key().public_key())
    data = bytearray(base64.b64decode(line.split(" ")[2]))
    data[11] ^= 1  # another time
    retimed = f"— shuyan/node_1 {base64.b64encode(data).decode()}\n"
    for note, given_line, by in ((other, line, verifier), (SIGNED, line, stranger), (SIGNED, retimed, verifier),
                                 (SIGNED, line, notes.node_verifier("node_2", KEY.public_key())), (SIGNED, "", verifier),
                                 (SIGNED, SIGNED.split("\n\n")[1], verifier), (SIGNED, line, LOG)):
        with pytest.raises(ProblemError, match="cosignature_invalid"):
            notes.verify_cosignature(note, given_line, by)


def test_a_checkpoint_opens_only_under_its_logs_key_and_name() -> None:
    assert notes.open_checkpoint(SIGNED, LOG) == STATE
    for verifier in (notes.log_verifier("shuyan.gz/log", KEY.public_key()),
                     notes.log_verifier("shuyan.sz/log", keys.generate_signing_key().public_key()),
                     notes.Verifier("shuyan.sz/log", notes.COSIGNATURE_V1, KEY.public_key())):
        with pytest.raises(ProblemError, match="checkpoint_signature_invalid"):
            notes.open_checkpoint(SIGNED, verifier)
    borrowed = notes.sign_note(STATE.text.replace("sz", "gz"), "shuyan.sz/log", KEY)
    with pytest.raises(ProblemError, match="checkpoint_signature_invalid"):
        notes.open_checkpoint(borrowed, LOG)
    with pytest.raises(ProblemError, match="checkpoint_signature_invalid"):
        notes.open_checkpoint(SIGNED.replace("\n7\n", "\n8\n"), LOG)


def test_a_signature_is_found_among_those_of_others() -> None:
    line = notes.cosign(SIGNED, "shuyan/node_1", keys.generate_signing_key(), time=5)
    head, _, tail = SIGNED.partition("\n\n")
    assert notes.open_checkpoint(f"{head}\n\n{line}{tail}", LOG) == STATE


@pytest.mark.parametrize("note", [
    "", "\n", "text\n", "text\n\n", NOTE[:-1], NOTE.replace("—", "-"), NOTE.replace("PeterNeumann x", "Peter Neumann x"),
    NOTE + "\n", NOTE.replace("x08g", "x08"), NOTE.replace("\n\n", "\n"), "a\x00b\n\n" + NOTE.split("\n\n")[1],
    "text\n\n— a AAAA\n", "text\n\n— a+b AAAAAAAA\n", NOTE.replace("AM=", "AN="), "x" * 300_000 + NOTE,
])
def test_what_is_no_note(note: str) -> None:
    with pytest.raises(ProblemError, match="note_invalid"):
        notes.parse_note(note)


@pytest.mark.parametrize("text", [
    "", "origin\n", "origin\n7\n", "\n7\nAAAA\n", f"o\n07\n{'A' * 43}=\n", f"o\n-1\n{'A' * 43}=\n", f"o\n７\n{'A' * 43}=\n",
    "o\n7\nAAAA\n", f"o\n7\n{'A' * 43}=", f"o\n7\n{'A' * 43}=\n\n", f"o\n{'9' * 30}\n{'A' * 43}=\n",
])
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ProblemError, match="note_invalid"):
        notes.parse_checkpoint(text)


def test_extension_lines_are_kept_and_signed() -> None:
    state = notes.Checkpoint("shuyan.sz/log", 7, bytes(32), ("more",))
    assert notes.open_checkpoint(notes.sign_checkpoint(state, KEY), LOG) == state


@pytest.mark.parametrize("start", range(0, len(VKEY), 5))
def test_a_part_of_a_vkey_is_none(start: int) -> None:
    for part in (VKEY[start + 1:], VKEY[:start], VKEY[:start] + "#" + VKEY[start + 1:]):
        with pytest.raises(ProblemError, match="key_invalid"):
            notes.parse_verifier(part)


@given(st.text())
def test_rubbish_is_a_problem_and_never_a_crash(text: str) -> None:
    for parse in (notes.parse_note, notes.parse_checkpoint, notes.parse_verifier):
        try:
            parse(text)
        except ProblemError:
            continue
