"""``shuyan-node``: a department administrator's command line."""

from __future__ import annotations

import os

# gRPC's own notices about closed connections are no news to an administrator; must be set before it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from node_agent.cli.main import main

__all__ = ["main"]
