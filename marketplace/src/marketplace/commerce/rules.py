"""Decisions about orders, without I/O."""

from __future__ import annotations

import datetime as dt
import secrets

from marketplace.commerce.errors import AMOUNT_DIFFERS, BAD_REFERENCE
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition
from marketplace.parties.rules import KINDS
from shuyan.problems import ProblemError

ORDER = Lifecycle("order", "awaiting_payment", (
    transition("record_payment", "awaiting_payment", "paid", "operator", Tag.PAYMENT_RECEIVED, scope="operate", roles="finance"),
    transition("cancel", "awaiting_payment", "cancelled", KINDS, Tag.ORDER_CANCELLED, own=True, scope="orders", roles=("finance", "handler")),
    transition("cancel", "awaiting_payment", "cancelled", "operator", Tag.ORDER_CANCELLED, scope="operate", roles="finance"),
    transition("cancel", "awaiting_payment", "cancelled", "system", Tag.ORDER_CANCELLED),
), final=frozenset({"paid", "cancelled"}), way=("awaiting_payment", "paid"))

PLACE = power("order.place", KINDS, scope="orders", roles=("finance", "handler"))

# who may read any order: the one who books payments and those who oversee the money
READERS = frozenset({"operator", "data_authority", "finance_department", "system"})

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that is misread on a bank slip


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
