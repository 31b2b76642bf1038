"""Rate limits, counted in this process's memory; the web tier runs as one process by default."""

from __future__ import annotations

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

limiter = Limiter(key_func=get_remote_address, storage_uri="memory://", headers_enabled=True, default_limits=[])

TOKEN_LIMIT = "600 per minute"  # noqa: S105  (a rate, no secret)
FAILED_TOKEN_LIMIT = "30 per minute"  # noqa: S105  (a rate, no secret)
DEVICE_LIMIT = "30 per minute"

WEBHOOK_LIMIT = "1200 per minute"
FAILED_WEBHOOK_LIMIT = "60 per minute"

REGISTER_LIMIT = "20 per hour"
OBJECTION_LIMIT = "10 per hour"

HEADERS = {
    "RATELIMIT_HEADER_LIMIT": "RateLimit-Limit",
    "RATELIMIT_HEADER_REMAINING": "RateLimit-Remaining",
    "RATELIMIT_HEADER_RESET": "RateLimit-Reset",
    "RATELIMIT_HEADER_RETRY_AFTER_VALUE": "delta-seconds",
}
