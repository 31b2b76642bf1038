"""What the codes of programs and connected apps are called."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "permission": {
        "objections": _l("object to the quality of data"),
    },
    "event": {
        "parties:client:secret_replaced": _l("Program's secret replaced"),
    },
}
