"""Scoring one case with a delivered model; pure Python, so that a delivery service needs no numerical libraries.

Each family is a module with a ``score(content, features)`` of its own, imported when first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from shuyan.scoring._features import (
    FEATURE_LEVEL_UNKNOWN,
    FEATURE_MISSING,
    FEATURE_NOT_A_NUMBER,
    FEATURE_UNKNOWN,
)

__all__ = ["FEATURE_LEVEL_UNKNOWN", "FEATURE_MISSING", "FEATURE_NOT_A_NUMBER", "FEATURE_UNKNOWN", "score"]

FAMILIES: Final[Mapping[str, str]] = {
    "clusters": "shuyan.scoring.unsupervised",
    "components": "shuyan.scoring.unsupervised",
    "cox": "shuyan.scoring.survival",
    "linear": "shuyan.scoring.linear",
    "logistic": "shuyan.scoring.linear",
    "multinomial": "shuyan.scoring.linear",
    "poisson": "shuyan.scoring.linear",
    "boosted_trees": "shuyan.scoring.trees",
    "neural_network": "shuyan.scoring.network",
}
"""The module that scores each family of ``content["family"]``."""


def score(content: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Score one case.

    Args:
        content: a model's content as its app released it (``kind`` is ``model``).
        features: a value for every feature of the model: a number, or a level of a category.

    Returns:
        What the family gives: see its module. Every one has a number ``score``.

    Raises:
        ProblemError: ``feature_missing``, ``feature_unknown``, ``feature_not_a_number``, ``feature_level_unknown``;
            its ``field`` names the feature.
        KeyError: the family is not one this version knows.
    """
    found: dict[str, Any] = import_module(FAMILIES[content["family"]]).score(content, features)
    return found
