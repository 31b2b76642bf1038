"""Problems of the delivery domain."""

from __future__ import annotations

from shuyan.problems import define

BAD_BODY = define(
    "bad_call_body", 422, zh="此产品的调用正文只能含有“{allowed}”，且须为对象。",
    en="A call of this product may hold only “{allowed}”, an object.")
OUT_OF_RANGE = define(
    "score_out_of_range", 422, zh="特征取值过大，无法算出有限的评分。",
    en="The features are too large for a finite score.")
UNKNOWN_GROUP = define(
    "unknown_group", 422, zh="该产品没有按“{name}”分组的结果。", en="This product has no result grouped by “{name}”.")
