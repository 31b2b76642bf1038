"""Federated gradient-boosted trees: the model that XGBoost's ``hist`` method gives on the pooled rows and the same bins.

Departments add up, securely, what a boosting step needs of them: counts of rows over cells of values for the bins, then
for each level of a tree histograms of the loss's first two derivatives, of the smaller of two sibling nodes only. The
trees are grown where the sums arrive, saved in XGBoost's own format, and no leaf is about fewer rows than a result may be.
"""

from __future__ import annotations

from shuyan.federation.apps.boosting._app import app
from shuyan.federation.apps.boosting._content import BoostingContent
from shuyan.federation.apps.boosting._params import BoostingParams

__all__ = ["BoostingContent", "BoostingParams", "app"]
