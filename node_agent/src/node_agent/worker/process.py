"""What both kinds of worker process do to themselves, and how they find a table's rows."""

from __future__ import annotations

import ctypes
import resource
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shuyan.federation.inputs import TableSource
    from shuyan.federation.privacy.bounding import Bounding

_PR_SET_PDEATHSIG = 1
_MIB = 1024 * 1024


def die_with_the_agent() -> None:
    """Ask the kernel to end this process when the agent dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(memory_mb: int) -> None:
    """How much more address space this process may have than it has already."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = used + memory_mb * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def table_source(table: dict[str, Any], *, described: bool = False) -> TableSource:
    """One table of a task as DuckDB reads it.

    Args:
        described: only its name and columns are wanted; the source itself is not looked at.
    """
    from shuyan.federation.inputs import TableSource
    from shuyan.federation.schema import Column

    schema = {column["name"]: Column(**{**column, "domain": tuple(column["domain"])}) for column in table["columns"]}
    if described:
        return TableSource(table["name"], "", schema, tuple(schema))
    from node_agent.sources import reading

    found = reading(table["kind"], table["location"])
    return TableSource(table["name"], found.relation, schema, tuple(schema), found.files, found.load, found.unload,
                       bounding=_bounding(table.get("unit")))


def _bounding(unit: dict[str, Any] | None) -> Bounding | None:
    from shuyan.federation.privacy.bounding import Bounding
    from shuyan.federation.schema import Column

    if unit is None:
        return None
    column = Column(**{**unit["column"], "domain": tuple(unit["column"]["domain"])})
    return Bounding(column, int(unit["max_rows"]), unit["salt"], int(unit["max_groups"]))
