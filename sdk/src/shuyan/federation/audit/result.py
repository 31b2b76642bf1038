"""How departments' verdicts become part of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from shuyan.federation.audit.lira import Verdict
from shuyan.federation.audit.params import FALSE_POSITIVE_RATE, MembershipAudit
from shuyan.federation.grid import SecureGrid
from shuyan.federation.ring import Floats
from shuyan.federation.vectors import VectorSpec

ACTION: Final = "evaluate.membership"
STATES: Final = {"passed": VectorSpec(limbs=1, fraction_bits=0, bound=1.0),
                 "undecided": VectorSpec(limbs=1, fraction_bits=0, bound=1.0)}
"""The whole of an answer: one of nought and one each."""


class AuditContent(BaseModel):
    """What a result says of its audit; departments are counted, never named.

    Attributes:
        departments: that tried the attack: ``passed`` + ``failed`` + ``undecided``.
        limit, confidence: what "passed" means: with that confidence, no attack recognises a larger share of the rows
            trained on while it takes one in a hundred of the others for such.
        shadow_models: of each department.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    method: Literal["lira"]
    departments: int = Field(ge=1)
    passed: int = Field(ge=0)
    failed: int = Field(ge=0)
    undecided: int = Field(ge=0)
    limit: float = Field(gt=0, le=1, allow_inf_nan=False)
    false_positive_rate: float = Field(gt=0, lt=1, allow_inf_nan=False)
    confidence: float = Field(gt=0, lt=1, allow_inf_nan=False)
    shadow_models: int = Field(ge=1)


def needs_rows_held_out(audit: MembershipAudit | None, share: float) -> float:
    """The share of rows to hold out: what a job asks for, or what its audit needs."""
    return audit.holdout if audit is not None and share == 0 else share


def states(verdict: Verdict) -> dict[str, Floats]:
    """A department's answer."""
    return {"passed": np.array([float(verdict.passed)]), "undecided": np.array([float(not verdict.decided)])}


def ask(grid: SecureGrid, audit: MembershipAudit | None, arrays: Mapping[str, Floats],
        config: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The audit round; what it adds to a result's content, nothing where no audit is asked for.

    Args:
        arrays, config: the trained model, as the action brings it.
    """
    if audit is None:
        return {}
    total = grid.secure_sum(ACTION, expect={"passed": 1, "undecided": 1}, config=config, arrays=arrays)
    departments, passed, undecided = (
        len(total.participants), total.integers("passed")[0], total.integers("undecided")[0])
    failed = departments - passed - undecided
    grid.tell("membership_audited", departments=departments, passed=passed, failed=failed, undecided=undecided)
    return {"audit": {
        "method": "lira", "departments": departments, "passed": passed, "failed": failed, "undecided": undecided,
        "limit": audit.limit, "false_positive_rate": FALSE_POSITIVE_RATE, "confidence": audit.confidence,
        "shadow_models": audit.models}}
