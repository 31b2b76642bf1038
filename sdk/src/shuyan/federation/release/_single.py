"""Which cells of a table may be shown: none about fewer rows than the minimum cohort, nor one that others give away."""

from __future__ import annotations

from collections.abc import Sequence


def withheld(counts: Sequence[int], minimum: int) -> set[int]:
    """Indices of the cells to leave out.

    Cells with a count below ``minimum`` are left out (primary suppression). If what was left out amounts to fewer than
    ``minimum`` rows in all, a known total would give it away, so the smallest remaining cell goes as well
    (complementary suppression; Willenborg & de Waal, Elements of Statistical Disclosure Control, 2001, section 1.4).

    Args:
        counts: observations per cell of one table.
    """
    out = {index for index, count in enumerate(counts) if count < minimum}
    hidden = sum(counts[index] for index in out)
    if 0 < hidden < minimum:
        rest = [index for index in range(len(counts)) if index not in out]
        if rest:
            out.add(min(rest, key=lambda index: (counts[index], index)))
    return out
