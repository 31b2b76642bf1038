"""k-means over all departments' rows, from sums by cluster."""

from __future__ import annotations

from shuyan.federation.apps.clustering._app import ClusteringParams, app

__all__ = ["ClusteringParams", "app"]
