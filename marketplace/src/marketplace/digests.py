"""Digests of JSON values, as they are written into manifests, orders and usage records."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """``sha256:<hex>`` over the JSON of ``value`` with sorted names and no spaces; refuses NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
