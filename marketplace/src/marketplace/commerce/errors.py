"""Problems of the commerce domain."""

from __future__ import annotations

from shuyan.problems import define

AMOUNT_DIFFERS = define(
    "amount_differs", 409, zh="到账金额须与订单金额一致：应为 {expected} 分，登记为 {received} 分。",
    en="The amount received must equal the order's: {expected} fen expected, {received} fen recorded.")
REFERENCE_USED = define(
    "bank_reference_used", 409, zh="该银行流水号已登记在另一笔付款上。",
    en="This bank reference is already recorded for another payment.")
NOT_ENTITLED = define(
    "not_entitled", 403, zh="贵单位没有该产品的有效权益，请先购买或续期。",
    en="Your organisation holds no valid entitlement to this product; buy or renew it first.")
BAD_REFERENCE = define(
    "bad_bank_reference", 422, zh="银行流水号须为 4–64 个字符。", en="A bank reference has 4 to 64 characters.")
