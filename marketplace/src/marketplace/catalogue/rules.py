"""Pure decisions of the catalogue: its vocabularies, lives and powers, the negative list, registration codes."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from stdnum.iso7064 import mod_37_36

from marketplace.clock import CITY
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition

SECTORS: Final = frozenset({
    "manufacturing", "agriculture", "commerce", "transport", "finance", "science", "culture_tourism", "health",
    "meteorology", "urban_governance", "livelihood", "environment",
})
TYPES: Final = frozenset({"integer", "number", "string", "boolean", "date", "timestamp"})
NUMERIC: Final = frozenset({"integer", "number", "boolean"})
"""Types a computation may take as numbers; a boolean counts as 0 or 1."""

CLASSIFICATIONS: Final = frozenset({"direct_identifier", "quasi_identifier", "sensitive", "free", ""})
"""How a department classifies a column; "" where it has not."""

FREQUENCIES: Final = ("realtime", "daily", "weekly", "monthly", "quarterly", "yearly", "irregular")
"""How often a resource is brought up to date."""

MEASURES: Final = ("completeness", "validity", "uniqueness", "timeliness")

# --- lives and powers ---

NEGATIVE_ENTRY: Final = Lifecycle("negative_entry", "active", (
    transition("revise", "active", "active", "data_authority", Tag.NEGATIVE_REVISED, scope="grants", roles="reviewer"),
    transition("withdraw", "active", "withdrawn", "data_authority", Tag.NEGATIVE_WITHDRAWN, scope="grants", roles="reviewer"),
), final=frozenset({"withdrawn"}), way=("active", "withdrawn"))

ENTER: Final = power("negative_entry.enter", "data_authority", scope="grants", roles="reviewer")

ELEMENT: Final = Lifecycle("element", "clear", (
    transition("contest", ("clear", "settled"), "conflict", "system", Tag.ELEMENT_CONTESTED),
    transition("clear", ("conflict", "settled"), "clear", "system", Tag.ELEMENT_CLEARED),
    transition("settle", "conflict", "settled", "data_authority", Tag.ELEMENT_SETTLED, scope="grants", roles="reviewer"),
    transition("settle", "settled", "settled", "data_authority", Tag.ELEMENT_SETTLED, scope="grants", roles="reviewer"),
), way=("clear", "conflict", "settled"))

IMPROVE: Final = power("resource.improve", "source_department", own=True, scope="egress")
"""To be asked to look into data whose quality is below what the market asks for; the work itself is done at the node."""

_OBJECTORS: Final = ("developer", "consumer", "operator", "industry_department")
RAISE: Final = power("quality_objection.raise", _OBJECTORS, scope="objections", roles=("handler", "reviewer"))

QUALITY_OBJECTION: Final = Lifecycle("quality_objection", "open", (
    # the department that is responsible
    transition("accept", ("open", "escalated"), "accepted", "source_department", Tag.QUALITY_OBJECTION_ANSWERED, own=True,
               scope="egress"),
    transition("decline", "open", "declined", "source_department", Tag.QUALITY_OBJECTION_ANSWERED, own=True, scope="egress"),
    transition("fix", ("accepted", "escalated", "ordered"), "fixed", "source_department", Tag.QUALITY_OBJECTION_FIXED, own=True,
               scope="egress"),
    # who objected
    transition("confirm", ("fixed", "declined"), "closed", _OBJECTORS, Tag.QUALITY_OBJECTION_CLOSED, own=True, scope="objections"),
    transition("reopen", "fixed", "open", _OBJECTORS, Tag.QUALITY_OBJECTION_REOPENED, own=True, scope="objections"),
    transition("dispute", "declined", "escalated", _OBJECTORS, Tag.QUALITY_OBJECTION_ESCALATED, own=True, scope="objections"),
    transition("withdraw", ("open", "accepted", "declined", "escalated"), "withdrawn", _OBJECTORS, Tag.QUALITY_OBJECTION_CLOSED,
               own=True, scope="objections"),
    # time, and whom it goes to then
    transition("escalate", ("open", "accepted", "ordered"), "escalated", "system", Tag.QUALITY_OBJECTION_ESCALATED),
    transition("order", "escalated", "ordered", "data_authority", Tag.QUALITY_OBJECTION_DECIDED, scope="grants", roles="reviewer"),
    transition("dismiss", "escalated", "closed", "data_authority", Tag.QUALITY_OBJECTION_DECIDED, scope="grants", roles="reviewer"),
), final=frozenset({"closed", "withdrawn"}), way=("open", "accepted", "fixed", "closed"))

OBJECTORS_ACTS: Final = frozenset({"confirm", "reopen", "dispute", "withdraw"})
"""What is for who objected to do; ``own`` of the rest is the responsible department."""


# --- registration codes ---

RESOURCE_KIND: Final = "R"


def registration_code(city: str, year: int, serial: int) -> str:
    """A resource's code such as ``SZ-2026-R-000001-C``: city, year, kind, serial, check character (ISO 7064 MOD 37,36).

    >>> is_registration_code(registration_code("SZ", 2026, 17))
    True
    """
    return f"{city}-{year}-{RESOURCE_KIND}-{serial:06d}-{mod_37_36.calc_check_digit(f'{city}{year}{RESOURCE_KIND}{serial:06d}')}"


def is_registration_code(code: str) -> bool:
    """Whether a resource's registration code has its form and the right check character."""
    return re.fullmatch(r"[A-Z]{2,4}-\d{4}-R-\d{6,9}-[0-9A-Z]", code) is not None and bool(mod_37_36.is_valid(code.replace("-", "")))


def serial_of(code: str | None) -> int:
    """The serial in a registration code, 0 for none."""
    return int(code.split("-")[3]) if code else 0


def year_of(now: dt.datetime) -> int:
    """The year of registration in the city's own time."""
    return now.astimezone(CITY).year


# --- the negative list ---

FIELDS_OF_COLUMNS: Final = ("name", "title", "element", "classification")
FIELDS_OF_RESOURCES: Final = ("resource_name", "resource_title")
PATTERN_FIELDS: Final = (*FIELDS_OF_COLUMNS, *FIELDS_OF_RESOURCES)


@dataclass(frozen=True)
class Hit:
    """Something asked for that the negative list bars; ``column`` is ``None`` where the whole resource is barred."""

    resource_id: str
    column: str | None
    entry_id: str
    reason: str


class Barred(Protocol):
    """What matching needs of an entry."""

    id: str
    kind: str
    resource_id: str | None
    column: str
    field: str
    pattern: str
    reason: str


class Described(Protocol):
    """What matching needs of a resource."""

    id: str
    name: str
    title: str
    title_en: str
    columns: list[dict[str, Any]]


def plain(text: str) -> str:
    """Text in the form that is compared: compatibility forms folded, lower case."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def fits(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` fits ``pattern``, in which ``*`` stands for anything; case and width make no difference."""
    escaped = plain(pattern).replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(plain(text), escaped)


def hits(entries: Iterable[Barred], resource: Described, columns: Sequence[str]) -> list[Hit]:
    """What the entries bar of these columns of a resource, in the order of the entries."""
    wanted = dict.fromkeys(columns)
    known: Mapping[str, dict[str, Any]] = {column["name"]: column for column in resource.columns}
    found = []
    for entry in entries:
        if entry.kind == "pattern" and entry.field in FIELDS_OF_COLUMNS:
            found += [Hit(resource.id, name, entry.id, entry.reason) for name in wanted
                      if fits(entry.pattern, str(known.get(name, {"name": name}).get(entry.field) or ""))]
        elif entry.kind == "pattern":
            texts = [resource.name] if entry.field == "resource_name" else [resource.title, resource.title_en]
            if any(text and fits(entry.pattern, text) for text in texts):
                found.append(Hit(resource.id, None, entry.id, entry.reason))
        elif entry.resource_id == resource.id and entry.kind == "resource":
            found.append(Hit(resource.id, None, entry.id, entry.reason))
        elif entry.resource_id == resource.id and entry.column in wanted:
            found.append(Hit(resource.id, entry.column, entry.id, entry.reason))
    return found


# --- quality ---


def overall(profile: Mapping[str, Any] | None) -> int:
    """One figure to filter and sort by: the least of what was measured, -1 if nothing was."""
    if not profile:
        return -1
    return min(int(profile[name]) for name in MEASURES if profile.get(name) is not None)


def below(report: Mapping[str, Any], least: Mapping[str, int]) -> list[str]:
    """The measures under what the market asks for."""
    return [name for name in MEASURES if report.get(name) is not None and report[name] < least[name]]
