"""The views, a module for each kind of work; importing this package attaches them all."""

from __future__ import annotations

from marketplace.web.views import (
    account,
    agreements,
    apps,
    audit,
    budgets,
    demandform,
    demands,
    grants,
    home,
    jobs,
    nodes,
    opinions,
    orders,
    programs,
    reviews,
    scenarios,
    selections,
    selling,
    sql,
    store,
)

__all__ = [
    "account",
    "agreements",
    "apps",
    "audit",
    "budgets",
    "demandform",
    "demands",
    "grants",
    "home",
    "jobs",
    "nodes",
    "opinions",
    "orders",
    "programs",
    "reviews",
    "scenarios",
    "selections",
    "selling",
    "sql",
    "store",
]
