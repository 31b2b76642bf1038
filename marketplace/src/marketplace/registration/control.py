"""Who controls whom: decided from declared shareholdings alone, without I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

WHOLE = 10_000
"""Basis points of a whole."""


@dataclass(frozen=True)
class Holding:
    """``owner`` holds ``share_bp`` basis points of ``owned``; both are credit codes."""

    owner: str
    owned: str
    share_bp: int


def controlled(root: str, holdings: Iterable[Holding], threshold_bp: int) -> dict[str, list[Holding]]:
    """What ``root`` controls, each with the holdings that make it so.

    An organisation is controlled when ``root`` and what it controls hold together at least ``threshold_bp`` of it: through
    chains, and by the sum of controlled holders. Of several declarations of one holding (both sides may declare it) the
    largest counts. The smallest such set is found from ``root`` outwards, so circular ownership neither loops nor lets
    companies that hold each other seem controlled by somebody who holds nothing of them.
    """
    share: dict[str, dict[str, int]] = defaultdict(dict)
    owners: dict[str, dict[str, int]] = defaultdict(dict)
    for one in holdings:
        if one.owner != one.owned:  # a company's own shares control nothing
            largest = max(one.share_bp, share[one.owner].get(one.owned, 0))
            share[one.owner][one.owned] = owners[one.owned][one.owner] = largest
    inside, out, open_ = {root}, dict[str, list[Holding]](), [root]
    while open_:
        holder = open_.pop(0)
        for owned in sorted(share[holder]):
            if owned in inside:
                continue
            by = [Holding(owner, owned, bp) for owner, bp in sorted(owners[owned].items()) if owner in inside]
            if sum(one.share_bp for one in by) >= threshold_bp:
                inside.add(owned)
                open_.append(owned)
                out[owned] = by
    return out


def chain(target: str, found: dict[str, list[Holding]]) -> list[Holding]:
    """The holdings by which ``target`` is controlled, from the root down, each once."""
    out: list[Holding] = []
    seen, open_ = set[str](), [target]
    while open_:
        owned = open_.pop(0)
        if owned in seen or owned not in found:
            continue
        seen.add(owned)
        out = [*found[owned], *out]
        open_ += [one.owner for one in found[owned]]
    return out
