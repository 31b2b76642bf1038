"""Problems of the pricing domain."""

from __future__ import annotations

from shuyan.problems import define

BAD_PRICE = define(
    "price_invalid", 422, zh="{field} 必须是 {minimum} 到 {maximum} 之间的整数{unit_zh}。",
    en="{field} must be an integer between {minimum} and {maximum}{unit_en}.")
