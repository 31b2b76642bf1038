"""Federated statistics: count, sum, mean, variance, by group, and histograms, in one question, or two where rows are divided."""

from __future__ import annotations

from shuyan.federation.apps.statistics._app import app
from shuyan.federation.apps.statistics._params import Histogram, StatisticsParams

__all__ = ["Histogram", "StatisticsParams", "app"]
