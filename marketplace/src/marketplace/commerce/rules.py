"""Decisions about orders, card payments and refunds, without I/O."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Final, Literal

from marketplace.commerce.errors import AMOUNT_DIFFERS, BAD_REFERENCE, CARD_AMOUNT
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition
from marketplace.parties.rules import KINDS
from shuyan.problems import ProblemError

ORDER = Lifecycle("order", "awaiting_payment", (
    transition("pay_by_card", "awaiting_payment", "awaiting_payment", KINDS, own=True, scope="orders", roles=("finance", "handler")),
    transition("record_payment", "awaiting_payment", "paid", "operator", Tag.PAYMENT_RECEIVED, scope="operate", roles="finance"),
    transition("settle_card", "awaiting_payment", "paid", "system", Tag.PAYMENT_RECEIVED),
    transition("cancel", "awaiting_payment", "cancelled", KINDS, Tag.ORDER_CANCELLED, own=True, scope="orders", roles=("finance", "handler")),
    transition("cancel", "awaiting_payment", "cancelled", "operator", Tag.ORDER_CANCELLED, scope="operate", roles="finance"),
    transition("cancel", "awaiting_payment", "cancelled", "system", Tag.ORDER_CANCELLED),
    transition("refund", "paid", "refunded", "operator", Tag.REFUND_DECIDED, scope="operate", roles="finance"),
), final=frozenset({"refunded", "cancelled"}), way=("awaiting_payment", "paid"))

_UNPAID: Final = ("opening", "open", "expired")
CARD_PAYMENT = Lifecycle("card_payment", "opening", (
    transition("begin", "opening", "open", "system"),
    transition("expire", ("opening", "open"), "expired", "system"),
    transition("settle_card", _UNPAID, "paid", "system", Tag.PAYMENT_RECEIVED),
    transition("mismatch", _UNPAID, "mismatched", "system", Tag.CARD_MONEY_MISMATCHED),
    transition("give_back", "mismatched", "given_back", "operator", Tag.REFUND_DECIDED, scope="operate", roles="finance"),
    transition("give_back", (*_UNPAID, "paid"), "given_back", "system", Tag.REFUND_DECIDED),
), final=frozenset({"given_back"}), way=("opening", "open", "paid"))
"""One Checkout Session. That it expired here is no promise of Stripe's: money that comes all the same is not lost."""

REFUND = Lifecycle("refund", "under_way", (
    transition("finish", "under_way", "done", "system", Tag.REFUND_PAID),
    transition("fail", ("under_way", "done"), "failed", "system", Tag.REFUND_FAILED),
    transition("transfer", "failed", "done", "operator", Tag.REFUND_PAID, scope="operate", roles="finance"),
), way=("under_way", "done"))
"""Money on its way back. A card's bank may still send it back to Stripe days after it was said to have arrived."""

PLACE = power("order.place", KINDS, scope="orders", roles=("finance", "handler"))

# who may read any order: the one who books payments and those who oversee the money
READERS = frozenset({"operator", "data_authority", "finance_department", "system"})

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that is misread on a bank slip

CARD_MAXIMUM_FEN: Final = 99_999_999
"""Stripe takes eight digits at most (docs.stripe.com/currencies, minimum and maximum charge amounts)."""
CARD_MINUTES: Final = 60
"""How long a Checkout Session can be paid; Stripe allows from 30 minutes to 24 hours."""
OPENING_MINUTES: Final = 10
"""How long asking for a session is tried again; afterwards it is given up, and nobody was ever given its address."""


def order_number(now: dt.datetime) -> str:
    """What the buyer writes on the transfer, such as ``20261120-7KQ2M9XA`` (40 random bits)."""
    day = now.astimezone(dt.timezone(dt.timedelta(hours=8)))
    return f"{day:%Y%m%d}-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


def check_amount(expected_fen: int, received_fen: object) -> None:
    """Raises ``amount_differs`` unless exactly the order's amount came in; ``False`` is no amount."""
    if type(received_fen) is not int or received_fen != expected_fen:
        raise ProblemError(AMOUNT_DIFFERS, field="amount_fen", expected=expected_fen, received=received_fen)


def check_reference(reference: str) -> str:
    """The bank reference without blanks around it.

    Raises:
        ProblemError: ``bad_bank_reference``.
    """
    reference = reference.strip()
    if not 4 <= len(reference) <= 64:
        raise ProblemError(BAD_REFERENCE, field="bank_reference")
    return reference


def check_card_amount(amount_fen: int) -> None:
    """Raises ``card_amount_too_large`` for what Stripe cannot take in one payment."""
    if amount_fen > CARD_MAXIMUM_FEN:
        raise ProblemError(CARD_AMOUNT, maximum=CARD_MAXIMUM_FEN)


@dataclass(frozen=True)
class Seen:
    """A Checkout Session as Stripe has it now.

    Attributes:
        card_payment_id: the ``client_reference_id`` that we gave it.
        status: ``open``, ``complete`` or ``expired``.
        paid: whether the money is with Stripe.
        amount: in the smallest unit of ``currency``; for CNY that is the fen.
        currency: ISO 4217, in capitals.
        declined: whether the last attempt to pay was refused.
    """

    id: str
    card_payment_id: str
    status: str
    paid: bool
    amount: int
    currency: str
    payment_intent: str | None
    url: str
    declined: bool


Verdict = Literal["settle", "mismatch", "give_back", "expire", "nothing"]


def judge(status: str, order_status: str, amount_fen: int, currency: str, seen: Seen) -> Verdict:
    """What is to become of a card payment in ``status``, of an order in ``order_status``, given what Stripe says.

    Only the state that Stripe has now counts, never which message came first; and what has had an outcome keeps it.
    """
    if status not in _UNPAID:
        return "nothing"
    if seen.paid:
        if (seen.amount, seen.currency) != (amount_fen, currency):
            return "mismatch"
        return "settle" if order_status == "awaiting_payment" else "give_back"
    return "expire" if seen.status == "expired" and status != "expired" else "nothing"


def next_look(created_at: dt.datetime, now: dt.datetime) -> dt.datetime:
    """When to ask Stripe about an open payment again: the longer it is open, the more rarely, but each ten minutes at least."""
    return now + min(max(dt.timedelta(minutes=1), (now - created_at) / 2), dt.timedelta(minutes=10))


def next_try(attempts: int, now: dt.datetime) -> dt.datetime:
    """When a refund is tried again after so many attempts: twice as long after each, an hour at most."""
    return now + min(dt.timedelta(seconds=10 * 2 ** min(attempts, 20)), dt.timedelta(hours=1))
