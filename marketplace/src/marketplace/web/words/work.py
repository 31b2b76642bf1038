"""What the things that wait for somebody are called; see :mod:`marketplace.work`."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

LABELS: dict[str, dict[str, Any]] = {
    "work": {
        "app.review": _l("Review an app"),
        "app.correct": _l("Correct an app"),
        "order.pay": _l("Pay an order"),
        "order.confirm": _l("Record a payment"),
        "order.look": _l("Look at money that does not fit"),
    },
}
