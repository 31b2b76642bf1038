"""The views, a module for each kind of work; importing this package attaches them all."""

from __future__ import annotations

from marketplace.web.views import account

__all__ = ["account"]
