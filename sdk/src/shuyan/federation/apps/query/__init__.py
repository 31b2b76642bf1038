"""Federated SQL: one SELECT over granted resources of several departments (:mod:`shuyan.federation.sql`)."""

from __future__ import annotations

from shuyan.federation.apps.query._app import app
from shuyan.federation.apps.query._params import QueryParams, prepare

__all__ = ["QueryParams", "app", "prepare"]
