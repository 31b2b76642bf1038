"""Federated logistic and linear regression with a ridge penalty, fitted by Newton's method on secure sums.

The estimate is the one the pooled data would give: each round sums exact gradients and Hessians, so nothing is lost to
averaging models. Progress codes besides the grid's: ``standardised``, ``converged`` (rounds), ``not_converged`` (rounds).
"""

from __future__ import annotations

from shuyan.federation.apps.regression._app import app
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.scoring import score

__all__ = ["RegressionParams", "app", "score"]
