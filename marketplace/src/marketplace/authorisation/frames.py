"""The agreements that a demand rests on: which operation agreement covers it, and the development agreement that follows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlmodel import Session

from marketplace.authorisation import shared
from marketplace.authorisation.models import DataDemand, Scenario
from marketplace.authorisation.rules import Mode


@dataclass(frozen=True)
class Frame:
    """An operation agreement in force. ``ends_at`` ``None``: its end is not known."""

    operator_id: str
    mode: Mode = "overall"
    agreement_id: str | None = None
    ends_at: dt.datetime | None = None


def operation_for(session: Session, sector: str) -> Frame | None:
    """The operation agreement that covers a sector now, or ``None``."""
    operator = shared.first_of(session, "operator")
    return None if operator is None else Frame(operator)


def open_development(session: Session, demand: DataDemand, scenario: Scenario) -> str | None:
    """Open the development agreement of an approved demand; ``None`` where none is needed."""
    return None


def latest_end(session: Session, demand: DataDemand) -> dt.datetime | None:
    """When the first of the agreements that a demand rests on ends."""
    return None
