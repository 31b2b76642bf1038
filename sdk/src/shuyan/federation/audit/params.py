"""What a job says of its audit."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

FALSE_POSITIVE_RATE: Final = 0.01
"""Rows held out that an attacker may take for rows trained on. Attacks are judged here and not on average: a few rows
recognised for sure do more harm than many guessed slightly better than by tossing a coin."""


class MembershipAudit(BaseModel):
    """Ask for an audit, and say what passes it.

    Attributes:
        holdout: the share of rows that are not trained on, where the job holds out none for another reason.
        limit: the largest share of the rows trained on that an attacker may recognise.
        models: shadow models of each department.
        confidence: with which a department that answers "passed" can say so.
        seed: of the halves that shadow models are trained on.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    holdout: float = Field(default=0.1, gt=0, le=0.5, allow_inf_nan=False)
    limit: float = Field(default=0.05, ge=0.02, le=0.5, allow_inf_nan=False)
    models: int = Field(default=16, ge=4, le=64, multiple_of=2)
    confidence: float = Field(default=0.95, ge=0.8, le=0.999, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**53)
