"""Problems of the catalogue."""

from __future__ import annotations

from typing import Final

from shuyan.problems import define

RESOURCE_INVALID: Final = define(
    "resource_invalid", 422, zh="数据资源登记有误：{field}。", en="The registered resource is not valid: {field}.")
BAD_RESOURCE_CURSOR: Final = define(
    "bad_resource_cursor", 400, zh="翻页游标无效，请从第一页重新开始。",
    en="The cursor is not valid; start from the first page.")
