"""The Shuyan SDK: find data, run federated jobs, buy and call products, and check a market without trusting it.

>>> import shuyan
>>> market = shuyan.connect("http://127.0.0.1:8700", client_id="…", client_secret="…")
>>> for resource in market.resources.list(sector="health"):
...     print(resource.title, resource.row_count)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shuyan._agreements import Agreement, Renewal, StoredFile
    from shuyan._audit import verify_evidence
    from shuyan._authorisation import (
        Change,
        Demand,
        Finding,
        Hold,
        Line,
        NodeStop,
        Opinion,
        Permission,
        Scenario,
    )
    from shuyan._client import Market, connect
    from shuyan._commerce import Product
    from shuyan._computing import Job
    from shuyan._errors import (
        ConfigurationError,
        Conflict,
        ConnectionFailed,
        ExtraMissing,
        FieldError,
        InvalidInput,
        JobFailed,
        NotAllowed,
        NotFound,
        NotSignedIn,
        ProblemResponse,
        RateLimited,
        ShuyanError,
        Unavailable,
        VerificationFailed,
    )
    from shuyan._members import Member, MemberInvitation
    from shuyan._models import (
        App,
        Budget,
        CardPayment,
        Column,
        Entitlement,
        Explanation,
        LogLine,
        Node,
        Order,
        Record,
        Resource,
        Review,
    )
    from shuyan._notices import Message, Objection, PublicNotice, WorkItem
    from shuyan._programs import AppSubmission
    from shuyan._registration import CreditHit, Partner, Registration, Shareholding
    from shuyan._results import Model, Result
    from shuyan._sandbox import Sandbox, Trial, sandbox
    from shuyan._sandboxes import Marginals, SandboxInfo, SandboxRun
    from shuyan._selections import Application, Selection
    from shuyan.trust.bundle import Verified

__version__ = "0.1.0"

__all__ = [
    "Agreement",
    "App",
    "AppSubmission",
    "Application",
    "Budget",
    "CardPayment",
    "Change",
    "Column",
    "ConfigurationError",
    "Conflict",
    "ConnectionFailed",
    "CreditHit",
    "Demand",
    "Entitlement",
    "Explanation",
    "ExtraMissing",
    "FieldError",
    "Finding",
    "Hold",
    "InvalidInput",
    "Job",
    "JobFailed",
    "Line",
    "LogLine",
    "Marginals",
    "Market",
    "Member",
    "MemberInvitation",
    "Message",
    "Model",
    "Node",
    "NodeStop",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "Objection",
    "Opinion",
    "Order",
    "Partner",
    "Permission",
    "ProblemResponse",
    "Product",
    "PublicNotice",
    "RateLimited",
    "Record",
    "Registration",
    "Renewal",
    "Resource",
    "Result",
    "Review",
    "Sandbox",
    "SandboxInfo",
    "SandboxRun",
    "Scenario",
    "Selection",
    "Shareholding",
    "ShuyanError",
    "StoredFile",
    "Trial",
    "Unavailable",
    "VerificationFailed",
    "Verified",
    "WorkItem",
    "connect",
    "sandbox",
    "verify_evidence",
]

# Loaded when first asked for: whoever only needs shuyan.problems or shuyan.trust, as a node does, pays for no HTTP client.
_HOMES = {
    "_agreements": ("Agreement", "Renewal", "StoredFile"),
    "_audit": ("verify_evidence",),
    "_authorisation": ("Change", "Demand", "Finding", "Hold", "Line", "NodeStop", "Opinion", "Permission", "Scenario"),
    "_client": ("Market", "connect"),
    "_commerce": ("Product",),
    "_computing": ("Job",),
    "_errors": ("ConfigurationError", "Conflict", "ConnectionFailed", "ExtraMissing", "FieldError", "InvalidInput", "JobFailed", "NotAllowed", "NotFound", "NotSignedIn", "ProblemResponse", "RateLimited", "ShuyanError", "Unavailable", "VerificationFailed"),
    "_members": ("Member", "MemberInvitation"),
    "_notices": ("Message", "Objection", "PublicNotice", "WorkItem"),
    "_programs": ("AppSubmission",),
    "_registration": ("CreditHit", "Partner", "Registration", "Shareholding"),
    "_results": ("Model", "Result"),
    "_sandbox": ("Sandbox", "Trial", "sandbox"),
    "_sandboxes": ("Marginals", "SandboxInfo", "SandboxRun"),
    "_selections": ("Application", "Selection"),
    "_models": ("App", "Budget", "CardPayment", "Column", "Entitlement", "Explanation", "LogLine", "Node", "Order", "Record", "Resource", "Review"),
    "trust.bundle": ("Verified",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'shuyan' has no attribute {name!r}")
    value: object = getattr(import_module(f"shuyan.{_HOME[name]}"), name)
    if _HOME[name].startswith("_"):
        value.__module__ = "shuyan"  # a member of this module, not of the private one it is written in
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
