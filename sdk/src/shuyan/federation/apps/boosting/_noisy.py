"""Boosting with differential privacy: trees whose splits are drawn by lot, and noisy sums of clipped derivatives in their leaves.

Splits looked for in noisy histograms cost most of the budget, because a row counts once for every feature and level, and follow the
noise where little can be spent. So they are drawn: which feature, and where within its declared bounds, says nothing of the data.
Of the data only the leaves' sums of gradients and Hessians are asked, once a tree, in which a row counts once. (Maddock, Cormode,
Wang, Maple & Jha, "Federated boosted decision trees with differential privacy", CCS 2022, who find such trees best at small ε.)

Bins are of equal width between the bounds; targets are clamped, gradients clipped, and rows with a target of no class not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np
from flwr.app import Context, Message

from shuyan.federation import _flower, problems
from shuyan.federation.apps.boosting import _model
from shuyan.federation.apps.boosting._client import client_app
from shuyan.federation.apps.boosting._grow import Node
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.apps.boosting._rows import slots
from shuyan.federation.apps.boosting._splits import Found, Splitter, Totals
from shuyan.federation.apps.boosting._state import state_of
from shuyan.federation.apps.boosting._trees import Split, TreeArray
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.learning.content import spent
from shuyan.federation.privacy import Sensitivity, need_bounds
from shuyan.federation.sketch import Float32s
from shuyan.federation.vectors import VectorSpec
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

LEAVES: Final = "train.noisy_leaves"
STEP_BITS: Final = 20
DERIVATIVE: Final = VectorSpec(limbs=2, fraction_bits=STEP_BITS, bound=2.0**33)
"""Sums of gradients, of at most 1 a row (a target's whole range, for numbers), and of Hessians, in whole steps of 2^-20."""
_HESSIAN: Final = {"binary:logistic": 0.25, "reg:squarederror": 1.0}
_GRADIENTS: Final = Fraction(2, 3)
"""Of a tree's ρ, what its gradients get; the Hessians only say how large a leaf is."""
_SURE: Final = 2.0
"""Standard deviations of noise that a leaf's Hessians must exceed, or it says nothing."""
_LARGEST_STEP: Final = 2.0


def check(params: BoostingParams) -> None:
    """Whether a job can be trained with noise.

    Raises:
        ProblemError: ``bad_params``, naming what does not fit; ``bounds_missing``.
    """
    for field, fits in (
        ("objective", params.objective in _HESSIAN), ("audit", params.audit is None), ("validation", params.validation == 0),
        ("subsample", params.subsample == 1), ("colsample_bytree", params.colsample_bytree == 1), ("monotone", not params.monotone),
    ):
        if not fits:
            raise ProblemError(problems.BAD_PARAMS, field=field, where=field)
    need_bounds([*params.numeric(), *([params.target] if params.objective == "reg:squarederror" else [])], params.bounds)


def sensitivities(params: BoostingParams, action: str, terms: PrivacyTerms) -> Mapping[str, Sensitivity]:
    """How far one unit moves the leaves' sums: each of its rows is in one leaf of a tree.

    Raises:
        ProblemError: ``bad_params``; the exact actions have no answer with noise.
    """
    check(params)
    if action != LEAVES:
        return {}
    rows = terms.max_rows_per_unit
    return {"gradient": Sensitivity(float(rows), share=_GRADIENTS / params.rounds, cells=rows, integral=True),
            "hessian": Sensitivity(rows * _HESSIAN[params.objective], share=(1 - _GRADIENTS) / params.rounds, cells=rows,
                                   integral=True)}


def _width(params: BoostingParams) -> float:
    """What a gradient is a share of."""
    if params.objective != "reg:squarederror":
        return 1.0
    lower, upper = params.bounds[params.target]
    return upper - lower


def _leaf(params: BoostingParams, place: int) -> int:
    """A place's number among the leaves: of what has no split, that of the leftmost place below it."""
    while place < params.inner():
        place = 2 * place + 1
    return place - params.inner()


# --- at a department -----------------------------------------------------------------------------------------------------


@client_app.train("noisy_leaves")  # type: ignore[untyped-decorator,unused-ignore]
def train_leaves(message: Message, context: Context) -> Message:
    """Sums of clipped gradients and Hessians in the leaves of a tree that has its splits, for the node to add its noise to."""
    inputs, params = context.inputs, context.params
    if not inputs.bounded:  # an exact answer is another question's
        raise ProblemError(problems.UNKNOWN_ACTION, action=LEAVES)
    check(params)
    arrays, round_ = _flower.arrays_of(message), int(message.content[_flower.CONFIG]["round"])
    if not 0 <= round_ < params.rounds:
        raise ValueError("not a round")
    state = state_of(inputs, params, arrays["cuts"], arrays["sizes"], arrays["base"])
    trees = TreeArray(params, arrays["trees"])
    state.finish(trees, round_)
    state.grow(trees, round_, _width(params) * 2.0**-STEP_BITS)
    gradient, hessian = np.zeros(1 << params.max_depth), np.zeros(1 << params.max_depth)
    one, most = 2.0**STEP_BITS, _HESSIAN[params.objective] * 2.0**STEP_BITS
    for place, gradients, hessians in state.leaves(0):
        # Whatever the trees that came: nothing is larger than what the noise is made for.
        gradient[_leaf(params, place)] += np.clip(np.nan_to_num(gradients), -one, one).sum()
        hessian[_leaf(params, place)] += len(gradients) * one if hessians is None else np.clip(np.nan_to_num(hessians), 0, most).sum()
    vectors = {"gradient": np.ldexp(gradient, -STEP_BITS), "hessian": np.ldexp(hessian, -STEP_BITS)}
    return _flower.reply(message, vectors, inputs.row_count())


# --- at the coordinator --------------------------------------------------------------------------------------------------


def serve(grid: SecureGrid, params: BoostingParams) -> dict[str, Any]:
    """Draw the trees, ask for their leaves, and describe the model; without an evaluation, which would cost as much again.

    Raises:
        ProblemError: ``bad_params``, and what charging the budget raises.
    """
    check(params)
    grid.plan(params.rounds)
    cuts = {name: _cuts(params, name) for name in params.numeric()}
    sizes = np.array([float(len(cuts[name])) for name in params.numeric()])
    table = np.zeros((len(sizes), params.bins - 1))
    for place, name in enumerate(params.numeric()):
        table[place, : len(cuts[name])] = cuts[name]
    score, margin = _base(params)
    given = {"cuts": table.ravel(), "sizes": sizes, "base": np.array([margin])}
    splitter = Splitter(params, slots(params, sizes), 0)
    random = np.random.Generator(np.random.PCG64(params.seed))
    trees = TreeArray(params)
    grown: list[list[dict[int, Node]]] = []
    total: Sum | None = None
    for number in range(params.rounds):
        tree = trees.tree(number, 0)
        splits = _drawn(params, cuts, random)
        for place, split in splits.items():
            trees.set_split(tree, place, split)
        leaves = 1 << params.max_depth
        total = grid.secure_sum(LEAVES, expect={"gradient": leaves, "hessian": leaves}, config={"round": number},
                                arrays={**given, "trees": trees.array})
        nodes = _nodes(params, splits, total)
        for place, node in nodes.items():
            node.value = _value(params, splitter, node.totals, total.deviation("hessian"))
            if node.found is None:
                trees.set_value(tree, place, node.value)
        grown.append([nodes])
    assert total is not None
    return {
        "kind": "model", "family": "boosted_trees", "objective": params.objective, "target": params.target,
        "features": [{"name": name, "type": "category", "levels": params.domains[name]} if name in params.domains else
                     {"name": name, "type": "number", "bins": len(cuts[name]) + 1} for name in params.features],
        "rows": max(total.cohort, 0), "departments": len(total.participants), "rounds": params.rounds, "converged": False,
        "minimum_rows": 0, "unused": [], "metrics": {}, "history": [], "importance": _model.importance(params, grown),
        "model": _model.xgboost_model(params, grown, [cuts.get(name) for name in params.features], [score]),
        "noise": {"gradient": total.deviation("gradient") * _width(params), "hessian": total.deviation("hessian")},
        "privacy": spent(grid),
    }


def _cuts(params: BoostingParams, name: str) -> Float32s:
    lower, upper = params.bounds[name]
    return np.unique(np.linspace(lower, upper, params.bins + 1)[1:-1].astype(np.float32))


def _base(params: BoostingParams) -> tuple[float, float]:
    """The score before the first tree, and the margin it stands for; by default what is halfway."""
    if params.objective == "binary:logistic":
        score = float(np.float32(0.5 if params.base_score is None else params.base_score))
        return score, float(np.float32(-np.log(1 / score - 1)))
    lower, upper = params.bounds[params.target]
    score = float(np.float32(lower / 2 + upper / 2 if params.base_score is None else params.base_score))
    return score, score


def _drawn(params: BoostingParams, cuts: Mapping[str, Float32s], random: np.random.Generator) -> dict[int, Split]:
    """A tree's splits by place. Each divides what its path has left of a feature, so that no leaf is empty by construction."""
    left: dict[int, dict[int, tuple[int, ...]]] = {0: {
        place: tuple(range(len(params.domains[name]) if name in params.domains else len(cuts[name]) + 1))
        for place, name in enumerate(params.features)}}
    splits: dict[int, Split] = {}
    for place in range(params.inner()):
        if place not in left:
            continue
        wide = [feature for feature, values in left[place].items() if len(values) > 1]
        if not wide:
            continue
        feature = int(random.choice(wide))
        values, default = left[place][feature], bool(random.integers(2))
        if params.features[feature] in params.domains:
            mixed = [values[at] for at in random.permutation(len(values))]
            at = int(random.integers(1, len(values)))
            lower, upper = mixed[:at], mixed[at:]
            splits[place] = Split(feature, 0, default, tuple(sorted(upper)))
        else:
            at = int(random.integers(1, len(values)))
            lower, upper = list(values[:at]), list(values[at:])
            splits[place] = Split(feature, lower[-1], default)
        for child, part in ((2 * place + 1, lower), (2 * place + 2, upper)):
            left[child] = {**left[place], feature: tuple(part)}
    return splits


def _nodes(params: BoostingParams, splits: Mapping[int, Split], total: Sum) -> dict[int, Node]:
    """All nodes of a tree with their sums, each inner one's being those of the leaves below it."""
    gradient, hessian = total["gradient"] * _width(params), total["hessian"]
    nodes: dict[int, Node] = {}

    def visit(place: int) -> Totals:
        if place not in splits:
            at = _leaf(params, place)
            totals = Totals(float(gradient[at]), max(float(hessian[at]), 0.0), 0)
            nodes[place] = Node(totals)
            return totals
        left, right = visit(2 * place + 1), visit(2 * place + 2)
        totals = Totals(left.gradient + right.gradient, left.hessian + right.hessian, 0)
        nodes[place] = Node(totals, Found(splits[place], 0.0, left, right))
        return totals

    visit(0)
    return nodes


def _value(params: BoostingParams, splitter: Splitter, totals: Totals, deviation: float) -> float:
    """A leaf's value; nought where what is known of it may be noise."""
    if totals.hessian <= _SURE * deviation:
        return 0.0
    most = _LARGEST_STEP if params.objective == "binary:logistic" else _width(params)
    return float(np.float32(np.clip(splitter.weight(totals), -most, most)) * np.float32(params.eta))
