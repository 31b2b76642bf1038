"""What becomes of an exception in the worker: a code, and nothing else of it."""

from __future__ import annotations

from shuyan.federation import problems
from shuyan.problems import ProblemError


def code_for(error: BaseException) -> str:
    """The failure code for an exception raised while an app ran.

    Its text and arguments stay on the node: an app, or data that made it fail, could write anything into them.
    """
    if isinstance(error, ProblemError) and error.code in problems.APP_CODES:
        return error.code
    # By name, so that an agent that never runs an app need not import DuckDB.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":
        return problems.WORKER_MEMORY
    return problems.APP_FAILED
