"""Decisions about registration, without I/O: lifecycles, powers, what must be there.

Guizhou (2025), part 3 (3): an organisation becomes a developer by registration and public notice. Shuozhou, art. 2 (1): sound
operation and credit, on none of the lists of dishonest persons, of serious tax offences and of serious procurement offences,
no considerable security incident in three years. Liuzhou, basic principles: the qualification of whoever uses data is examined
for each. Yinchuan and Guangxi ask for a regulated, supervised market of qualified parties.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from marketplace.db import storable
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition
from marketplace.registration.errors import REASON_NEEDED
from shuyan.problems import ProblemError

PARTIES: Final = ("developer", "consumer")
"""Who registers itself."""
_OWN: Final = {"own": True, "before_active": True, "scope": "register", "roles": ("admin", "handler")}

REGISTRATION: Final = Lifecycle("registration", "draft", (
    transition("edit", "draft", "draft", PARTIES, **_OWN),  # type: ignore[arg-type]
    transition("edit", "returned", "returned", PARTIES, **_OWN),  # type: ignore[arg-type]
    transition("submit", ("draft", "returned"), "submitted", PARTIES, Tag.REGISTRATION_SUBMITTED, **_OWN),  # type: ignore[arg-type]
    transition("withdraw", ("draft", "returned", "submitted", "checking", "blocked"), "withdrawn", PARTIES,
               Tag.REGISTRATION_WITHDRAWN, **_OWN),  # type: ignore[arg-type]
    transition("reapply", ("withdrawn", "refused"), "draft", PARTIES, Tag.REGISTRATION_REOPENED, **_OWN),  # type: ignore[arg-type]
    transition("check", ("submitted", "checking"), "checking", "operator", scope="operate", roles="handler"),
    transition("return", ("submitted", "checking"), "returned", "operator", Tag.REGISTRATION_RETURNED, scope="operate"),
    transition("refuse", ("submitted", "checking", "blocked"), "refused", "operator", Tag.REGISTRATION_REFUSED,
               scope="operate", roles="reviewer"),
    transition("accept", "checking", "noticed", "operator", Tag.REGISTRATION_ACCEPTED, scope="operate", roles="reviewer"),
    transition("block", ("submitted", "checking", "noticed"), "blocked", "system", Tag.REGISTRATION_BLOCKED),
    transition("unblock", "blocked", "checking", "system", Tag.REGISTRATION_UNBLOCKED),
    transition("object", "noticed", "refused", "system", Tag.REGISTRATION_REFUSED),
    transition("activate", ("noticed", "submitted", "checking"), "registered", "system", Tag.REGISTRATION_ACTIVATED),
    transition("expire", ("draft", "returned"), "withdrawn", "system", Tag.REGISTRATION_WITHDRAWN),
), final=frozenset({"registered"}), way=("draft", "submitted", "checking", "noticed", "registered"))

STANDING: Final = Lifecycle("standing", "pending", (
    transition("activate", "pending", "active", "system", Tag.STANDING_CHANGED),
    transition("suspend", "active", "suspended", "data_authority", Tag.STANDING_CHANGED, scope="grants", roles="reviewer"),
    transition("suspend", "active", "suspended", "system", Tag.STANDING_CHANGED),
    transition("resume", "suspended", "active", "data_authority", Tag.STANDING_CHANGED, scope="grants", roles="reviewer"),
    transition("resume", "suspended", "active", "system", Tag.STANDING_CHANGED),
    transition("end", ("active", "suspended"), "ended", "data_authority", Tag.STANDING_CHANGED, scope="grants", roles="reviewer"),
    transition("end", ("active", "suspended"), "ended", PARTIES, Tag.STANDING_CHANGED, own=True, before_active=True, roles="admin"),
    transition("bar", ("pending", "active", "suspended"), "barred", "data_authority", Tag.STANDING_CHANGED, scope="grants",
               roles="reviewer"),
), final=frozenset({"ended", "barred"}), way=("pending", "active"))

HIT: Final = Lifecycle("credit_hit", "flagged", (
    transition("confirm", "flagged", "blocking", ("operator", "data_authority"), Tag.CREDIT_DECIDED, scope="operate", roles="reviewer"),
    transition("dismiss", "flagged", "dismissed", ("operator", "data_authority"), Tag.CREDIT_DECIDED, scope="operate", roles="reviewer"),
    transition("remove", "blocking", "removed", "system"),
    transition("remove", "flagged", "lifted", "system"),
    transition("return", "removed", "blocking", "system", Tag.CREDIT_FOUND),
    transition("lift", "removed", "lifted", ("operator", "data_authority"), Tag.CREDIT_DECIDED, scope="operate", roles="reviewer"),
), final=frozenset({"lifted", "dismissed"}), way=("flagged", "blocking", "removed", "lifted"))

PARTNER: Final = Lifecycle("partner_filing", "draft", (
    transition("edit", "draft", "draft", "operator", own=True, scope="operate", roles="handler"),
    transition("edit", "returned", "returned", "operator", own=True, scope="operate", roles="handler"),
    transition("submit", ("draft", "returned"), "submitted", "operator", Tag.PARTNER_SUBMITTED, own=True, scope="operate",
               roles="handler"),
    transition("withdraw", ("draft", "returned", "submitted"), "withdrawn", "operator", Tag.PARTNER_DECIDED, own=True,
               scope="operate", roles="handler"),
    transition("return", "submitted", "returned", "data_authority", Tag.PARTNER_DECIDED, scope="grants", roles=("handler", "reviewer")),
    transition("refuse", "submitted", "refused", "data_authority", Tag.PARTNER_DECIDED, scope="grants", roles="reviewer"),
    transition("accept", "submitted", "noticed", "data_authority", Tag.PARTNER_DECIDED, scope="grants", roles="reviewer"),
    transition("file", "noticed", "filed", "system", Tag.PARTNER_FILED),
    transition("object", "noticed", "refused", "system", Tag.PARTNER_DECIDED),
    transition("end", "filed", "ended", "operator", Tag.PARTNER_DECIDED, own=True, scope="operate", roles="reviewer"),
    transition("end", "filed", "ended", ("data_authority",), Tag.PARTNER_DECIDED, scope="grants", roles="reviewer"),
    transition("end", "filed", "ended", "system", Tag.PARTNER_DECIDED),
), final=frozenset({"withdrawn", "refused", "ended"}), way=("draft", "submitted", "noticed", "filed"))

READ: Final = power("registration.read", ("operator", "data_authority", "security_supervisor"), scope="read",
                    roles=("admin", "handler", "reviewer", "auditor"))
READ_OWN: Final = power("registration.read_own", PARTIES, own=True, before_active=True, scope="register",
                        roles=("admin", "handler", "reviewer", "finance", "auditor"))
IMPORT: Final = power("credit.import", ("operator", "data_authority", "system"), scope="operate", roles=("handler", "reviewer"))
READ_CREDIT: Final = power("credit.read", ("operator", "data_authority", "security_supervisor"), scope="read",
                           roles=("admin", "handler", "reviewer", "auditor"))
DECLARE: Final = power("ownership.declare", (*PARTIES, "operator"), own=True, before_active=True, scope="register",
                       roles=("admin", "handler"))
DECLARE_FOR: Final = power("ownership.declare_for", ("data_authority", "system"), scope="operate", roles="reviewer")
READ_OWNERSHIP: Final = power("ownership.read", ("operator", "data_authority", "security_supervisor"), scope="read",
                              roles=("admin", "handler", "reviewer", "auditor"))
FILE_PARTNER: Final = power("partner.draft", "operator", scope="operate", roles="handler")
READ_PARTNERS: Final = power("partner.read", ("operator", "data_authority", "security_supervisor"), scope="read",
                             roles=("admin", "handler", "reviewer", "auditor"))

LISTS: Final = {
    "dishonesty": ("失信被执行人和严重失信主体名单", "Dishonest persons"),
    "tax": ("重大税收违法失信主体名单", "Serious tax offences"),
    "procurement": ("政府采购严重违法失信行为记录名单", "Serious procurement offences"),
}
"""The credit lists that count (Shuozhou, art. 2 (1)), in both languages."""

QUALIFICATIONS: Final = ("business_licence", "security_level", "information_security", "data_security", "sector_licence", "other")
CHECK_ITEMS: Final = {
    "developer": ("identity", "qualifications", "evidence", "credit", "security", "ownership"),
    "consumer": ("identity", "evidence", "credit"),
}
"""What the operator's handler looks at, by party."""
MAX_TEXT: Final = 2000
MAX_QUALIFICATIONS: Final = 20
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()-]{4,24}")
_EMAIL: Final = re.compile(r"[^@\s<>\"(),;:\\\[\]]{1,64}@[^@\s<>\"(),;:\\\[\]]{1,190}\.[^@\s<>\"(),;:\\\[\]]{2,63}")


def text(value: str, field: str, *, most: int = 200, least: int = 1) -> str:
    """``value`` without spaces around. Raises ``invalid_input`` if it is too short, too long, or holds what no text should."""
    value = value.strip()
    if not least <= len(value) <= most or not storable(value) or not all(c.isprintable() or c in "\r\n\t" for c in value):
        raise ProblemError("invalid_input", field=field, reason=f"{least}–{most}")
    return value


def line(value: str, field: str, *, most: int = 200, least: int = 1) -> str:
    """As :func:`text`, and on one line."""
    value = text(value, field, most=most, least=least)
    if not value.isprintable():
        raise ProblemError("invalid_input", field=field, reason=f"{least}–{most}")
    return value


def reason(value: str) -> str:
    """A reason that has to be given. Raises ``reason_needed``."""
    try:
        return text(value, "reason", most=MAX_TEXT)
    except ProblemError:
        raise ProblemError(REASON_NEEDED, field="reason") from None


def phone(value: str) -> str:
    """Raises ``invalid_input`` for what cannot be a telephone number; none is allowed."""
    value = value.strip()
    if value and not _PHONE.fullmatch(value):
        raise ProblemError("invalid_input", field="contact_phone", reason="+86 …")
    return value


def email(value: str) -> str:
    """Raises ``invalid_input`` for what cannot be an e-mail address; none is allowed."""
    value = value.strip()
    if value and not _EMAIL.fullmatch(value):
        raise ProblemError("invalid_input", field="contact_email", reason="name@example.org")
    return value


def qualifications(values: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Checked qualifications ``{kind, number, issuer, valid_until}``; the date is ISO or "" for no end. Raises ``invalid_input``."""
    if len(values) > MAX_QUALIFICATIONS:
        raise ProblemError("invalid_input", field="qualifications", reason=f"≤ {MAX_QUALIFICATIONS}")
    out = []
    for value in values:
        if value.get("kind") not in QUALIFICATIONS:
            raise ProblemError("invalid_input", field="qualifications.kind", reason=" | ".join(QUALIFICATIONS))
        until = str(value.get("valid_until") or "")
        try:
            until = dt.date.fromisoformat(until).isoformat() if until else ""
        except ValueError:
            raise ProblemError("invalid_input", field="qualifications.valid_until", reason="YYYY-MM-DD") from None
        out.append({"kind": value["kind"], "number": line(str(value.get("number", "")), "qualifications.number", most=100),
                    "issuer": line(str(value.get("issuer", "")), "qualifications.issuer", least=0), "valid_until": until})
    return out


def missing(row: Any, files: int) -> list[str]:
    """What a registration lacks before it can be submitted, by name of the item.

    Args:
        row: the registration.
        files: how many evidence files it has.
    """
    out = [name for name in ("contact_name", "contact_phone", "contact_email") if not getattr(row, name)]
    if not files:
        out.append("evidence")
    if row.party == "developer":
        if not row.statement:
            out.append("statement")
        if not any(one["kind"] == "business_licence" for one in row.qualifications):
            out.append("business_licence")
        out += [name for name in ("no_incidents", "ownership_declared") if not getattr(row, name)]
    return out


def expired(row: Any, today: dt.date) -> dict[str, Any] | None:
    """The first qualification that is not valid any more."""
    return next((one for one in row.qualifications if one["valid_until"] and one["valid_until"] < today.isoformat()), None)


def items_open(row: Any) -> list[str]:
    """The items that nobody has checked, or that did not pass."""
    return [item for item in CHECK_ITEMS[row.party] if not row.checks.get(item, {}).get("ok")]
