"""Use cases of the audit log: appending inside the caller's transaction, checkpoints, proofs, cosignatures, bundles."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from marketplace.actor import Actor
from marketplace.db import utc_now
from marketplace.events import Tag
from marketplace.settings import Settings, settings
from marketplace.trust import rules
from marketplace.trust.check import Finding, Report, check_database
from marketplace.trust.errors import LOG_EMPTY, LOG_TAMPERED, NO_EVENTS
from marketplace.trust.models import AuditEvent, AuditSubject, Checkpoint, Cosignature, LogHead, MerkleNode
from shuyan.problems import ProblemError
from shuyan.trust import keys, merkle, notes

__all__ = [
    "Finding", "Report", "add_cosignature", "append", "bundle", "check_database", "consistency_proof",
    "cosignatures", "cosigned_note", "ensure_log_key", "events_for", "get_checkpoint", "inclusion_proof", "last_event",
    "latest_checkpoint", "leaves",
    "list_checkpoints", "log_origin", "log_size", "log_verifier", "log_vkey", "make_checkpoint", "needs_checkpoint",
]

MAX_PAGE = 500
MAX_BUNDLE_EVENTS = 10_000
_READ_AT_ONCE = 400  # positions a query: two parameters each, below every SQLite's limit
_RECENT_CHECKPOINTS = 30  # within which a bundle looks for the one most departments cosigned


# --- the log's key ---


def ensure_log_key(config: Settings) -> Ed25519PrivateKey:
    """The log's signing key in ``keys/log.key``, made on the first call; ``keys/log.vkey`` is what to publish."""
    path = config.keys_dir / "log.key"
    if not path.exists():
        try:
            keys.save_private_key(path, keys.generate_signing_key())
        except ProblemError as error:  # another process was first
            if error.code != "key_exists":
                raise
    key = _load(path)
    (config.keys_dir / "log.vkey").write_text(f"{notes.log_verifier(log_origin(config), key.public_key())}\n")
    return key


@lru_cache(maxsize=8)
def _load(path: Path) -> Ed25519PrivateKey:
    return keys.load_signing_key(path)


def log_origin(config: Settings | None = None) -> str:
    """The name of this market's log."""
    return rules.origin((config or settings()).city_code)


def log_verifier(config: Settings | None = None) -> notes.Verifier:
    """The log's public key under its name. Raises ``key_invalid`` before ``shuyan-market init``."""
    config = config or settings()
    return notes.log_verifier(log_origin(config), _load(config.keys_dir / "log.key").public_key())


def log_vkey(config: Settings | None = None) -> str:
    """The log's public key as a vkey, for people to pin."""
    return str(log_verifier(config))


# --- appending ---


def append(session: Session, tag: Tag, actor: Actor, subject: str, *, related: Iterable[str] = (),
           data: dict[str, Any] | None = None) -> int:
    """Append one event inside the caller's transaction; its leaf index.

    The event is in the log exactly if that transaction commits. Appending locks the head of the log until then, so do
    it last, after every other row is locked: pending changes are flushed first for the same reason. ``subject`` and
    ``related`` are identifiers; nothing here may name or describe a person.

    Raises:
        ProblemError: ``event_too_large``.
    """
    session.flush()
    index = _next_index(session)
    now = utc_now()
    leaf = rules.leaf(now, tag, actor, subject, related, data)
    leaf_hash = merkle.leaf_hash(leaf.encode())
    session.execute(insert(AuditEvent), [{"index": index, "tag": tag.value, "subject": subject, "leaf": leaf,
                                          "leaf_hash": leaf_hash.hex(), "at": now}])
    session.execute(insert(AuditSubject), [{"subject": name, "index": index} for name in rules.subjects(leaf)])
    session.execute(insert(MerkleNode), [
        {"level": level, "index": position, "hash": value.hex()}
        for (level, position), value in merkle.completed_hashes(index, leaf_hash, _reader(session))])
    return index


def _next_index(session: Session) -> int:
    # One statement takes the row lock and reads what the last committed append left, on both databases.
    step = (update(LogHead).where(col(LogHead.id) == 1).values(size=col(LogHead.size) + 1)
            .returning(col(LogHead.size)).execution_options(synchronize_session=False))
    size = session.execute(step).scalar_one_or_none()
    if size is None:
        _insert_if_absent(session, LogHead, {"id": 1, "size": 0})
        size = session.execute(step).scalar_one()
    return int(size) - 1


def _insert_if_absent(session: Session, model: type[SQLModel], values: dict[str, Any]) -> None:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(model).values(values).on_conflict_do_nothing())


def _reader(session: Session) -> merkle.Reader:
    def read(positions: Sequence[merkle.Position]) -> list[bytes]:
        found = _fetch(session, positions)
        return [found[position] for position in positions]

    return read


def _fetch(session: Session, positions: Sequence[merkle.Position]) -> dict[merkle.Position, bytes]:
    level, index = col(MerkleNode.level), col(MerkleNode.index)
    found: dict[merkle.Position, bytes] = {}
    for start in range(0, len(positions), _READ_AT_ONCE):
        chunk = positions[start:start + _READ_AT_ONCE]
        rows = session.execute(select(level, index, MerkleNode.hash).where(tuple_(level, index).in_(chunk)))
        found.update({(row[0], row[1]): bytes.fromhex(row[2]) for row in rows})
    return found


def _inclusion_proofs(session: Session, indexes: Sequence[int], size: int) -> list[list[bytes]]:
    """The proofs of many events with few reads: their paths share most of their nodes."""
    wanted: set[merkle.Position] = set()

    def remember(positions: Sequence[merkle.Position]) -> list[bytes]:
        wanted.update(positions)
        return [b""] * len(positions)

    for index in indexes:
        merkle.inclusion_proof(index, size, remember)
    found = _fetch(session, sorted(wanted))
    return [merkle.inclusion_proof(index, size, lambda positions: [found[p] for p in positions]) for index in indexes]


# --- reading ---


def log_size(session: Session) -> int:
    """How many events the log holds."""
    return session.exec(select(LogHead.size).where(LogHead.id == 1)).one_or_none() or 0


def events_for(session: Session, subject: str | None = None, after: int = -1, limit: int = 50) -> list[AuditEvent]:
    """Events that speak of ``subject`` (all, if ``None``) with an index above ``after``, oldest first."""
    query = select(AuditEvent).where(col(AuditEvent.index) > after)
    if subject is not None:
        query = query.join(AuditSubject, col(AuditSubject.index) == col(AuditEvent.index))
        query = query.where(AuditSubject.subject == subject)
    return list(session.exec(query.order_by(col(AuditEvent.index)).limit(max(1, min(limit, MAX_PAGE)))))


def leaves(session: Session, subject: str, tag: Tag) -> list[str]:
    """The log's entries of one kind whose own subject this is, oldest first."""
    return list(session.exec(select(AuditEvent.leaf).where(AuditEvent.subject == subject, AuditEvent.tag == tag.value)
                             .order_by(col(AuditEvent.index))))


def last_event(session: Session, subject: str, tag: Tag) -> AuditEvent | None:
    """The newest event of one kind whose own subject this is."""
    return session.exec(select(AuditEvent).where(AuditEvent.subject == subject, AuditEvent.tag == tag.value)
                        .order_by(col(AuditEvent.index).desc()).limit(1)).first()


_LATEST = select(Checkpoint).order_by(col(Checkpoint.size).desc()).limit(1)  # asked four times a second


def latest_checkpoint(session: Session) -> Checkpoint | None:
    """The newest signed state of the log."""
    return session.exec(_LATEST).first()


def get_checkpoint(session: Session, size: int) -> Checkpoint:
    """The checkpoint of exactly ``size``. Raises ``not_found``."""
    found = session.get(Checkpoint, size)
    if found is None:
        raise ProblemError("not_found", what=f"checkpoint {size}")
    return found


def list_checkpoints(session: Session, *, before: int | None = None, limit: int = 50) -> list[Checkpoint]:
    """Checkpoints smaller than ``before``, newest first."""
    query = select(Checkpoint).order_by(col(Checkpoint.size).desc()).limit(max(1, min(limit, MAX_PAGE)))
    return list(session.exec(query if before is None else query.where(col(Checkpoint.size) < before)))


def inclusion_proof(session: Session, index: int, size: int) -> list[bytes]:
    """The audit path of event ``index`` in the log of ``size`` events. Raises ``proof_range``."""
    _within(session, size)
    return merkle.inclusion_proof(index, size, _reader(session))


def consistency_proof(session: Session, first: int, second: int) -> list[bytes]:
    """The proof that the log of ``second`` events continues that of ``first``. Raises ``proof_range``."""
    _within(session, second)
    return merkle.consistency_proof(first, second, _reader(session))


def _within(session: Session, size: int) -> None:
    total = log_size(session)
    if size > total:
        raise ProblemError("proof_range", condition=f"size ≤ {total}")


# --- checkpoints and cosignatures ---


def needs_checkpoint(session: Session) -> bool:
    """Whether the log grew since its last checkpoint: cheap, and needs no write lock."""
    last = latest_checkpoint(session)
    return log_size(session) > (last.size if last else 0)


def make_checkpoint(session: Session) -> Checkpoint | None:
    """Sign the state of the log; ``None`` if nothing was appended since the last checkpoint.

    Raises:
        ProblemError: ``log_tampered`` if the stored tree does not continue the last checkpoint; ``key_invalid``.
    """
    size = log_size(session)
    last = latest_checkpoint(session)
    if size <= (last.size if last else 0):
        return None
    read, verifier = _reader(session), log_verifier()
    if last is not None:
        signed = notes.open_checkpoint(last.note, verifier)
        if signed.size != last.size or merkle.root_at(last.size, read) != signed.root:
            raise ProblemError(LOG_TAMPERED, size=last.size)
    state = notes.Checkpoint(verifier.name, size, merkle.root_at(size, read))
    note = notes.sign_checkpoint(state, _load(settings().keys_dir / "log.key"))
    _insert_if_absent(session, Checkpoint, {"size": size, "root": state.root.hex(), "note": note,
                                            "created_at": utc_now()})
    return session.get_one(Checkpoint, size)


def add_cosignature(session: Session, node_id: str, size: int, line: str) -> None:
    """Keep a node's cosignature of the checkpoint of ``size``; the first of a node stays.

    Raises:
        ProblemError: ``not_found`` (no such checkpoint), ``not_allowed`` (no active node), ``cosignature_invalid``.
    """
    from marketplace.computing.nodes import nodes_by_id  # which itself appends to this log

    checkpoint = get_checkpoint(session, size)
    node = nodes_by_id(session, [node_id]).get(node_id)
    if node is None or node.status != "active":
        raise ProblemError("not_allowed")
    notes.verify_cosignature(checkpoint.note, line, notes.node_verifier(node_id, keys.signing_key_from(node.signing_key)))
    _insert_if_absent(session, Cosignature, {"size": size, "node_id": node_id, "line": line.removesuffix("\n") + "\n",
                                             "created_at": utc_now()})


def cosignatures(session: Session, size: int) -> list[Cosignature]:
    """The cosignatures of the checkpoint of ``size``, by node."""
    return list(session.exec(select(Cosignature).where(Cosignature.size == size).order_by(Cosignature.node_id)))


def cosigned_note(session: Session, checkpoint: Checkpoint) -> str:
    """The checkpoint's note with every cosignature it has gathered: what anyone may fetch and check."""
    return notes.with_cosignatures(checkpoint.note, [row.line for row in cosignatures(session, checkpoint.size)])


# --- bundles ---


def bundle(session: Session, subject: str, *, since: int | None = None) -> dict[str, Any]:
    """Everything an offline verifier needs about ``subject``; see ``shuyan.trust.bundle`` for the format.

    Of a subject with more than 10,000 events (the operator itself, say) the first 10,000.

    Args:
        since: size of the checkpoint the reader kept, from which consistency is to be shown; by default the log's
            first checkpoint.

    Raises:
        ProblemError: ``log_empty``, ``no_events``, ``not_found`` (no checkpoint of size ``since``).
    """
    from marketplace.computing.nodes import nodes_by_id

    checkpoint = _best_checkpoint(session, subject)
    query = (select(AuditEvent).join(AuditSubject, col(AuditSubject.index) == col(AuditEvent.index))
             .where(AuditSubject.subject == subject, col(AuditEvent.index) < checkpoint.size)
             .order_by(col(AuditEvent.index)).limit(MAX_BUNDLE_EVENTS))
    events = list(session.exec(query))
    if not events:
        raise ProblemError(NO_EVENTS, subject=subject)
    proofs = _inclusion_proofs(session, [event.index for event in events], checkpoint.size)
    earlier = _earlier(session, checkpoint, since)
    lines = cosignatures(session, checkpoint.size)
    nodes = nodes_by_id(session, [line.node_id for line in lines])
    return {
        "v": 1, "origin": log_origin(), "subject": subject, "key": log_vkey(),
        "checkpoint": cosigned_note(session, checkpoint),
        "events": [{"index": event.index, "leaf": event.leaf, "proof": _encoded(proof)}
                   for event, proof in zip(events, proofs, strict=True)],
        "from_checkpoint": earlier.note if earlier else None,
        "consistency": _encoded(merkle.consistency_proof(earlier.size, checkpoint.size, _reader(session))) if earlier else [],
        "node_keys": [{"node_id": node.id, "name": node.name, "vkey": str(
            notes.node_verifier(node.id, keys.signing_key_from(node.signing_key)))}
            for _, node in sorted(nodes.items())],
    }


def _encoded(hashes: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(value).decode("ascii") for value in hashes]


def _best_checkpoint(session: Session, subject: str) -> Checkpoint:
    """Of the newest checkpoints that hold the subject's latest event, the one with the most cosignatures."""
    latest = latest_checkpoint(session)
    if latest is None:
        raise ProblemError(LOG_EMPTY)
    last = session.exec(select(func.max(AuditSubject.index)).where(
        AuditSubject.subject == subject, col(AuditSubject.index) < latest.size)).one()
    if last is None:
        raise ProblemError(NO_EVENTS, subject=subject)
    recent = select(col(Checkpoint.size).label("size")).where(col(Checkpoint.size) > last).order_by(
        col(Checkpoint.size).desc()).limit(_RECENT_CHECKPOINTS).subquery()
    size = session.execute(
        select(recent.c.size).outerjoin(Cosignature, col(Cosignature.size) == recent.c.size).group_by(recent.c.size)
        .order_by(func.count(col(Cosignature.node_id)).desc(), recent.c.size.desc()).limit(1)).scalar_one()
    return session.get_one(Checkpoint, size)


def _earlier(session: Session, checkpoint: Checkpoint, since: int | None) -> Checkpoint | None:
    if since is not None:
        earlier: Checkpoint | None = get_checkpoint(session, since)
    else:
        earlier = session.exec(select(Checkpoint).order_by(col(Checkpoint.size)).limit(1)).first()
    return earlier if earlier is not None and earlier.size < checkpoint.size else None
