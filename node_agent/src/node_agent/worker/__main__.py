"""``python -m node_agent.worker FD``: the process that workers of developers' apps are forked from, started by the agent, never by hand."""

from __future__ import annotations

import sys

from node_agent.worker.nursery import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]))
