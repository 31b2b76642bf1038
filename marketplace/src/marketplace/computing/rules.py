"""Pure decisions of computing: the lives of jobs, reviews and nodes, and who may see what."""

from __future__ import annotations

import datetime as dt
from typing import Final

from marketplace.actor import Actor
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition

CODE_TERM: Final = dt.timedelta(hours=24)
"""How long an invitation can be used."""

MAX_ATTEMPTS: Final = 3
"""How often a job is started at most when the coordinator goes away under it."""

OVERSEERS: Final = frozenset({"system", "data_authority", "operator", "security_supervisor"})
"""Parties who see every job: they answer for the zone."""

REVIEWERS: Final = frozenset({"data_authority", "security_supervisor"})
"""Parties who see whatever wants to leave the domain. The operator does not: it may not redevelop what it carries."""
EGRESS_PARTIES: Final = ("data_authority", "industry_department", "source_department")
"""Parties of which one may have a say in what leaves; which, :mod:`.routing` tells."""

_UNDER_WAY: Final = ("queued", "running", "awaiting_approval")

JOB: Final = Lifecycle("job", "queued", (
    transition("start", "queued", "running", "system", Tag.RUN_STARTED),
    transition("finish", "running", "reviewing", "system", Tag.RUN_FINISHED),
    # the same question of the same data was answered and released before
    transition("reuse", "queued", "completed", "system", Tag.JOB_SUBMITTED),
    # a department looks at each new use of its data; nothing runs meanwhile, and it may take days
    transition("wait", "running", "awaiting_approval", "system", Tag.RUN_WAITING),
    transition("resume", "awaiting_approval", "queued", "system", Tag.USE_APPROVED),
    transition("fail", _UNDER_WAY, "failed", "system", Tag.RUN_FAILED),
    # a job is cancelled at once, but a running one when the coordinator has stopped it
    transition("cancel", _UNDER_WAY, "cancelled", ("developer", "operator", "consumer"),
               Tag.JOB_CANCELLED, own=True, scope="jobs"),
    transition("cancel", _UNDER_WAY, "cancelled", ("data_authority", "operator", "system"),
               Tag.JOB_CANCELLED, scope="operate"),
    # the last one asked let its time pass, and the authority, in its place, has approved already
    transition("time_up", "reviewing", "completed", "system", Tag.EGRESS_APPROVED),
    transition("approve", "reviewing", "completed", EGRESS_PARTIES, Tag.EGRESS_APPROVED, scope="egress", roles="reviewer"),
    transition("reject", "reviewing", "rejected", EGRESS_PARTIES, Tag.EGRESS_REJECTED, scope="egress", roles="reviewer"),
), final=frozenset({"completed", "rejected", "failed", "cancelled"}), way=("queued", "running", "reviewing", "completed"))

# 谁授权谁审核: which of these parties it is, follows from the grant; it leaves once all of them have approved
REVIEW: Final = Lifecycle("egress_review", "pending", (
    transition("time_up", "pending", "approved", "system", Tag.EGRESS_APPROVED),
    transition("approve", "pending", "approved", EGRESS_PARTIES, Tag.EGRESS_APPROVED, scope="egress", roles="reviewer"),
    transition("reject", "pending", "rejected", EGRESS_PARTIES, Tag.EGRESS_REJECTED, scope="egress", roles="reviewer"),
), final=frozenset({"approved", "rejected"}), way=("pending", "approved"))

NODE: Final = Lifecycle("node", "active", (
    transition("revoke", "active", "revoked", ("operator", "data_authority", "system"), Tag.NODE_REVOKED,
               scope="operate"),
    transition("revoke", "active", "revoked", "source_department", Tag.NODE_REVOKED, own=True, scope="operate"),
), final=frozenset({"revoked"}), way=("active", "revoked"))


INVITE: Final = power("node.invite", ("operator", "data_authority", "system"), scope="operate", roles=("handler", "admin"))
SUBMIT: Final = power("job.submit", ("developer", "operator"), scope="jobs", roles="handler")
"""Submit jobs and ask what they would cost; which ones, the grants decide."""


def may_see_job(actor: Actor, owner: str) -> bool:
    """Whether ``actor`` may see a job of organisation ``owner``: its own, or all of them for those who oversee."""
    return actor.party in OVERSEERS or (actor.organisation_id is not None and actor.organisation_id == owner)


def may_see_reviews(actor: Actor) -> bool:
    """Whether ``actor`` may look at every candidate output."""
    if actor.party == "system":
        return True
    return actor.party in REVIEWERS and (actor.scopes is None or bool(actor.scopes & {"egress", "read"}))


def may_be_asked(actor: Actor) -> bool:
    """Whether ``actor`` may look at those on which its organisation is asked to decide."""
    return actor.party in EGRESS_PARTIES and (actor.scopes is None or bool(actor.scopes & {"egress", "read"}))


def clean_text(text: str, limit: int) -> str:
    """What another organisation's machine sent as text, fit for storing: printable, at most ``limit`` characters."""
    return "".join(character for character in text[:limit] if character.isprintable())
