"""The worker: the one process in which apps run. It sees one table's granted columns and returns plain vectors to the
agent, never to anybody else; the agent does not trust it and may kill it at any moment."""

from __future__ import annotations
