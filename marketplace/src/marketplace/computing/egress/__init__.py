"""What a candidate output must be, and what is told of it, before a person decides whether it leaves the domain.

:mod:`.checks` are conditions: what fails one is not stored at all. :mod:`.report` describes what passed them, for the
reviewer: findings with figures and a severity, by rules of :mod:`.identifiers`, :mod:`.cells` and :mod:`.memory`.
"""

from __future__ import annotations

from marketplace.computing.egress.checks import (
    KINDS,
    MAX_BYTES,
    SHAPES,
    Check,
    Model,
    Statistics,
    check_output,
    failed,
    numbers,
)
from marketplace.computing.egress.combined import Released
from marketplace.computing.egress.report import Origin, blocking, build

__all__ = ["KINDS", "MAX_BYTES", "SHAPES", "Check", "Model", "Origin", "Released", "Statistics", "blocking", "build", "check_output", "failed",
           "numbers"]
