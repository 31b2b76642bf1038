"""Signed notes, checkpoints and cosignatures: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature.

A note is text ending in a newline, an empty line, and signature lines ``— <key name> <base64(key id || signature)>``.
A checkpoint's text is origin, size, base64 root, and optional extension lines. The log signs with key type 0x01, a
cosigning node with 0x04 over the checkpoint and the time at which it saw it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shuyan.problems import ProblemError
from shuyan.trust.errors import CHECKPOINT_SIGNATURE_INVALID, COSIGNATURE_INVALID, KEY_INVALID, NOTE_INVALID
from shuyan.trust.keys import raw, verifies

ED25519 = 0x01
COSIGNATURE_V1 = 0x04

MAX_NOTE = 256 * 1024  # characters; a checkpoint cosigned by the 1,000 nodes of a province is below 200 KiB
MAX_SIGNATURES = 2_000

_DASH = "— "  # U+2014, space
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Verifier:
    """A named public key: what signed-note calls a verifier key (vkey)."""

    name: str
    type: int
    key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.type, raw(self.key))

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.type]) + raw(self.key)).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{material}"


@dataclass(frozen=True)
class NoteSignature:
    """One signature line. ``blob`` is what follows the key id: a signature, with the time before it if type 0x04."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode('ascii')}\n"


@dataclass(frozen=True)
class Note:
    """A parsed note. ``text`` ends in a newline and is what signatures cover."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line for signature in self.signatures)

    def signature_of(self, verifier: Verifier) -> NoteSignature | None:
        """The first signature that claims to be by ``verifier``; not yet verified."""
        wanted = (verifier.name, verifier.key_id)
        return next((s for s in self.signatures if (s.name, s.key_id) == wanted), None)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: ``size`` leaves with this Merkle ``root`` (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode("ascii"), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


def key_id(name: str, type_: int, public: bytes) -> bytes:
    """The first four bytes of SHA-256(name || 0x0A || type || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([type_]) + public).digest()[:4]


def is_name(name: str) -> bool:
    """Whether ``name`` may name a key: not empty, no white space, no plus sign, no control character."""
    return bool(name) and name.isprintable() and not any(c.isspace() or c == "+" for c in name)


def node_key_name(node_id: str) -> str:
    """The key name under which a department's node cosigns."""
    return f"shuyan/{node_id}"


def log_verifier(origin: str, key: Ed25519PublicKey) -> Verifier:
    """The verifier of a log's own signature; the key's name is the origin."""
    return Verifier(origin, ED25519, key)


def node_verifier(node_id: str, key: Ed25519PublicKey) -> Verifier:
    """The verifier of a node's cosignatures."""
    return Verifier(node_key_name(node_id), COSIGNATURE_V1, key)


def parse_verifier(vkey: str) -> Verifier:
    """The verifier behind ``<name>+<hex key id>+<base64(type || public key)>``.

    Raises:
        ProblemError: ``key_invalid``.
    """
    try:
        name, identifier, material = vkey.split("+", 2)
        data = _strict_base64(material)
        verifier = Verifier(name, data[0], Ed25519PublicKey.from_public_bytes(data[1:]))
        if not is_name(name) or data[0] not in (ED25519, COSIGNATURE_V1) or identifier != verifier.key_id.hex():
            raise ValueError("vkey")
    except (ValueError, IndexError) as error:
        raise ProblemError(KEY_INVALID, name="vkey") from error
    return verifier


def _strict_base64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise binascii.Error("not canonical base64")
    return data


def _parse_line(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    data = _strict_base64(encoded)
    if not line.startswith(_DASH) or not separator or not is_name(name) or len(data) < 5:
        raise ValueError("signature line")
    return NoteSignature(name, data[:4], data[4:])


def parse_note(note: str) -> Note:
    """Take a signed note apart, verifying nothing yet.

    Raises:
        ProblemError: ``note_invalid``.
    """
    try:
        head, separator, tail = note.rpartition("\n\n")
        if len(note) > MAX_NOTE or not separator or not tail.endswith("\n"):
            raise ValueError("note")
        text = head + "\n"
        if not head or any((c < " " or c == "\x7f") and c != "\n" for c in note):
            raise ValueError("control character")
        text.encode("utf-8")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise ValueError("signatures")
        return Note(text, tuple(_parse_line(line) for line in lines))
    except ValueError as error:
        raise ProblemError(NOTE_INVALID) from error


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in the text of a note.

    Raises:
        ProblemError: ``note_invalid``.
    """
    try:
        if not text.endswith("\n"):
            raise ValueError("no newline at the end")
        origin, size, root, *extensions = text[:-1].split("\n")
        if not origin or not _NUMBER.fullmatch(size) or not all(extensions):
            raise ValueError("checkpoint")
        decoded = _strict_base64(root)
        if len(decoded) != 32:
            raise ValueError("root")
    except ValueError as error:
        raise ProblemError(NOTE_INVALID) from error
    return Checkpoint(origin, int(size), decoded, tuple(extensions))


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """The note of ``text`` (which ends in a newline) with one Ed25519 signature."""
    if not text.endswith("\n") or not is_name(name):
        raise ValueError("a note's text ends in a newline, and key names hold no space or plus sign")
    signature = NoteSignature(name, key_id(name, ED25519, raw(key.public_key())), key.sign(text.encode()))
    return str(Note(text, (signature,)))


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The log's signed note of ``checkpoint``; the key's name is the origin."""
    return sign_note(checkpoint.text, checkpoint.origin, key)


def verify_note(note: Note, verifier: Verifier) -> None:
    """Check that ``verifier`` (type 0x01) signed the note.

    Raises:
        ProblemError: ``checkpoint_signature_invalid``.
    """
    signature = note.signature_of(verifier)
    if verifier.type != ED25519 or signature is None or not verifies(verifier.key, signature.blob, note.text.encode()):
        raise ProblemError(CHECKPOINT_SIGNATURE_INVALID, key=verifier.name)


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """The checkpoint in ``note``, if the log's ``verifier`` signed it and it is of that log.

    Raises:
        ProblemError: ``note_invalid`` or ``checkpoint_signature_invalid``.
    """
    parsed = parse_note(note)
    verify_note(parsed, verifier)
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != verifier.name:
        raise ProblemError(CHECKPOINT_SIGNATURE_INVALID, key=verifier.name)
    return checkpoint


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def cosign(note: str, name: str, key: Ed25519PrivateKey, *, time: int) -> str:
    """The cosignature line (with its newline) for a checkpoint note; ``time`` in Unix seconds.

    Whoever calls this says that the checkpoint continues every one it cosigned before: check consistency first.

    Raises:
        ProblemError: ``note_invalid``.
    """
    text = parse_note(note).text
    parse_checkpoint(text)
    blob = time.to_bytes(8, "big") + key.sign(_cosigned(text, time))
    return NoteSignature(name, key_id(name, COSIGNATURE_V1, raw(key.public_key())), blob).line


def verify_cosignature(note: str, line: str, verifier: Verifier) -> int:
    """Check one cosignature line on a checkpoint note; the Unix time at which the cosigner saw it.

    Raises:
        ProblemError: ``note_invalid`` or ``cosignature_invalid``.
    """
    text = parse_note(note).text
    bad = ProblemError(COSIGNATURE_INVALID, key=verifier.name)
    try:
        signature = _parse_line(line.removesuffix("\n"))
    except ValueError as error:
        raise bad from error
    blob = signature.blob
    if verifier.type != COSIGNATURE_V1 or (signature.name, signature.key_id) != (verifier.name, verifier.key_id):
        raise bad
    time = int.from_bytes(blob[:8], "big")
    if len(blob) != 72 or time >= 1 << 63 or not verifies(verifier.key, blob[8:], _cosigned(text, time)):
        raise bad
    return time


def with_cosignatures(note: str, lines: list[str]) -> str:
    """The note with further signature lines at its end."""
    return note + "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
