"""Problems of the metering domain."""

from __future__ import annotations

from shuyan.problems import define

NOT_COUNTED = define(
    "call_not_counted", 503, zh="本次调用未能计量，因此没有交付，也不收费。请用同一 Idempotency-Key 重试。",
    en="The call could not be counted, so nothing was delivered or charged. Retry with the same Idempotency-Key.")
