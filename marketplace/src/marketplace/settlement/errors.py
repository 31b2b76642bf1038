"""Problems of the settlement domain."""

from __future__ import annotations

from shuyan.problems import define

POSTING_DIFFERS = define(
    "posting_differs", 409, zh="同一记账编号已用于另一笔内容不同的分录。",
    en="This booking key was already used for a different transaction.")
