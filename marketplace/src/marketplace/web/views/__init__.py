"""The views, a module for each kind of work; importing this package attaches them all."""

from __future__ import annotations

from marketplace.web.views import account, audit, grants, jobs, nodes, orders, reviews, selling, store

__all__ = ["account", "audit", "grants", "jobs", "nodes", "orders", "reviews", "selling", "store"]
