"""What the codes of sandboxes and marginals are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "sandbox_state": {"open": _l("Sandbox open"), "closed": _l("Sandbox closed")},
    "state": {"succeeded": _l("Succeeded"), "offered": _l("Waits for the department")},
    "action": {
        "shut": _l("Close the sandbox"),
        "open_again": _l("Open again"),
        "record_success": _l("Record success"),
        "record_failure": _l("Record failure"),
        "send": _l("Send"),
        "retract": _l("Take back"),
    },
    "marginals_method": {"measured": _l("Measured at the node, with noise, small cells left out"), "declared": _l("Written by hand")},
    "what": {"sandbox": _l("sandbox"), "sandbox_run": _l("run in a sandbox"), "marginals": _l("distribution")},
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
