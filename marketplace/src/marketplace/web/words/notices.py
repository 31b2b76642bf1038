"""What the codes of notices and deadlines are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "state": {
        "open": _l("Open"),
        "passed": _l("Passed"),
        "upheld": _l("Upheld"),
        "dismissed": _l("Dismissed"),
    },
    "action": {
        "uphold": _l("Uphold"),
        "dismiss": _l("Dismiss"),
        "retry": _l("Send again"),
    },
    "event": {
        "notices:notice:published": _l("Public notice given"),
        "notices:notice:passed": _l("Public notice passed"),
        "notices:notice:upheld": _l("Public notice ended by an upheld objection"),
        "notices:notice:withdrawn": _l("Public notice withdrawn"),
        "notices:objection:made": _l("Objection made"),
        "notices:objection:answered": _l("Objection answered"),
        "notices:mail:retried": _l("Mail sent once more"),
    },
    "mail_state": {
        "queued": _l("Waiting to be sent"),
        "sending": _l("Being sent"),
        "sent": _l("Handed over"),
        "unsure": _l("Not known whether sent"),
        "failed": _l("Not delivered"),
    },
    "notice_kind": {
        "registration": _l("Registration of a developer"),
        "partner": _l("Filing of a partner"),
        "selection": _l("Selection of an operator"),
        "agreement": _l("Agreement"),
        "price": _l("Price"),
    },
    "what": {
        "notice": _l("public notice"),
        "objection": _l("objection"),
        "file": _l("file"),
    },
}
TONES = {"open": "wait", "passed": "good", "upheld": "bad", "sending": "wait", "sent": "good", "unsure": "bad"}
