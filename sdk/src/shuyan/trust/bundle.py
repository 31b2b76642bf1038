"""Offline verification of an audit bundle: what the log proves about one product, order, grant or job.

The bundle is untrusted input. Trust comes from what the reader brings: the log's key (``key``), a checkpoint kept
from earlier (``since``), the departments' keys (``node_keys``). What was not brought is taken from the bundle, and
the statement says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.problems import Language, ProblemError
from shuyan.trust import merkle, notes
from shuyan.trust.cards import verify_card
from shuyan.trust.errors import (
    BUNDLE_INVALID,
    CHECKPOINT_SIGNATURE_INVALID,
    EARLIER_CHECKPOINT_UNPROVEN,
    EVENT_OF_ANOTHER_SUBJECT,
    TRUSTED_NODES_INVALID,
)
from shuyan.trust.keys import fingerprint, signing_key_from

MAX_BYTES = 64 * 1024 * 1024


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class BundleEvent(_Model):
    index: int = Field(ge=0)
    leaf: str
    proof: tuple[str, ...] = Field(max_length=64)


class NodeKey(_Model):
    node_id: str
    name: str
    vkey: str


class Bundle(_Model):
    """The bundle as it travels. Hashes are base64; ``proof`` and ``consistency`` run from leaf to root."""

    v: Literal[1]
    origin: str
    subject: str
    key: str
    checkpoint: str
    events: tuple[BundleEvent, ...] = Field(min_length=1)
    from_checkpoint: str | None
    consistency: tuple[str, ...] = Field(max_length=128)
    node_keys: tuple[NodeKey, ...]


@dataclass(frozen=True)
class Cosigner:
    """A department whose node cosigned the checkpoint, at ``time`` (Unix seconds)."""

    node_id: str
    name: str
    time: int


@dataclass(frozen=True)
class Verified:
    """What was proven, and by whose keys."""

    subject: str
    origin: str
    size: int
    root: str  # base64
    events: tuple[dict[str, Any], ...]  # the leaves, parsed, each with its "index"
    key: str  # the log's vkey
    key_fingerprint: str
    key_pinned: bool
    cosigners: tuple[Cosigner, ...]
    node_keys_pinned: bool
    earlier_size: int | None
    earlier_pinned: bool

    def statement(self, language: Language = "zh") -> str:
        """One line saying exactly what is proven, and whose word the rest rests on."""
        return _zh(self) if language == "zh" else _en(self)


def _zh(v: Verified) -> str:
    line = (f"已证实：{v.subject} 的 {len(v.events)} 条事件均在存证日志 {v.origin} 中"
            f"（共 {v.size} 条，{len(v.cosigners)} 个部门联署）")
    if v.earlier_size is not None:
        whose = "您保存的" if v.earlier_pinned else "存证包所附的"
        line += f"；日志前 {v.earlier_size} 条与{whose}较早检查点一致，未被改写"
    believed = "和".join(([] if v.key_pinned else [f"日志公钥（指纹 {v.key_fingerprint}）"])
                        + (["部门公钥"] if _nodes_believed(v) else []))
    return f"{line}。" + (f"{believed}取自存证包，请另行核对。" if believed else "")


def _en(v: Verified) -> str:
    one, few = len(v.events) == 1, len(v.cosigners) == 1
    line = (f"Proven: {len(v.events)} event{'' if one else 's'} of {v.subject} {'is' if one else 'are'} in the log "
            f"{v.origin} (size {v.size}, cosigned by {len(v.cosigners)} department{'' if few else 's'})")
    if v.earlier_size is not None:
        whose = "the checkpoint you kept" if v.earlier_pinned else "an earlier checkpoint in the bundle"
        line += f"; its first {v.earlier_size} are those of {whose}, nothing rewritten"
    believed = " and ".join(([] if v.key_pinned else [f"log key (fingerprint {v.key_fingerprint})"])
                            + (["departments' keys"] if _nodes_believed(v) else []))
    return f"{line}." + (f" The {believed} came with the bundle: compare with another source." if believed else "")


def _nodes_believed(v: Verified) -> bool:
    return bool(v.cosigners) and not v.node_keys_pinned


def trusted_nodes(text: str) -> dict[str, str]:
    """Departments' keys had from elsewhere, as ``verify_bundle`` takes them: node id → vkey.

    Args:
        text: a node card as JSON, a JSON list of cards, or one cosigner vkey a line (empty lines and ``#`` skipped).

    Raises:
        ProblemError: ``trusted_nodes_invalid`` or ``card_invalid``.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProblemError(TRUSTED_NODES_INVALID) from error
        found = [verify_card(json.dumps(item)) for item in (value if isinstance(value, list) else [value])]
        return {card.node_id: str(notes.node_verifier(card.node_id, signing_key_from(card.signing_key))) for card in found}
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        verifiers = [notes.parse_verifier(line) for line in lines]
    except ProblemError as error:
        raise ProblemError(TRUSTED_NODES_INVALID) from error
    if not verifiers or any(one.type != notes.COSIGNATURE_V1 for one in verifiers):
        raise ProblemError(TRUSTED_NODES_INVALID)
    return {one.name.removeprefix(notes.node_key_name("")): str(one) for one in verifiers}


def parse_bundle(data: str | bytes | Mapping[str, Any]) -> Bundle:
    """The bundle in JSON text or a parsed object.

    Raises:
        ProblemError: ``bundle_invalid``.
    """
    try:
        text = json.dumps(data) if isinstance(data, Mapping) else data
        if len(text) > MAX_BYTES:
            raise ValueError("too large")
        return Bundle.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
        raise ProblemError(BUNDLE_INVALID, where=where or "JSON") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ProblemError(BUNDLE_INVALID, where="JSON") from error


def _hashes(proof: tuple[str, ...], where: str) -> list[bytes]:
    values = []
    for number, text in enumerate(proof):
        try:
            values.append(base64.b64decode(text, validate=True))
        except ValueError as error:
            raise ProblemError(BUNDLE_INVALID, where=f"{where}.{number}") from error
        if len(values[-1]) != 32:
            raise ProblemError(BUNDLE_INVALID, where=f"{where}.{number}")
    return values


def _event(number: int, event: BundleEvent, subject: str, checkpoint: notes.Checkpoint) -> dict[str, Any]:
    merkle.verify_inclusion(event.index, checkpoint.size, merkle.leaf_hash(event.leaf.encode()),
                            _hashes(event.proof, f"events.{number}.proof"), checkpoint.root)
    try:
        leaf = json.loads(event.leaf)
        about = {leaf["subject"], *leaf["related"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProblemError(BUNDLE_INVALID, where=f"events.{number}.leaf") from error
    if subject not in about:
        raise ProblemError(EVENT_OF_ANOTHER_SUBJECT, index=event.index, subject=subject)
    return {"index": event.index, **leaf}


def verify_bundle(data: str | bytes | Mapping[str, Any], *, subject: str | None = None, key: str | None = None,
                  since: str | None = None, node_keys: Mapping[str, str] | None = None) -> Verified:
    """Verify a bundle without any connection.

    Args:
        subject: the id it must be about; by default what the bundle says.
        key: the log's vkey, had from elsewhere than the bundle.
        since: a checkpoint note kept from earlier, with which the log must be consistent.
        node_keys: node id → vkey (type 0x04), had from elsewhere; only these cosigners count then.

    Raises:
        ProblemError: ``bundle_invalid``, ``checkpoint_signature_invalid``, ``inclusion_invalid``,
            ``consistency_invalid``, ``cosignature_invalid``, ``event_of_another_subject``,
            ``earlier_checkpoint_unproven``, ``note_invalid`` or ``key_invalid``.
    """
    bundle = parse_bundle(data)
    log = notes.parse_verifier(key) if key else _key_of(bundle.key, "key")
    checkpoint = notes.open_checkpoint(bundle.checkpoint, log)
    if bundle.origin != checkpoint.origin:
        raise ProblemError(CHECKPOINT_SIGNATURE_INVALID, key=bundle.origin)
    subject = subject or bundle.subject
    events = [_event(number, event, subject, checkpoint) for number, event in enumerate(bundle.events)]
    if len({event["index"] for event in events}) != len(events):
        raise ProblemError(BUNDLE_INVALID, where="events.index")
    earlier = _consistent(bundle, checkpoint, log, since)
    return Verified(
        subject=subject, origin=checkpoint.origin, size=checkpoint.size,
        root=base64.b64encode(checkpoint.root).decode("ascii"), events=tuple(events), key=str(log),
        key_fingerprint=fingerprint(log.key), key_pinned=key is not None,
        cosigners=_cosigners(bundle, node_keys), node_keys_pinned=node_keys is not None,
        earlier_size=earlier, earlier_pinned=since is not None)


def _key_of(vkey: str, where: str) -> notes.Verifier:
    try:
        return notes.parse_verifier(vkey)
    except ProblemError as error:
        raise ProblemError(BUNDLE_INVALID, where=where) from error


def _consistent(bundle: Bundle, checkpoint: notes.Checkpoint, log: notes.Verifier, since: str | None) -> int | None:
    kept = notes.open_checkpoint(since, log) if since is not None else None
    offered = notes.open_checkpoint(bundle.from_checkpoint, log) if bundle.from_checkpoint is not None else None
    if kept is not None and kept.size == checkpoint.size:
        merkle.verify_consistency(kept.size, checkpoint.size, [], kept.root, checkpoint.root)
        return kept.size
    if kept is not None and (offered is None or offered.size != kept.size):
        raise ProblemError(EARLIER_CHECKPOINT_UNPROVEN, size=kept.size)
    earlier = kept or offered
    if earlier is None:
        return None
    merkle.verify_consistency(earlier.size, checkpoint.size, _hashes(bundle.consistency, "consistency"),
                              earlier.root, checkpoint.root)
    return earlier.size


def _cosigners(bundle: Bundle, pinned: Mapping[str, str] | None) -> tuple[Cosigner, ...]:
    """Those whose cosignature verifies; one that names a known key and does not verify is an error."""
    known = {node.node_id: (node.name, node.vkey) for node in bundle.node_keys}
    if pinned is not None:
        known = {node_id: (known.get(node_id, (node_id, ""))[0], vkey) for node_id, vkey in pinned.items()}
    note = notes.parse_note(bundle.checkpoint)
    found, seen = [], set()
    for node_id, (name, vkey) in sorted(known.items()):
        verifier = _key_of(vkey, f"node_keys: {node_id}")
        signature = note.signature_of(verifier)
        # One key under two names is one cosigner: the signed message does not hold the name.
        if signature is None or fingerprint(verifier.key) in seen:
            continue
        time = notes.verify_cosignature(bundle.checkpoint, signature.line, verifier)
        seen.add(fingerprint(verifier.key))
        found.append(Cosigner(node_id, name, time))
    return tuple(found)
