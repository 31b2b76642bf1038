"""``shuyan-node``: a department administrator's command line."""

from __future__ import annotations

from node_agent.cli.main import main

__all__ = ["main"]
