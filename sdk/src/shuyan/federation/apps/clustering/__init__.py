"""k-means over all departments' rows, from sums by cluster."""

from __future__ import annotations

from shuyan.federation.apps.clustering._app import app
from shuyan.federation.apps.clustering._params import ClusteringParams

__all__ = ["ClusteringParams", "app"]
