"""Problems of the delivery domain."""

from __future__ import annotations

from shuyan.problems import define

BAD_BODY = define(
    "bad_call_body", 422, zh="此产品的调用正文只能含有“{allowed}”，且须为对象。",
    en="A call of this product may hold only “{allowed}”, an object.")
BAD_FEATURE = define("bad_feature", 422, zh="特征“{name}”{reason_zh}。", en="Feature “{name}” {reason_en}.")
UNKNOWN_GROUP = define(
    "unknown_group", 422, zh="该产品没有按“{name}”分组的结果。", en="This product has no result grouped by “{name}”.")
