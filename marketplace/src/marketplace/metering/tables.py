"""Usage in the shared database: where collected records live, and where PostgreSQL writes them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from marketplace import db
from marketplace.metering.models import UsageRecord
from marketplace.metering.rules import Outcome, Usage

_BATCH = text("""
INSERT INTO usage_record (entitlement_id, idempotency_key, product_version_id, client_id, at, request_digest)
SELECT * FROM unnest(:entitlements, :keys, :versions, :clients, :times, :digests)
ON CONFLICT DO NOTHING RETURNING entitlement_id, idempotency_key
""").bindparams(
    *(bindparam(name, type_=postgresql.ARRAY(postgresql.TEXT))
      for name in ("entitlements", "keys", "versions", "clients", "digests")),
    bindparam("times", type_=postgresql.ARRAY(postgresql.TIMESTAMP(timezone=True))),
)


def insert_missing(session: Session, batch: Sequence[Usage]) -> None:
    """Add the records that are not there yet; one that is stays as it is."""
    if not batch:
        return
    module: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(module.insert(UsageRecord).on_conflict_do_nothing(), [
        {"entitlement_id": item.entitlement_id, "idempotency_key": item.idempotency_key,
         "product_version_id": item.product_version_id, "client_id": item.client_id, "at": item.at,
         "request_digest": item.request_digest} for item in batch])


def known_digests(identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The request digests of those of these calls that are in the database."""
    with db.reading() as session:
        return _known(session, identities)


def _known(session: Session, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    query = select(UsageRecord.entitlement_id, UsageRecord.idempotency_key, UsageRecord.request_digest).where(
        tuple_(col(UsageRecord.entitlement_id), col(UsageRecord.idempotency_key)).in_(identities))
    return {(entitlement, key): digest for entitlement, key, digest in session.exec(query)}


class TableStore:
    """Group commit straight into ``usage_record`` (PostgreSQL)."""

    def write(self, batch: Sequence[tuple[Usage, bool]]) -> list[Outcome]:
        """Record a batch in one transaction; see :class:`.files.FileStore`."""
        first: dict[tuple[str, str], Usage] = {}
        for item, _chosen in batch:
            first.setdefault(item.identity, item)
        rows = sorted(first.values(), key=lambda item: item.identity)  # one order everywhere, so no deadlock
        with db.transaction() as session:
            result = session.execute(_BATCH, {
                "entitlements": [item.entitlement_id for item in rows], "keys": [item.idempotency_key for item in rows],
                "versions": [item.product_version_id for item in rows], "clients": [item.client_id for item in rows],
                "times": [item.at for item in rows], "digests": [item.request_digest for item in rows]})
            new = {(row[0], row[1]) for row in result}
            known = _known(session, old) if (old := [identity for identity in first if identity not in new]) else {}
        outcomes = []
        for item, _chosen in batch:
            if item.identity in new and first[item.identity] is item:
                outcomes.append(Outcome.NEW)
                continue
            digest = known.get(item.identity, first[item.identity].request_digest)
            outcomes.append(Outcome.REPEAT if digest == item.request_digest else Outcome.MISMATCH)
        return outcomes

    def close(self) -> None:
        """Nothing is held between batches."""
