"""The main menu: for each reader the pages that can show something, in groups, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import request, url_for
from flask_babel import lazy_gettext as _l

_EVERYBODY: Final = frozenset({"public", "data_authority", "source_department", "operator", "developer", "industry_department",
                               "security_supervisor", "finance_department", "consumer"})


@dataclass(frozen=True)
class Entry:
    """A page in the menu.

    Attributes:
        endpoint: of the web face, without ``web.``.
        group: "" for the bar itself, else the name of a drop-down.
        parties: whose menu has it.
        also: endpoints of pages that belong under it.
    """

    endpoint: str
    text: Any
    group: str
    parties: frozenset[str]
    also: tuple[str, ...] = ()


def _entry(endpoint: str, text: Any, group: str, parties: str | frozenset[str], *also: str) -> Entry:
    return Entry(endpoint, text, group, frozenset(parties.split()) if isinstance(parties, str) else parties, also)


GROUPS: Final[dict[str, Any]] = {
    "build": _l("Build"),
    "data": _l("Data"),
    "authorise": _l("Authorisation"),
    "trade": _l("Trade"),
    "oversee": _l("Oversight"),
}

_CHAIN: Final = "data_authority source_department developer operator industry_department security_supervisor"

ENTRIES: Final = (
    _entry("home", _l("To do"), "", _EVERYBODY - {"public"}),
    _entry("store", _l("Products"), "", _EVERYBODY, "product", "sector_products", "product_changes", "disposal"),
    _entry("resources", _l("Data resources"), "data", _EVERYBODY, "resource", "departments", "department"),
    _entry("elements", _l("Authoritative sources"), "data", "data_authority source_department security_supervisor", "element"),
    _entry("negative_list", _l("Negative list"), "data", "data_authority source_department operator developer industry_department "
           "security_supervisor", "negative_entry"),
    _entry("quality_objections", _l("Objections to quality"), "data", "data_authority source_department operator developer consumer "
           "industry_department security_supervisor", "quality_objection"),
    _entry("nodes", _l("Nodes"), "data", "data_authority source_department operator security_supervisor", "node"),
    _entry("budgets", _l("Privacy budgets"), "data", "source_department developer data_authority security_supervisor"),
    _entry("selections_list", _l("Operator selection"), "authorise", _EVERYBODY, "selection", "new_selection", "selection_notice"),
    _entry("agreements_list", _l("Agreements"), "authorise", _EVERYBODY, "agreement", "new_agreement", "agreement_terms"),
    _entry("scenarios", _l("Scenarios"), "authorise", _CHAIN, "scenario", "new_scenario", "edit_scenario"),
    _entry("demands", _l("Data demands"), "authorise", _CHAIN, "demand", "new_demand", "edit_demand", "draft_demand", "save_demand"),
    _entry("grants", _l("Grants"), "authorise", _CHAIN, "grant"),
    _entry("volumes", _l("Total volume"), "authorise", "source_department data_authority operator security_supervisor"),
    _entry("sectors", _l("Industry departments"), "authorise", "data_authority operator industry_department"),
    _entry("reviews", _l("Egress reviews"), "authorise", "data_authority industry_department source_department security_supervisor", "review"),
    _entry("submissions", _l("App reviews"), "authorise",
           "developer operator source_department data_authority security_supervisor", "submission"),
    _entry("jobs", _l("Jobs"), "build", "developer operator", "job", "new_job", "submit_job", "explain_job"),
    _entry("sql", _l("SQL"), "build", "developer operator", "run_sql", "explain_sql"),
    _entry("sandboxes_list", _l("Sandboxes"), "build", "developer operator data_authority security_supervisor", "sandbox"),
    _entry("marginals_list", _l("Distributions for sandboxes"), "data", "source_department data_authority security_supervisor", "marginals"),
    _entry("app_gallery", _l("Apps"), "build", "data_authority source_department operator developer industry_department "
           "security_supervisor finance_department", "app"),
    _entry("my_products", _l("My products"), "build", "developer operator", "my_product", "new_product", "edit_product"),
    _entry("version_desk", _l("Product reviews"), "authorise", "operator data_authority industry_department source_department "
           "security_supervisor", "review_version", "version"),
    _entry("desk_products", _l("Everybody's products"), "trade", "operator data_authority security_supervisor"),
    _entry("desk_orders", _l("Payments"), "trade", "operator"),
    _entry("watched_products", _l("Followed products"), "trade", _EVERYBODY - {"public"}),
    _entry("orders", _l("My orders"), "trade", "consumer developer", "order"),
    _entry("registrations", _l("Registrations"), "oversee", "developer consumer operator data_authority security_supervisor", "registration"),
    _entry("partner_filings", _l("Partners"), "oversee", "operator data_authority security_supervisor", "partner", "new_partner", "edit_partner"),
    _entry("credit", _l("Credit lists"), "oversee", "operator data_authority security_supervisor"),
    _entry("ownership", _l("Ownership"), "oversee", "developer consumer operator data_authority security_supervisor"),
    _entry("outbox", _l("Outgoing mail"), "oversee", "operator data_authority"),
    _entry("notices_list", _l("Public notices"), "", _EVERYBODY, "notice"),
    _entry("audit", _l("Audit log"), "", _EVERYBODY, "audit_subject"),
)


def menu(party: str) -> list[dict[str, Any]]:
    """The menu of a reader of this party: entries and groups of them, the current page's marked.

    A group with one entry is that entry.
    """
    here = (request.endpoint or "").removeprefix("web.")
    out: list[dict[str, Any]] = []
    groups: dict[str, dict[str, Any]] = {}
    for entry in ENTRIES:
        if party not in entry.parties:
            continue
        item = {"href": url_for(f"web.{entry.endpoint}"), "text": str(entry.text),
                "active": here == entry.endpoint or here in entry.also}
        if not entry.group:
            out.append(item)
            continue
        if entry.group not in groups:
            groups[entry.group] = {"text": str(GROUPS[entry.group]), "entries": [], "active": False, "id": entry.group}
            out.append(groups[entry.group])
        groups[entry.group]["entries"].append(item)
        groups[entry.group]["active"] |= item["active"]
    return [item["entries"][0] if len(item.get("entries", ())) == 1 else item for item in out]
