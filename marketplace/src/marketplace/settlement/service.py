"""Use cases of settlement: booking into the ledger, and the invoice preview with everybody's share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, func, select

from marketplace.actor import Actor
from marketplace.commerce import service as commerce
from marketplace.db import utc_now
from marketplace.ids import new_id
from marketplace.metering import service as metering
from marketplace.parties import service as parties
from marketplace.pricing import service as pricing
from marketplace.products import service as products
from marketplace.settings import settings
from marketplace.settlement import rules
from marketplace.settlement.errors import POSTING_DIFFERS
from marketplace.settlement.models import LedgerPosting, LedgerTransaction
from marketplace.settlement.rules import Posting
from shuyan.problems import ProblemError


def post(session: Session, *, idempotency_key: str, narration: str, postings: Sequence[Posting]) -> LedgerTransaction:
    """Book one balanced transaction, once: the same key with the same postings is the same booking.

    Raises:
        ValueError: the postings do not balance; a programming error.
        ProblemError: ``posting_differs`` if the key stands for other postings.
    """
    rules.check_balanced(postings)
    row = LedgerTransaction(id=new_id("txn"), idempotency_key=idempotency_key, narration=narration)
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
            session.add_all(LedgerPosting(transaction_id=row.id, line=line, account=item.account,
                                          amount_fen=item.amount_fen)
                            for line, item in enumerate(postings))
    except IntegrityError:
        found = session.exec(select(LedgerTransaction).where(LedgerTransaction.idempotency_key == idempotency_key)).one()
        lines = session.exec(select(LedgerPosting).where(LedgerPosting.transaction_id == found.id)
                             .order_by(col(LedgerPosting.line))).all()
        if [Posting(line.account, line.amount_fen) for line in lines] != list(postings):
            raise ProblemError(POSTING_DIFFERS) from None
        return found
    return row


def balance(session: Session, account: str) -> int:
    """The balance of an account in fen, debit positive, from its entries."""
    total = session.exec(select(func.coalesce(func.sum(LedgerPosting.amount_fen), 0))
                         .where(LedgerPosting.account == account)).one()
    return int(total)


def unbalanced(session: Session) -> list[str]:
    """Transactions whose postings do not sum to zero; always empty unless somebody edited the database."""
    query = select(LedgerPosting.transaction_id).group_by(col(LedgerPosting.transaction_id))
    return list(session.exec(query.having(func.sum(LedgerPosting.amount_fen) != 0)))


@dataclass(frozen=True)
class InvoiceLine:
    """``kind`` is ``access_fee``, ``calls`` or ``refund``; ``amount_fen = quantity * unit_fen``."""

    kind: str
    quantity: int
    unit_fen: int
    amount_fen: int


@dataclass(frozen=True)
class InvoiceShare:
    """One party's part; ``share_percent`` is the configured share of its group, ``rows`` a source's weight."""

    party: str
    organisation_id: str | None
    name_zh: str
    name_en: str
    share_percent: int
    rows: int | None
    amount_fen: int


@dataclass(frozen=True)
class InvoicePreview:
    """What an order costs so far and who will receive it; ``shares`` sum to ``total_fen``."""

    order_id: str
    order_number: str
    product_id: str
    version_id: str
    currency: str
    from_: dt.datetime | None
    until: dt.datetime | None
    as_of: dt.datetime
    calls: int
    included_calls: int
    billable_calls: int
    lines: list[InvoiceLine]
    total_fen: int
    shares: list[InvoiceShare]


_GROUP_NAMES = {
    "treasury": ("财政", "Treasury"), "operator": ("运营机构", "Operator"),
    "source_departments": ("数源部门", "Source department"), "developer": ("开发主体", "Developer"),
}


def invoice_preview(session: Session, actor: Actor, order_id: str) -> InvoicePreview:
    """What the order costs up to now: the access fee, the calls beyond the included ones, and everybody's share.

    Calls acknowledged but not collected into the database yet are counted too.

    Raises:
        ProblemError: ``not_found`` for an order this actor may not see.
    """
    order = commerce.get_order(session, actor, order_id)
    plan = pricing.get_plan(session, order.price_plan_id)
    entitlement = commerce.entitlement_of_order(session, order_id)
    calls = metering.calls(session, entitlement.id) if entitlement else 0
    included = entitlement.included_calls if entitlement else plan.included_calls
    fee = entitlement.call_fee_fen if entitlement else plan.call_fee_fen
    billable = rules.billable_calls(calls, included)
    lines = [InvoiceLine("access_fee", 1, order.amount_fen, order.amount_fen),
             InvoiceLine("calls", billable, fee, billable * fee)]
    if order.status == "refunded":
        lines.append(InvoiceLine("refund", 1, -order.amount_fen, -order.amount_fen))
    total = sum(line.amount_fen for line in lines)
    return InvoicePreview(
        order.id, order.number, order.product_id, order.version_id, order.currency,
        entitlement.starts_at if entitlement else None, entitlement.ends_at if entitlement else None, utc_now(),
        calls, included, billable, lines, total, _shares(session, order.product_id, order.version_id, total))


def _shares(session: Session, product_id: str, version_id: str, total: int) -> list[InvoiceShare]:
    configuration = settings()
    percent = {"treasury": configuration.share_treasury, "operator": configuration.share_operator,
               "source_departments": configuration.share_source_departments,
               "developer": configuration.share_developer}
    product = products.products_by_id(session, [product_id])[product_id]
    version = products.versions_by_id(session, [version_id])[version_id]
    sources: dict[str, int | None] = {}
    for item in version.manifest["participants"]:  # one department may run several nodes
        name, rows = item["organisation_id"], item["rows"]
        known = sources.get(name, 0)
        sources[name] = None if rows is None or known is None else known + rows
    operators = parties.list_organisations(session, kind="operator", limit=1)
    parts = rules.split(total, percent, sources, tier=product.tier, seller=product.organisation_id,
                        operator=operators[0].id if operators else None)
    names = parties.organisations_by_id(session, [part.organisation_id for part in parts if part.organisation_id])
    out = []
    for part in parts:
        row = names.get(part.organisation_id or "")
        zh, en = (row.name_zh, row.name_en) if row else _GROUP_NAMES[part.party]
        group = percent[part.party] + (percent["developer"] if part.party == "operator" and product.tier == 1 else 0)
        weight = sources.get(part.organisation_id or "") if part.party == "source_departments" else None
        out.append(InvoiceShare(part.party, part.organisation_id, zh, en, group, weight, part.amount_fen))
    return out
