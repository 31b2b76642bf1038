"""What is due happens: the coordinator fires deadlines durably, a workflow for each.

A deadline's effect and its being marked as fired are one transaction (:func:`marketplace.deadlines.service.fire`), so it
happens exactly once whatever is killed in between; DBOS takes up the workflows that a killed coordinator left, and
looking again finds what none was started for. A handler that fails is tried again later, and holds up no other.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

from dbos import DBOS, SetWorkflowID

# Whoever registers what happens at a deadline is imported here, so that the coordinator knows it.
import marketplace.agreements.service
import marketplace.authorisation.service
import marketplace.catalogue.service
import marketplace.notices.service
import marketplace.products.service
import marketplace.registration.partners
import marketplace.registration.service
import marketplace.selection.service  # noqa: F401
from marketplace.db import is_unavailable, reading, transaction
from marketplace.deadlines import service as deadlines
from marketplace.logging import get_logger

log = get_logger("deadlines")

LOOK_SECONDS: Final = 1.0
"""How often what is due is looked for."""
BATCH: Final = 20
"""How many are started at a look at most."""
_AGAIN_SECONDS: Final = 10.0
"""After how long a deadline that is still due though its workflow was started gets another one: the database was away."""


class Timers:
    """Looks for what is due; part of the coordinator's poll."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}  # workflows of deadlines that are still due, and when they were started
        self._looked = float("-inf")

    def look(self) -> None:
        """Start a workflow for each deadline that is due and has none yet."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        with reading() as session:
            found = {f"deadline:{row.id}:{int(row.due_at.timestamp())}:{row.attempts}": row
                     for row in deadlines.due(session, limit=BATCH)}
        self._started = {key: at for key, at in self._started.items() if key in found}
        for key, row in found.items():
            began = self._started.get(key)
            if began is not None and now - began < _AGAIN_SECONDS:
                continue
            # DBOS runs no id twice: what a workflow that ended could not do gets a new one
            with SetWorkflowID(key if began is None else f"{key}:{secrets.token_hex(4)}"):
                DBOS.start_workflow(deadline_workflow, row.id, row.attempts)
            self._started[key] = now


@DBOS.workflow(name="deadline")  # type: ignore[untyped-decorator,unused-ignore]
def deadline_workflow(deadline_id: str, attempt: int) -> str:
    """Let one deadline happen."""
    outcome: str = fire_step(deadline_id, attempt)
    return outcome


@DBOS.step(name="fire")  # type: ignore[untyped-decorator,unused-ignore]
def fire_step(deadline_id: str, attempt: int) -> str:
    """``fired``, ``nothing_to_do``, or ``failed`` and set to be tried again; a step run twice finds nothing to do."""
    try:
        return "fired" if deadlines.fire(deadline_id) else "nothing_to_do"
    except Exception as error:
        # its text may hold what no log should
        log.error("a deadline's handler failed", deadline=deadline_id, attempt=attempt + 1, error=type(error).__name__)
        if not is_unavailable(error):  # a database that was away says nothing about the handler: it is looked for again
            with transaction() as session:
                deadlines.failed(session, deadline_id, attempt, getattr(error, "code", None) or type(error).__name__)
        return "failed"
