"""How money is divided and booked, without I/O. Everything is integer fen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHARE_ORDER = ("treasury", "operator", "source_departments", "developer")


@dataclass(frozen=True)
class Posting:
    """One line of a transaction: debit positive, credit negative."""

    account: str
    amount_fen: int


def check_balanced(postings: Sequence[Posting]) -> None:
    """Raises :class:`ValueError` unless there are two or more non-zero integer postings that sum to zero."""
    if len(postings) < 2 or any(type(item.amount_fen) is not int or item.amount_fen == 0 for item in postings):
        raise ValueError("a transaction needs two or more non-zero integer postings")
    if sum(item.amount_fen for item in postings) != 0:
        raise ValueError("the postings of a transaction must sum to zero")


def largest_remainder(amount_fen: int, weights: Mapping[str, int]) -> dict[str, int]:
    """``amount_fen`` in whole fen by ``weights``, summing exactly (Hamilton's method).

    Every part is its exact share rounded down or up; fen left over go to the largest remainders, and among equal
    ones by name, so that the outcome does not hang on the order of the mapping.

    Raises:
        ValueError: a negative amount or weight, or no positive weight.
    """
    total = sum(weights.values())
    if amount_fen < 0 or any(weight < 0 for weight in weights.values()) or total <= 0:
        raise ValueError("amount and weights must not be negative, and some weight positive")
    parts = {name: amount_fen * weight // total for name, weight in weights.items()}
    left = amount_fen - sum(parts.values())
    by_remainder = sorted(weights, key=lambda name: (-(amount_fen * weights[name] % total), name))
    for name in by_remainder[:left]:
        parts[name] += 1
    return parts


def source_weights(rows: Mapping[str, int | None]) -> dict[str, int]:
    """Weights of source departments by rows contributed; equal for all as soon as one's rows are unknown or all are 0."""
    if any(count is None for count in rows.values()) or not any(rows.values()):
        return dict.fromkeys(rows, 1)
    return {name: int(count or 0) for name, count in rows.items()}


@dataclass(frozen=True)
class Share:
    """One party's part of an amount. ``party`` is of :data:`SHARE_ORDER`; sources are named one by one."""

    party: str
    organisation_id: str | None
    amount_fen: int


def split(amount_fen: int, shares: Mapping[str, int], sources: Mapping[str, int | None], *, tier: int = 2,
          seller: str | None = None, operator: str | None = None) -> list[Share]:
    """Divide ``amount_fen`` by the configured ``shares`` (weights by party, usually per cent).

    ``sources`` are organisation ids with their rows (``None``: unknown). For a first-tier product the operator is the
    seller and receives the developer's share too. Without sources their share goes to the treasury.

    The parts are never negative and sum to ``amount_fen`` exactly.

    Raises:
        ValueError: as :func:`largest_remainder`, or an unknown party in ``shares``.
    """
    if set(shares) - set(SHARE_ORDER):
        raise ValueError("unknown party in shares")
    weights = {party: shares.get(party, 0) for party in SHARE_ORDER}
    if tier == 1:
        weights["operator"] += weights.pop("developer")
    if not sources:
        weights["treasury"] += weights.pop("source_departments")
    parts = largest_remainder(amount_fen, weights)
    out: list[Share] = []
    for party in SHARE_ORDER:
        if party not in parts:
            continue
        if party == "source_departments":
            divided = largest_remainder(parts[party], source_weights(sources))
            out += [Share(party, organisation, divided[organisation]) for organisation in sorted(divided)]
        else:
            who = {"operator": seller if tier == 1 else operator, "developer": seller}.get(party)
            out.append(Share(party, who, parts[party]))
    return out


def billable_calls(calls: int, included: int) -> int:
    """Calls beyond the included ones."""
    return max(0, calls - included)
