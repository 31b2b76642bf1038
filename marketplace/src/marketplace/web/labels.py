"""What the codes of the database are called on a page: states, parties, sectors, actions, forms, apps."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

from marketplace.web.applabels import APP_LABELS

_LABELS: dict[str, dict[str, Any]] = {
    **APP_LABELS,
    "party": {
        "data_authority": _l("Data authority"),
        "source_department": _l("Source department"),
        "operator": _l("Operator"),
        "developer": _l("Developer"),
        "industry_department": _l("Industry department"),
        "security_supervisor": _l("Security supervisor"),
        "finance_department": _l("Finance department"),
        "consumer": _l("Consumer"),
        "public": _l("The public"),
        "system": _l("System"),
    },
    "sector": {
        "manufacturing": _l("Manufacturing"),
        "agriculture": _l("Agriculture"),
        "commerce": _l("Commerce"),
        "transport": _l("Transport"),
        "finance": _l("Financial services"),
        "science": _l("Science and technology"),
        "culture_tourism": _l("Culture and tourism"),
        "health": _l("Health"),
        "meteorology": _l("Emergency and weather"),
        "urban_governance": _l("Urban governance"),
        "livelihood": _l("Social security and livelihood"),
        "environment": _l("Environment"),
    },
    "form": {
        "api": _l("Data API"),
        "model": _l("Model scoring"),
        "report": _l("Data report"),
        "statistics": _l("Statistics"),
    },
    "state": {
        "draft": _l("Draft"),
        "registered": _l("Registered"),
        "listed": _l("On sale"),
        "suspended": _l("Suspended"),
        "retired": _l("Retired"),
        "superseded": _l("Superseded"),
        "awaiting_payment": _l("Awaiting payment"),
        "paid": _l("Paid"),
        "cancelled": _l("Cancelled"),
        "queued": _l("Queued"),
        "running": _l("Running"),
        "awaiting_approval": _l("Awaiting a department's approval"),
        "reviewing": _l("In egress review"),
        "finished": _l("Finished"),
        "completed": _l("Completed"),
        "failed": _l("Failed"),
        "interrupted": _l("Interrupted"),
        "pending": _l("Pending"),
        "approved": _l("Approved"),
        "rejected": _l("Rejected"),
        "submitted": _l("Submitted"),
        "granted": _l("Granted"),
        "refused": _l("Refused"),
        "proposed": _l("Proposed"),
        "authorised": _l("Authorised"),
        "active": _l("Active"),
        "revoked": _l("Revoked"),
        "expired": _l("Expired"),
        "ended": _l("Ended"),
        "withdrawn": _l("Withdrawn"),
        "returned": _l("Returned for changes"),
        "accepted": _l("Accepted"),
        "connected": _l("Connected"),
        "offline": _l("Offline"),
    },
    "action": {
        "cancel": _l("Cancel"),
        "approve": _l("Approve"),
        "reject": _l("Reject"),
        "list": _l("Put on sale"),
        "suspend": _l("Suspend"),
        "register": _l("Register"),
        "record_payment": _l("Record payment"),
        "submit_demand": _l("Submit a data demand"),
        "withdraw": _l("Withdraw"),
        "revoke": _l("Revoke"),
        "grant": _l("Grant access"),
        "refuse": _l("Refuse"),
        "edit": _l("Edit"),
        "return": _l("Return for changes"),
        "accept": _l("Accept"),
        "retire": _l("Retire"),
    },
    "what": {
        "job": _l("job"),
        "product": _l("product"),
        "order": _l("order"),
        "grant": _l("grant"),
        "demand": _l("data demand"),
        "scenario": _l("scenario"),
        "node": _l("node"),
        "resource": _l("data resource"),
        "review": _l("egress review"),
        "version": _l("product version"),
        "result": _l("result"),
        "organisation": _l("organisation"),
        "page": _l("page"),
        "app": _l("app"),
        "checkpoint": _l("checkpoint"),
        "subject": _l("record"),
    },
    "grade": {
        "1": _l("Grade 1 (open)"),
        "2": _l("Grade 2 (internal)"),
        "3": _l("Grade 3 (sensitive)"),
        "4": _l("Grade 4 (core)"),
    },
    "approval": {
        "manual": _l("Each task approved by the department"),
        "automatic": _l("Approved automatically within the grant"),
    },
    "type": {
        "integer": _l("Integer"),
        "number": _l("Number"),
        "string": _l("Text"),
        "boolean": _l("Yes or no"),
        "date": _l("Date"),
        "timestamp": _l("Date and time"),
    },
    "share": {
        "treasury": _l("Treasury"),
        "operator": _l("Operator"),
        "source_departments": _l("Source departments"),
        "source_department": _l("Source department"),
        "developer": _l("Developer"),
    },
    "method": {
        "bank_transfer": _l("Bank transfer"),
    },
    "measure": {
        "count": _l("Observations"),
        "sum": _l("Sum"),
        "mean": _l("Mean"),
        "variance": _l("Variance"),
        "sd": _l("Standard deviation"),
        "rows": _l("Records"),
    },
    "event": {
        "parties:organisation:registered": _l("Organisation registered"),
        "parties:client:created": _l("API client created"),
        "parties:client:revoked": _l("API client revoked"),
        "computing:node:invited": _l("Node invited"),
        "computing:node:enrolled": _l("Node enrolled"),
        "computing:node:revoked": _l("Node revoked"),
        "catalogue:resource:registered": _l("Data resource registered"),
        "catalogue:resource:changed": _l("Data resource changed"),
        "catalogue:resource:withdrawn": _l("Data resource withdrawn"),
        "authorisation:scenario:proposed": _l("Scenario proposed"),
        "authorisation:scenario:withdrawn": _l("Scenario withdrawn"),
        "authorisation:demand:submitted": _l("Data demand submitted"),
        "authorisation:demand:refused": _l("Data demand refused"),
        "authorisation:demand:withdrawn": _l("Data demand withdrawn"),
        "authorisation:grant:issued": _l("Grant issued"),
        "authorisation:grant:revoked": _l("Grant revoked"),
        "computing:job:submitted": _l("Job submitted"),
        "computing:job:cancelled": _l("Job cancelled"),
        "computing:run:started": _l("Run started"),
        "computing:run:finished": _l("Run finished"),
        "computing:run:failed": _l("Run failed"),
        "computing:run:waiting": _l("Run ended, awaiting approval"),
        "computing:use:approved": _l("Use approved by the department"),
        "computing:use:rejected": _l("Use rejected by the department"),
        "computing:egress:checked": _l("Egress checked automatically"),
        "computing:egress:overridden": _l("Findings of the egress report overridden"),
        "computing:egress:approved": _l("Egress approved"),
        "computing:egress:rejected": _l("Egress rejected"),
        "programs:app:submitted": _l("App submitted for review"),
        "programs:app:withdrawn": _l("App withdrawn from review"),
        "programs:app:returned": _l("App returned to its developer"),
        "programs:app:rejected": _l("App rejected"),
        "programs:app:accepted": _l("App accepted and signed"),
        "programs:app:retired": _l("App retired"),
        "products:product:drafted": _l("Product drafted"),
        "products:version:created": _l("Product version created"),
        "products:version:registered": _l("Product version registered"),
        "products:product:listed": _l("Product put on sale"),
        "products:product:suspended": _l("Product suspended"),
        "pricing:plan:set": _l("Price set"),
        "commerce:order:placed": _l("Order placed"),
        "commerce:order:cancelled": _l("Order cancelled"),
        "commerce:payment:received": _l("Payment received"),
        "commerce:entitlement:granted": _l("Entitlement granted"),
        "metering:usage:sealed": _l("Usage sealed"),
    },
}

# which colour the dot before a state has; the text itself always keeps the page's own contrast
TONES = {
    "listed": "good", "paid": "good", "finished": "good", "completed": "good", "approved": "good",
    "granted": "good", "accepted": "good", "active": "good", "connected": "good", "registered": "info", "running": "info",
    "queued": "wait", "awaiting_approval": "wait", "awaiting_payment": "wait", "pending": "wait", "reviewing": "wait",
    "submitted": "wait", "returned": "wait", "proposed": "wait", "failed": "bad", "rejected": "bad", "refused": "bad", "revoked": "bad",
    "suspended": "bad", "interrupted": "bad", "expired": "bad", "lost": "bad",
}


def label(kind: str, code: object) -> str:
    """What ``code`` of ``kind`` is called in the reader's language; an unknown code is shown as it is."""
    return str(_LABELS.get(kind, {}).get(str(code), code))


def choices(kind: str) -> list[tuple[str, str]]:
    """(code, label) pairs of a kind, in the order of the domain."""
    return [(code, str(text)) for code, text in _LABELS[kind].items()]


def known(kind: str) -> set[str]:
    """The codes of a kind that have a label."""
    return set(_LABELS[kind])
