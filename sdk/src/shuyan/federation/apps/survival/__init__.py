"""Cox's proportional hazards model over all departments' rows, from sums by time."""

from __future__ import annotations

from shuyan.federation.apps.survival._app import app
from shuyan.federation.apps.survival._params import SurvivalParams

__all__ = ["SurvivalParams", "app"]
