"""``python -m node_agent.worker FD``: started by the agent, never by hand."""

from __future__ import annotations

import sys

from node_agent.worker.main import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]))
