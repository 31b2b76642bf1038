"""What a usage record is and how a batch of them is sealed, without I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from marketplace.digests import digest


@dataclass(frozen=True)
class Usage:
    """One billable call. (``entitlement_id``, ``idempotency_key``) is its identity."""

    entitlement_id: str
    idempotency_key: str
    product_version_id: str
    client_id: str
    at: dt.datetime
    request_digest: str

    @property
    def identity(self) -> tuple[str, str]:
        return self.entitlement_id, self.idempotency_key


class Outcome(Enum):
    """What recording found: a ``NEW`` call, a ``REPEAT`` of one counted before, or its key with another request."""

    NEW = "new"
    REPEAT = "repeat"
    MISMATCH = "mismatch"


def timestamp(at: dt.datetime) -> str:
    """An instant as usage files and seals write it: UTC, always with microseconds."""
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> dt.datetime:
    """The instant :func:`timestamp` wrote."""
    return dt.datetime.fromisoformat(text)


def seal_digest(batch: Iterable[Usage]) -> str:
    """The digest an audit event seals a batch with; it does not depend on the order of the batch."""
    return digest(sorted(
        [item.entitlement_id, item.idempotency_key, item.product_version_id, item.client_id, timestamp(item.at),
         item.request_digest] for item in batch))
