"""What the codes of sandboxes and marginals are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "sandbox_state": {"open": _l("Open"), "closed": _l("Closed")},
    "state": {"succeeded": _l("Succeeded"), "offered": _l("Waits for the department")},
    "action": {
        "close": _l("Close"),
        "reopen": _l("Open again"),
        "succeed": _l("Succeed"),
        "fail": _l("Fail"),
        "offer": _l("Send"),
        "retract": _l("Take back"),
    },
    "marginals_method": {"measured": _l("Measured at the node, with noise, small cells left out"), "declared": _l("Written by hand")},
    "work": {"marginals.decide": _l("Decide on a distribution")},
    "event": {
        "sandboxes:sandbox:opened": _l("Sandbox opened"),
        "sandboxes:sandbox:closed": _l("Sandbox closed"),
        "sandboxes:run:ended": _l("Run in a sandbox ended"),
        "sandboxes:marginals:offered": _l("Distribution sent by the node"),
        "sandboxes:marginals:approved": _l("Distribution approved for sandboxes"),
        "sandboxes:marginals:refused": _l("Distribution kept from sandboxes"),
        "sandboxes:marginals:withdrawn": _l("Distribution taken back"),
    },
}
TONES = {"succeeded": "good", "offered": "wait"}
