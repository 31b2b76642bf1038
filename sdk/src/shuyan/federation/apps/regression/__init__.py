"""Federated generalised linear models: linear, logistic, multinomial and Poisson, by Newton's method on secure sums.

The estimate is the one the pooled data would give: each round sums exact gradients and Hessians, so nothing is lost to
averaging models. Without a penalty there are standard errors, tests and intervals; with one (ridge, lasso, elastic net)
there are none, as the estimates are biased. What cannot be estimated (constant, collinear or separated terms) is told in the
result's ``warnings``. Preprocessing and evaluation are :mod:`shuyan.federation.learning`'s.

Progress codes besides the grid's: ``standardised``, ``round_loss``, ``converged`` (rounds), ``not_converged`` (rounds).
"""

from __future__ import annotations

from shuyan.federation.apps.regression._app import app
from shuyan.federation.apps.regression._params import RegressionParams
from shuyan.scoring import score

__all__ = ["RegressionParams", "app", "score"]
