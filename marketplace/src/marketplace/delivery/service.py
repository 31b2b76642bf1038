"""The use case of delivery: check the right to call, work out the answer, count the call, then hand it out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from marketplace import db
from marketplace.access import require_organisation, require_scope
from marketplace.actor import Actor
from marketplace.commerce import service as commerce
from marketplace.commerce.errors import NOT_ENTITLED
from marketplace.computing import service as computing
from marketplace.db import utc_now
from marketplace.delivery import rules
from marketplace.delivery.cache import TtlCache
from marketplace.digests import digest
from marketplace.ids import new_id
from marketplace.metering import service as metering
from marketplace.metering.rules import Usage
from marketplace.products import service as products
from marketplace.products.errors import NOT_A_REPORT
from marketplace.settings import settings
from shuyan.problems import ProblemError

# how long this process may go on with a right that has just ended: well under the second that is promised
RIGHTS_SECONDS = 0.5

# an approved output never changes, but once its product is retired no process goes on holding it
OUTPUT_SECONDS = 60.0


@dataclass(frozen=True)
class _Right:
    entitlement_id: str
    ends_at: dt.datetime
    version_id: str
    version_number: int
    registration_code: str
    job_id: str


@dataclass(frozen=True)
class Delivery:
    """What a call returned. ``idempotency_key`` names the call; ``repeated`` says it was counted before."""

    content: dict[str, Any]
    idempotency_key: str
    repeated: bool
    version: int
    registration_code: str


_rights: TtlCache[tuple[str, str, str], _Right] = TtlCache(RIGHTS_SECONDS, 10_000)
_outputs: TtlCache[tuple[str, str], dict[str, Any]] = TtlCache(OUTPUT_SECONDS, 64)


def deliver(actor: Actor, product_id: str, body: dict[str, Any], idempotency_key: str | None = None) -> Delivery:
    """Deliver one metered call. What is returned has been counted durably; what is refused has not been counted.

    A retry with the same ``idempotency_key`` and body is the same call. Without a key each call is its own.

    Raises:
        ProblemError: ``scope_missing``, ``not_found``, ``product_not_listed``, ``not_entitled``, ``bad_call_body``,
            ``feature_…``, ``score_out_of_range``, ``unknown_group``, ``idempotency_mismatch``, ``call_not_counted``.
    """
    require_scope(actor, "deliver")
    buyer = require_organisation(actor)
    database = settings().resolved_database_url
    now = utc_now()
    right = _rights.get((database, buyer, product_id), lambda: _find_right(buyer, product_id, now))
    if right.ends_at <= now:
        raise ProblemError(NOT_ENTITLED)
    content = _outputs.get((database, right.version_id), lambda: _load_output(right.job_id))
    result = rules.answer(content, body)
    key = idempotency_key or new_id("call")
    new = metering.record(
        Usage(right.entitlement_id, key, right.version_id, actor.label, now,
              digest({"product_id": product_id, "body": body})),
        chosen_key=idempotency_key is not None)
    return Delivery(result, key, not new, right.version_number, right.registration_code)


@dataclass(frozen=True)
class Document:
    """A delivered report; the rest as :class:`Delivery`."""

    pdf: bytes
    idempotency_key: str
    repeated: bool
    version: int
    registration_code: str


def deliver_report(actor: Actor, product_id: str, language: Literal["zh", "en"] = "zh", idempotency_key: str | None = None) -> Document:
    """Deliver a product's report as PDF; metered as :func:`deliver`, after it has been made.

    Raises:
        ProblemError: as :func:`deliver`; ``not_a_report``, ``report_font_missing``, ``report_failed``.
    """
    require_scope(actor, "deliver")
    buyer = require_organisation(actor)
    database, now = settings().resolved_database_url, utc_now()
    right = _rights.get((database, buyer, product_id), lambda: _find_right(buyer, product_id, now))
    if right.ends_at <= now:
        raise ProblemError(NOT_ENTITLED)
    with db.reading() as session:
        product, version = products.on_sale(session, product_id)
        if product.delivery_form != "report":
            raise ProblemError(NOT_A_REPORT)
        pdf = products.render_report(session, product, version, computing.approved_output(session, version.job_id).content, language)
    key = idempotency_key or new_id("call")
    new = metering.record(Usage(right.entitlement_id, key, version.id, actor.label, now,
                                digest({"product_id": product_id, "report": language})), chosen_key=idempotency_key is not None)
    return Document(pdf, key, not new, version.number, version.registration_code or "")


def _find_right(buyer: str, product_id: str, now: dt.datetime) -> _Right:
    with db.reading() as session:
        _product, version = products.on_sale(session, product_id)
        entitlement = commerce.usable_entitlement(session, buyer, product_id, now)
        return _Right(entitlement.id, entitlement.ends_at, version.id, version.number,
                      version.registration_code or "", version.job_id)


def _load_output(job_id: str) -> dict[str, Any]:
    with db.reading() as session:
        return computing.approved_output(session, job_id).content


def forget() -> None:
    """Empty the caches of this process."""
    _rights.clear()
    _outputs.clear()
