"""What the codes of operator selection are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "state": {
        "applying": _l("Open for applications"),
        "scoring": _l("Being scored"),
        "ranked": _l("Ranked"),
        "concluded": _l("Terms negotiated"),
        "selected": _l("Operator selected"),
        "set_aside": _l("Set aside"),
        "chosen": _l("Selected"),
        "passed_over": _l("Not selected"),
    },
    "action": {
        "publish": _l("Publish"),
        "close": _l("Close applications"),
        "rank": _l("Rank"),
        "fail": _l("End without an operator"),
        "name_expert": _l("Name an expert"),
        "dismiss_expert": _l("Take off the panel"),
        "set_aside": _l("Set aside"),
        "negotiate": _l("Begin to negotiate"),
        "next": _l("Go on to the next"),
        "conclude": _l("Terms are agreed"),
        "fall_through": _l("The agreement does not come about"),
        "recall": _l("Call back"),
        "apply": _l("Apply"),
        "score": _l("Score"),
    },
    "event": {
        "selection:selection:published": _l("Selection notice published"),
        "selection:selection:closed": _l("Applications closed"),
        "selection:selection:failed": _l("Selection ended without an operator"),
        "selection:selection:ranked": _l("Applications ranked"),
        "selection:selection:negotiating": _l("Negotiation with the first begun"),
        "selection:selection:next": _l("Negotiation with the next begun"),
        "selection:selection:concluded": _l("Negotiation concluded"),
        "selection:selection:approved": _l("Selection result approved"),
        "selection:selection:decided": _l("Operator selected by its notice"),
        "selection:selection:cancelled": _l("Selection cancelled"),
        "selection:application:submitted": _l("Application to operate submitted"),
        "selection:application:withdrawn": _l("Application to operate withdrawn"),
        "selection:application:set_aside": _l("Application to operate set aside"),
        "selection:expert:named": _l("Expert named"),
        "selection:expert:dismissed": _l("Expert taken off the panel"),
        "selection:score:given": _l("Application scored"),
    },
    "what": {
        "selection": _l("selection"),
        "application": _l("application"),
        "expert": _l("expert"),
    },
    "work": {
        "selection.publish": _l("Publish a selection notice"),
        "selection.score": _l("Score applications"),
        "selection.negotiate": _l("Negotiate with the first"),
        "selection.conclude": _l("Conclude a negotiation"),
        "selection.approve": _l("Approve a selection"),
    },
}
TONES = {"applying": "wait", "scoring": "wait", "ranked": "wait", "concluded": "wait", "selected": "good", "chosen": "good", "set_aside": "bad"}
