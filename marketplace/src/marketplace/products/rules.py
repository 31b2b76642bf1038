"""Decisions about products, without I/O: their lives, manifests, input schemas, price bands and registration codes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stdnum.iso7064 import mod_37_36

from marketplace.actor import ROLES
from marketplace.computing.rules import EGRESS_PARTIES
from marketplace.digests import digest
from marketplace.events import Tag
from marketplace.lifecycle import Lifecycle, power, transition
from marketplace.parties.rules import KINDS
from marketplace.products.errors import UNKNOWN_FORM, UNKNOWN_SECTOR, WRONG_OUTPUT, WRONG_TIER
from shuyan.problems import ProblemError

SECTORS = (
    "manufacturing", "agriculture", "commerce", "transport", "finance", "science", "culture_tourism", "health",
    "meteorology", "urban_governance", "livelihood", "environment",
)
FORMS = ("api", "model", "report")
SELLERS = ("operator", "developer")

MARKET: Final = frozenset({"operator", "data_authority"})
"""Who suspends other people's products, and alone puts back what they suspended."""
_LIVE: Final = ("draft", "listed", "suspended")

PRODUCT: Final = Lifecycle("product", "draft", (
    *(transition("edit", state, state, SELLERS, own=True, scope="products") for state in _LIVE),
    transition("list", _LIVE, "listed", SELLERS, Tag.PRODUCT_LISTED, own=True, scope="products"),
    transition("suspend", "listed", "suspended", SELLERS, Tag.PRODUCT_SUSPENDED, own=True, scope="products"),
    transition("suspend", "listed", "suspended", ("operator", "data_authority"), Tag.PRODUCT_SUSPENDED, scope="operate"),
    transition("suspend", "listed", "suspended", "system", Tag.PRODUCT_SUSPENDED),
    # what the market suspended, the market puts back; see listing.resume
    transition("resume", "suspended", "listed", ("operator", "data_authority"), Tag.PRODUCT_RESUMED, scope="operate", roles="reviewer"),
    transition("retire", _LIVE, "retiring", SELLERS, Tag.PRODUCT_RETIRING, own=True, scope="products", roles=("admin", "reviewer")),
    transition("retire", ("listed", "suspended"), "retiring", "data_authority", Tag.PRODUCT_RETIRING, scope="operate", roles="reviewer"),
    transition("keep", "retiring", "suspended", SELLERS, Tag.PRODUCT_KEPT, own=True, scope="products", roles=("admin", "reviewer")),
    # the notice is over: results are deleted, rights end, and the log says so
    transition("dispose", "retiring", "retired", "system", Tag.PRODUCT_RETIRED),
), final=frozenset({"retired"}), way=("draft", "listed", "retiring", "retired"))

IN_REVIEW: Final = ("security_test", "compliance_review", "egress_review")
_UNREGISTERED: Final = ("draft", "testing", "returned", *IN_REVIEW, "cleared")


def _version_life(name: str, seller: str, security: tuple[str, ...], decides: str, scope: str) -> Lifecycle:
    """The life of a version of one tier: the tiers differ in who looks at it, never in what must have happened."""
    return Lifecycle(name, "draft", (
        transition("test", ("draft", "returned", "testing"), "testing", seller, Tag.VERSION_TESTED, own=True, scope="products"),
        transition("submit", "testing", "security_test", seller, Tag.VERSION_SUBMITTED, own=True, scope="products", roles="handler"),
        *(transition("pass_security", "security_test", "compliance_review", party, Tag.VERSION_SECURITY_PASSED,
                     scope="operate" if party == "operator" else "egress", roles="reviewer") for party in security),
        *(transition("return", "security_test", "returned", party, Tag.VERSION_RETURNED,
                     scope="operate" if party == "operator" else "egress", roles="reviewer") for party in security),
        transition("pass_compliance", "compliance_review", "egress_review", decides, Tag.VERSION_COMPLIANCE_PASSED, scope=scope,
                   roles="reviewer"),
        transition("return", "compliance_review", "returned", decides, Tag.VERSION_RETURNED, scope=scope, roles="reviewer"),
        # time is up for those who have not answered, and the authority, in their place, has agreed already
        transition("time_up", "egress_review", "cleared", "system", Tag.VERSION_EGRESS_PASSED),
        # 谁授权谁审核: which of these parties it is, follows from the grant
        transition("pass_egress", "egress_review", "cleared", EGRESS_PARTIES, Tag.VERSION_EGRESS_PASSED, scope="egress",
                   roles="reviewer"),
        transition("return", "egress_review", "returned", EGRESS_PARTIES, Tag.VERSION_RETURNED, scope="egress", roles="reviewer"),
        transition("register", "cleared", "registered", decides, Tag.VERSION_REGISTERED, scope=scope, roles=("handler", "reviewer")),
        transition("list", "registered", "listed", seller, own=True, scope="products"),
        transition("withdraw", _UNREGISTERED, "withdrawn", seller, Tag.VERSION_WITHDRAWN, own=True, scope="products"),
        transition("supersede", ("registered", "listed"), "superseded", "system"),
        transition("retire", (*_UNREGISTERED, "registered", "listed", "superseded"), "retired", "system"),
    ), final=frozenset({"withdrawn", "retired"}), way=("draft", "testing", "security_test", "compliance_review", "egress_review",
                                                       "cleared", "registered", "listed"))


FIRST_TIER: Final = _version_life("first_tier_version", "operator", ("security_supervisor",), "data_authority", "egress")
SECOND_TIER: Final = _version_life("product_version", "developer", ("security_supervisor", "operator"), "operator", "operate")
"""管住一级，放开二级: nobody of the operator decides on the operator's own products."""

DRAFT: Final = power("product.draft", SELLERS, scope="products")
WATCH: Final = power("product.watch", KINDS, scope="read", roles=ROLES)


def version_life(tier: int) -> Lifecycle:
    """The lifecycle of versions of this tier."""
    return FIRST_TIER if tier == 1 else SECOND_TIER


def tier_of(party: str) -> int:
    """The tier a party's products belong to: the operator's are first tier, the developers' second.

    Raises:
        ProblemError: ``not_allowed`` for a party that sells nothing.
    """
    tiers = {"operator": 1, "developer": 2}
    if party not in tiers:
        raise ProblemError("not_allowed")
    return tiers[party]


def check_draft(party: str, tier: int | None, sector: str, form: str) -> int:
    """The product's tier, after checking that this party may draft it in this sector and form."""
    own = tier_of(party)
    if tier is not None and tier != own:
        raise ProblemError(WRONG_TIER, field="tier")
    if sector not in SECTORS:
        raise ProblemError(UNKNOWN_SECTOR, field="sector", value=sector)
    if form not in FORMS:
        raise ProblemError(UNKNOWN_FORM, field="delivery_form")
    return own


def check_output_form(form: str, output: str) -> None:
    """A model is sold as model calls, statistics as an interface or a report."""
    if (form == "model") != (output == "model"):
        raise ProblemError(WRONG_OUTPUT, form=form, output=output)


def manifest(*, product_id: str, number: int, job_id: str, output_id: str, output_digest: str, form: str,
             app: Mapping[str, str], grant: Mapping[str, str], participants: Sequence[Mapping[str, Any]], rows: int,
             content: Mapping[str, Any]) -> dict[str, Any]:
    """What a version is made of; its digest is what the registration code stands for.

    ``participants`` are ``{node_id, organisation_id, rows}``, ``rows`` being the registered size of the granted
    resources there (``None`` if unknown): secure aggregation hides who really contributed how many.
    """
    return {
        "v": 1, "product_id": product_id, "number": number, "job_id": job_id, "output_id": output_id,
        "output_digest": output_digest, "form": form, "app": dict(app), "grant": dict(grant),
        "participants": [dict(item) for item in participants], "rows": rows,
        "input_schema": input_schema(content),
    }


def manifest_digest(value: Mapping[str, Any]) -> str:
    return digest(value)


def input_schema(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a delivery call's body for this output."""
    if content.get("kind") == "model":
        properties: dict[str, Any] = {}
        for feature in content["features"]:
            if feature["type"] == "category":
                properties[feature["name"]] = {"type": "string", "enum": list(feature["levels"])}
            else:
                properties[feature["name"]] = {"type": "number"}
        features = {"type": "object", "properties": properties, "required": list(properties),
                    "additionalProperties": False}
        return {"type": "object", "properties": {"features": features}, "required": ["features"],
                "additionalProperties": False}
    dimensions: dict[str, set[str]] = {}
    for table in content.get("tables", ()):
        for cell in table["cells"]:
            for name, value in cell["group"].items():
                dimensions.setdefault(name, set()).add(str(value))
    group = {"type": "object", "additionalProperties": False,
             "properties": {name: {"type": "string", "enum": sorted(values)} for name, values in dimensions.items()}}
    return {"type": "object", "properties": {"group": group}, "additionalProperties": False}


def sample(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the product page shows before anything is bought: a few cells, or an example request."""
    if content.get("kind") == "model":
        features = {
            item["name"]: item["levels"][0] if item["type"] == "category" else round(float(item.get("mean") or 0), 3)
            for item in content["features"]
        }
        return {"request": {"features": features}}
    tables = content.get("tables", ())
    if not tables:
        return {"request": {}}
    return {"request": {}, "group_by": tables[0]["group_by"], "cells": tables[0]["cells"][:3]}


def registration_code(city: str, year: int, tier: int, serial: int) -> str:
    """A code such as ``SZ-2026-1-000001-C``: city, year, tier, serial, check character (ISO 7064 MOD 37,36).

    >>> is_registration_code(registration_code("SZ", 2026, 2, 17))
    True
    """
    body = f"{city}{year}{tier}{serial:06d}"
    return f"{city}-{year}-{tier}-{serial:06d}-{mod_37_36.calc_check_digit(body)}"


def is_registration_code(code: str) -> bool:
    """Whether the check character of a registration code is right."""
    parts = code.split("-")
    return len(parts) == 5 and bool(mod_37_36.is_valid("".join(parts)))


def serial_of(code: str | None) -> int:
    """The serial in a registration code, 0 for none."""
    return int(code.split("-")[3]) if code else 0


def year_of(now: dt.datetime) -> int:
    """The year of registration in the city's own time, UTC+8."""
    return now.astimezone(dt.timezone(dt.timedelta(hours=8))).year


BANDS: Final = ("free", "low", "middle", "high", "top")
_LIMITS: Final = ((0, "free"), (100_000, "low"), (1_000_000, "middle"), (10_000_000, "high"))


def price_band(access_fee_fen: int) -> str:
    """The facet of a price: nothing, up to a thousand yuan, ten thousand, a hundred thousand, or more."""
    return next((band for limit, band in _LIMITS if access_fee_fen <= limit), "top")
