"""Principal components of all departments' rows, from sums of products."""

from __future__ import annotations

from shuyan.federation.apps.components._app import ComponentsParams, app

__all__ = ["ComponentsParams", "app"]
