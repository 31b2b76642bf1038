"""Principal components of all departments' rows, from sums of products."""

from __future__ import annotations

from shuyan.federation.apps.components._app import app
from shuyan.federation.apps.components._params import ComponentsParams

__all__ = ["ComponentsParams", "app"]
