"""The grown trees in XGBoost's own JSON (its document "Introduction to Model IO"; as version 3.2.0 writes it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from shuyan.federation.apps.boosting._grow import Node
from shuyan.federation.apps.boosting._params import BoostingParams
from shuyan.federation.sketch import Float32s

_VERSION: Final = [3, 2, 0]
_NO_PARENT: Final = 2**31 - 1


def short(value: float) -> float:
    """The shortest decimal that reads back as the same float32."""
    return float(str(np.float32(value)))


def xgboost_model(params: BoostingParams, rounds: Sequence[Sequence[dict[int, Node]]], cuts: Sequence[Float32s | None],
                  base_scores: Sequence[float]) -> dict[str, Any]:
    """What ``xgboost.Booster.load_model`` reads.

    Args:
        rounds: the trees by place, one a group in each round.
        cuts: by feature its cut points, None for a category.
        base_scores: one a group.
    """
    groups = params.groups()
    trees = [_tree(nodes, number, len(params.features), cuts) for number, nodes in
             enumerate(tree for trees in rounds for tree in trees)]
    # Its tree types: q a number, c a category.
    types = ["q" if found is not None else "c" for found in cuts]
    return {
        "learner": {
            "attributes": {}, "feature_names": list(params.features), "feature_types": types,
            "gradient_booster": {
                "model": {
                    "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                    "iteration_indptr": [groups * number for number in range(len(rounds) + 1)],
                    "tree_info": list(range(groups)) * len(rounds), "trees": trees,
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": "[" + ",".join(str(np.float32(score)).upper() for score in base_scores) + "]",
                "boost_from_average": "1", "num_class": str(groups if groups > 1 else 0),
                "num_feature": str(len(params.features)), "num_target": "1",
            },
            "objective": _objective(params),
        },
        "version": _VERSION,
    }


def _objective(params: BoostingParams) -> dict[str, Any]:
    if params.objective == "multi:softprob":
        return {"name": params.objective, "softmax_multiclass_param": {"num_class": str(params.groups())}}
    if params.objective == "count:poisson":
        return {"name": params.objective, "poisson_regression_param": {"max_delta_step": str(np.float32(params.delta_step()))}}
    return {"name": params.objective, "reg_loss_param": {"scale_pos_weight": "1"}}


def _tree(nodes: dict[int, Node], number: int, features: int, cuts: Sequence[Float32s | None]) -> dict[str, Any]:
    places = sorted(nodes)  # by level, as XGBoost numbers them
    ids = {place: at for at, place in enumerate(places)}
    tree: dict[str, Any] = {
        "base_weights": [], "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "default_left": [], "id": number, "left_children": [], "loss_changes": [], "parents": [], "right_children": [],
        "split_conditions": [], "split_indices": [], "split_type": [], "sum_hessian": [],
        "tree_param": {"num_deleted": "0", "num_feature": str(features), "num_nodes": str(len(nodes)),
                       "size_leaf_vector": "1"},
    }
    for place in places:
        node = nodes[place]
        split = node.found.split if node.found else None
        if split is None:
            condition, kind = node.value, 0
        elif split.right_set is None:
            condition, kind = _condition(cuts[split.feature], split.bin), 0
        else:
            condition, kind = 0.0, 1
            tree["categories_nodes"].append(ids[place])
            tree["categories_segments"].append(len(tree["categories"]))
            tree["categories_sizes"].append(len(split.right_set))
            tree["categories"] += list(split.right_set)
        for name, value in (
            ("base_weights", short(node.value)), ("default_left", int(split.left) if split else 0),
            ("left_children", ids[2 * place + 1] if split else -1), ("right_children", ids[2 * place + 2] if split else -1),
            ("loss_changes", short(node.found.gain) if node.found else 0.0),
            ("parents", ids[(place - 1) // 2] if place else _NO_PARENT), ("split_conditions", short(condition)),
            ("split_indices", split.feature if split else 0), ("split_type", kind),
            ("sum_hessian", short(node.totals.hessian)),
        ):
            tree[name].append(value)
    return tree


def _condition(cuts: Float32s | None, bin_: int) -> float:
    """What values left of the split are smaller than."""
    if cuts is None or bin_ >= len(cuts):
        return float(np.finfo(np.float32).max)  # all values go left, the missing ones right
    return float(cuts[bin_])


def importance(params: BoostingParams, rounds: Sequence[Sequence[dict[int, Node]]]) -> list[dict[str, Any]]:
    """By feature that is used, as XGBoost's ``get_score``: splits, and their mean gain and mean cover."""
    splits = [node for trees in rounds for tree in trees for node in tree.values() if node.found]
    result = []
    for place, name in enumerate(params.features):
        own = [node for node in splits if node.found and node.found.split.feature == place]
        if own:
            result.append({
                "feature": name, "weight": len(own), "gain": short(sum(node.found.gain for node in own if node.found) / len(own)),
                "cover": short(sum(node.totals.hessian for node in own) / len(own)),
            })
    return sorted(result, key=lambda entry: (-entry["gain"] * entry["weight"], entry["feature"]))
