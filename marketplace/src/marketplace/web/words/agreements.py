"""What the codes of agreements are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "agreement_kind": {
        "operation": _l("Operation agreement"),
        "development": _l("Development agreement"),
    },
    "mode": {
        "overall": _l("Overall authorisation"),
        "field": _l("Authorisation by field"),
        "scenario": _l("Authorisation by scenario"),
    },
    "state": {
        "negotiating": _l("In negotiation"),
        "terms_agreed": _l("Terms agreed"),
        "broken_off": _l("Not agreed on"),
        "noticed": _l("Under public notice"),
        "signing": _l("Awaiting signatures"),
        "signed": _l("Signed"),
        "effective": _l("In force"),
        "terminated": _l("Terminated"),
        "lapsed": _l("Lapsed"),
        "asked": _l("Asked for"),
        "declined": _l("Declined"),
    },
    "action": {
        "propose": _l("Hand over"),
        "counter": _l("Propose other terms"),
        "accept_terms": _l("Accept these terms"),
        "break_off": _l("Break off the negotiation"),
        "object": _l("Uphold an objection"),
        "pass": _l("Pass"),
        "sign": _l("Sign"),
        "resume": _l("Resume"),
        "terminate": _l("Terminate"),
        "lapse": _l("Lapse"),
        "ask_renewal": _l("Ask for renewal"),
        "offer": _l("Offer renewal"),
        "decline": _l("Decline"),
    },
    "term": {
        "mode": _l("Mode"),
        "resources": _l("Data resources"),
        "sectors": _l("Sectors"),
        "departments": _l("Source departments"),
        "months": _l("Term in months"),
        "until": _l("Ends"),
        "usage_fee_fen": _l("Usage fee a year"),
        "split": _l("Revenue split"),
        "conditions": _l("Further conditions"),
        "plan": _l("Emergency plan"),
        "text": _l("Text of the agreement"),
    },
    "share": {
        "treasury": _l("Treasury"),
        "operator": _l("Operator"),
        "source_departments": _l("Source departments"),
        "developer": _l("Developers"),
    },
    "event": {
        "agreements:agreement:drafted": _l("Agreement drafted"),
        "agreements:agreement:proposed": _l("Agreement handed to the other side"),
        "agreements:agreement:countered": _l("Other terms proposed"),
        "agreements:agreement:accepted": _l("Terms accepted"),
        "agreements:agreement:returned": _l("Agreement returned to negotiation"),
        "agreements:agreement:approved": _l("Agreement approved"),
        "agreements:agreement:signed": _l("Agreement signed by a side"),
        "agreements:agreement:effective": _l("Agreement in force"),
        "agreements:agreement:refused": _l("Agreement refused"),
        "agreements:agreement:withdrawn": _l("Agreement withdrawn"),
        "agreements:agreement:suspended": _l("Agreement suspended"),
        "agreements:agreement:resumed": _l("Agreement in force again"),
        "agreements:agreement:terminated": _l("Agreement terminated"),
        "agreements:agreement:lapsed": _l("Agreement lapsed"),
        "agreements:agreement:renewed": _l("Agreement renewed"),
        "agreements:renewal:asked": _l("Renewal asked for"),
        "agreements:renewal:offered": _l("Renewal offered"),
        "agreements:renewal:declined": _l("Renewal declined"),
        "agreements:renewal:withdrawn": _l("Request for renewal withdrawn"),
    },
    "what": {
        "agreement": _l("agreement"),
        "renewal": _l("request for renewal"),
    },
    "work": {
        "agreement.propose": _l("Hand over an agreement"),
        "agreement.answer": _l("Answer terms of an agreement"),
        "agreement.approve": _l("Approve an agreement"),
        "agreement.sign": _l("Sign an agreement"),
        "agreement.renewal": _l("Decide on a renewal"),
    },
}
TONES = {"negotiating": "wait", "terms_agreed": "wait", "noticed": "wait", "signing": "wait", "signed": "good", "effective": "good",
         "terminated": "bad", "broken_off": "bad", "lapsed": "bad", "asked": "wait", "declined": "bad"}
