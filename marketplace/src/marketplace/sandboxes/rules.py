"""Decisions about sandboxes, without I/O: their lives, who may what, and which jobs must have been tried in one."""

from __future__ import annotations

from typing import Final

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition

APPLICANTS: Final = ("developer", "operator")

SANDBOX: Final = Lifecycle("sandbox", "open", (
    transition("shut", "open", "closed", APPLICANTS, Tag.SANDBOX_CLOSED, own=True, scope="jobs", roles="handler"),
    transition("open_again", "closed", "open", APPLICANTS, Tag.SANDBOX_OPENED, own=True, scope="jobs", roles="handler"),
), way=("open", "closed"))

RUN: Final = Lifecycle("sandbox_run", "running", (
    transition("record_success", "running", "succeeded", APPLICANTS, Tag.SANDBOX_RUN_ENDED, own=True, scope="jobs", roles="handler"),
    transition("record_failure", "running", "failed", APPLICANTS, Tag.SANDBOX_RUN_ENDED, own=True, scope="jobs", roles="handler"),
), final=frozenset({"succeeded", "failed"}), way=("running", "succeeded"))

_OFFERED: Final = ("offered", "approved", "refused", "withdrawn")

MARGINALS: Final = Lifecycle("marginals", "offered", (
    transition("approve", "offered", "approved", "source_department", Tag.MARGINALS_APPROVED, own=True, scope="review", roles="reviewer"),
    transition("refuse", "offered", "refused", "source_department", Tag.MARGINALS_REFUSED, own=True, scope="review", roles="reviewer"),
    transition("withdraw", "approved", "withdrawn", "source_department", Tag.MARGINALS_WITHDRAWN, own=True, scope="review",
               roles="reviewer"),
    # the node sends others, or takes back what it sent
    transition("send", _OFFERED, "offered", "system", Tag.MARGINALS_OFFERED),
    transition("retract", ("offered", "approved"), "withdrawn", "system", Tag.MARGINALS_WITHDRAWN),
), way=("offered", "approved", "withdrawn"))

OPEN: Final = power("sandbox.open", APPLICANTS, own=True, scope="jobs", roles="handler")
TRY: Final = power("sandbox.run", APPLICANTS, own=True, scope="jobs", roles="handler")

OVERSEERS: Final = frozenset({"system", "data_authority", "operator", "security_supervisor"})
"""Who sees that a sandbox is there and what was tried in it: those who answer for the zone."""

MAX_PARTS: Final = 64 * 1024
"""Bytes of what a job is, at most."""


def may_see(actor: Actor, owner: str) -> bool:
    """Whether ``actor`` may see a sandbox of organisation ``owner`` and its runs."""
    return actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id == owner)


def may_work(actor: Actor, owner: str) -> bool:
    """Whether ``actor`` may have the description of a sandbox: its tenant alone, and nobody in its place."""
    return actor.party == "system" or (actor.organisation_id is not None and actor.organisation_id == owner)


def must_be_tried(setting: str, built_in: bool) -> bool:
    """Whether a job of an app must have been tried in the sandbox first."""
    return setting == "all" or (setting == "own_apps" and not built_in)
