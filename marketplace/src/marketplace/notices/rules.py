"""Decisions about notices, without I/O."""

from __future__ import annotations

import datetime as dt
from typing import Final

from marketplace.actor import ROLES
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition

NOTICE: Final = Lifecycle("public_notice", "open", (
    transition("pass", "open", "passed", "system", Tag.NOTICE_PASSED),
    transition("uphold", "open", "upheld", "data_authority", Tag.NOTICE_UPHELD, scope="operate", roles="reviewer"),
    transition("uphold", "open", "upheld", "operator", Tag.NOTICE_UPHELD, own=True, scope="operate", roles="reviewer"),
    transition("withdraw", "open", "withdrawn", "system", Tag.NOTICE_WITHDRAWN),
), final=frozenset({"passed", "upheld", "withdrawn"}), way=("open", "passed"))

OBJECTION: Final = Lifecycle("objection", "open", (
    transition("dismiss", "open", "dismissed", "data_authority", Tag.OBJECTION_ANSWERED, scope="operate", roles="reviewer"),
    transition("dismiss", "open", "dismissed", "operator", Tag.OBJECTION_ANSWERED, own=True, scope="operate", roles="reviewer"),
    transition("uphold", "open", "upheld", "data_authority", Tag.OBJECTION_ANSWERED, scope="operate", roles="reviewer"),
    transition("uphold", "open", "upheld", "operator", Tag.OBJECTION_ANSWERED, own=True, scope="operate", roles="reviewer"),
), final=frozenset({"upheld", "dismissed"}), way=("open", "dismissed"))

SEE_MAIL: Final = power("mail.see", ("operator", "data_authority"), scope="operate", roles=ROLES)
RETRY_MAIL: Final = power("mail.retry", ("operator", "data_authority"), scope="operate", roles="admin")

ANSWER: Final = power("notice.read_objections", ("data_authority", "operator", "security_supervisor"), scope="read")


def still_open(status: str, closes_at: dt.datetime, now: dt.datetime) -> bool:
    """Whether objections to a notice are taken: its end may be past before the coordinator has looked."""
    return status == "open" and closes_at > now
