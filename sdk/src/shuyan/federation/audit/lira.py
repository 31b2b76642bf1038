"""The likelihood ratio attack on one department's rows, and what it means.

Scores are of the true answer, larger where the model is surer of it: for classes the logarithm of the odds of the true one
(Carlini et al. 2022, section 4.3, equation 1), for numbers minus the size of the error.

Three attacks are tried on every row, and a model must withstand all of them: the score itself (Yeom et al. 2018); the score
against what models say that have not seen the row (offline LiRA with one variance for all rows); and the ratio of both
likelihoods, under models that have and that have not (online LiRA). A department's shadow models see fewer rows than the
model did, so that an attacker who has the data of all departments might do somewhat better than this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shuyan.federation.audit import rates
from shuyan.federation.audit.params import FALSE_POSITIVE_RATE, MembershipAudit
from shuyan.federation.ring import Floats

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

MOST_ROWS: Final = 10_000
"""Rows of either kind that are looked at; more would only make the bounds tighter than any limit."""
_SMALLEST: Final = 1e-9
_ALMOST: Final = 0.995
_SURELY: Final = 0.99
_DEVIATIONS: Final = 2.6


@dataclass(frozen=True)
class Rows:
    """The rows an attack is tried on.

    Attributes:
        places: among the department's rows, shape (n,).
        members: which of them the model was trained on, shape (n,).
    """

    places: Places = field(repr=False)
    members: Mask = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """What a department found. Only :attr:`passed` and :attr:`decided` ever leave it, and those in a sum.

    Attributes:
        passed: no attack recognises more rows than the limit, surely enough.
        decided: its rows are enough to say so, or it is certain that the model tells who it was trained on.
        share: by attack, the share of rows trained on that it recognises.
        bound: by attack, the most that share can be.
    """

    passed: bool
    decided: bool
    share: dict[str, float] = field(default_factory=dict, repr=False)
    bound: dict[str, float] = field(default_factory=dict, repr=False)


def sample(members: Mask, audit: MembershipAudit, most: int = MOST_ROWS) -> Rows:
    """The rows to try: all, or so many of either kind."""
    random = np.random.Generator(np.random.PCG64([audit.seed, 0]))
    chosen = []
    for kind in (True, False):
        places = np.flatnonzero(members == kind)
        chosen.append(places if len(places) <= most else np.sort(random.choice(places, most, replace=False)))
    places = np.concatenate(chosen)
    return Rows(places, members[places])


def halves(count: int, audit: MembershipAudit) -> Mask:
    """Which shadow model is trained on which row, shape (models, count): every row by half of them."""
    random = np.random.Generator(np.random.PCG64([audit.seed, 1]))
    order = random.random((audit.models, count)).argsort(axis=0).argsort(axis=0)
    return np.asarray(order < audit.models // 2)


def attack(scores: Floats, shadows: Floats, inside: Mask) -> dict[str, Floats]:
    """By attack, how much each row looks like one trained on; shape (n,) each.

    Args:
        scores: of the model under attack, shape (n,).
        shadows: of the shadow models, shape (models, n).
        inside: which of them are trained on which row, shape (models, n).
    """
    seen, spread = _moments(shadows, inside)
    unseen, spread_unseen = _moments(shadows, ~inside)
    ratio = ((scores - unseen) / spread_unseen) ** 2 / 2 - ((scores - seen) / spread) ** 2 / 2
    return {"score": scores, "offline": scores - unseen, "online": ratio}


def _moments(shadows: Floats, chosen: Mask) -> tuple[Floats, float]:
    """The mean of each row's scores over the chosen models, and one standard deviation for all rows."""
    counts = np.maximum(chosen.sum(axis=0), 1)
    mean = np.where(chosen, shadows, 0.0).sum(axis=0) / counts
    squares = (np.where(chosen, shadows - mean, 0.0) ** 2).sum()
    return mean, max(float(np.sqrt(squares / max(int((counts - 1).sum()), 1))), _SMALLEST)


def judge(found: dict[str, Floats], members: Mask, audit: MembershipAudit) -> Verdict:
    """Whether the attacks fail.

    A threshold that at least one in a hundred of all rows not trained on exceed is put where the rows held out say so with
    the audit's confidence; the rows trained on that exceed it have a Clopper-Pearson upper bound of the same confidence.
    A model passes where no attack's bound exceeds the limit. It fails where rows trained on are surely recognised more
    often than others, and by more than the limit as far as the rows tell; or where a model that tells nothing would almost
    surely have passed. In between the rows are too few to say.
    """
    outside, inside = int((~members).sum()), int(members.sum())
    place = rates.threshold_place(outside, FALSE_POSITIVE_RATE, audit.confidence) if inside else None
    share, bound, caught = {}, {}, False
    for name, values in found.items():
        above = _above(values, members)
        for at in {1, place or 1} if inside and outside else ():
            hits = int(above[at - 1])
            surely = rates.lower_bound(hits, inside, _SURELY) - rates.exceeded_at_most(at, outside, _SURELY)
            caught |= surely > 0 and hits / inside - at / (outside + 1) > audit.limit
        if place is not None:
            share[name] = float(above[place - 1] / inside)
            bound[name] = rates.upper_bound(int(above[place - 1]), inside, audit.confidence)
    if place is None:
        return Verdict(False, caught, share, bound)
    passed = not caught and max(bound.values()) <= audit.limit
    return Verdict(passed, passed or caught or _enough(inside, outside, place, audit), share, bound)


def _enough(inside: int, outside: int, place: int, audit: MembershipAudit) -> bool:
    """Whether a model that tells nothing would pass, but for one time in about a hundred."""
    likely = rates.exceeded_at_most(place, outside, _ALMOST)
    hits = min(inside, math.ceil(inside * likely + _DEVIATIONS * math.sqrt(inside * likely * (1 - likely))))
    return rates.upper_bound(hits, inside, audit.confidence) <= audit.limit


def _above(values: Floats, members: Mask) -> npt.NDArray[np.int64]:
    """How many rows trained on look more like it than the first, second … of the others; equal ones in random order."""
    chance = np.random.Generator(np.random.PCG64(0)).random(len(values))
    order = np.lexsort((chance, values))[::-1]
    ranked = members[order]
    return np.asarray(ranked.cumsum()[~ranked], dtype=np.int64)


def audited(scores: Floats, members: Mask, audit: MembershipAudit, shadow: Callable[[Mask], Floats]) -> Verdict:
    """Attack a model.

    Args:
        scores: the model's, of the rows tried, shape (n,).
        shadow: trains a model of the same kind on the rows marked and gives its scores of all rows, shape (n,).
    """
    if not members.any() or members.all():
        return Verdict(False, False)
    inside = halves(len(scores), audit)
    shadows = np.stack([shadow(chosen) for chosen in inside])
    return judge(attack(_finite(scores), _finite(shadows), inside), members, audit)


def _finite(scores: Floats) -> Floats:
    """Scores of which none is beyond all others for having overflowed."""
    return np.clip(np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=0.0), -1e9, 1e9)


def odds_of_truth(probability: Floats, target: Floats) -> Floats:
    """The logarithm of the odds of the true class.

    Args:
        probability: shape (n, classes).
        target: the classes' places, shape (n,).
    """
    true = np.clip(probability[np.arange(len(target)), target.astype(np.intp)], 1e-12, 1 - 1e-12)
    return np.asarray(np.log(true) - np.log1p(-true))


def surprise_of_counts(target: Floats, mean: Floats) -> Floats:
    """Minus the size of Poisson's deviance residuals."""
    mean = np.maximum(mean, 1e-12)
    ratio = np.log(np.maximum(target, 1e-12) / mean)
    return -np.sqrt(np.maximum(2 * (np.where(target > 0, target * ratio, 0.0) - (target - mean)), 0.0))
