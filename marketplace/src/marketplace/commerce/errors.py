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
CARDS_OFF = define(
    "card_payment_off", 409, zh="本平台未开通银行卡支付，请使用对公转账。", en="This market takes no cards; please pay by bank transfer.")
CARD_AMOUNT = define(
    "card_amount_too_large", 409, zh="金额超过银行卡支付的上限（{maximum} 分），请使用对公转账。",
    en="The amount is above what can be paid by card ({maximum} fen); please pay by bank transfer.")
CARD_AWAY = define(
    "card_service_away", 503, zh="支付服务暂时无法连接，没有扣款，也没有丢失任何数据，请稍后重试。",
    en="The payment service cannot be reached for the moment. Nothing was charged and nothing is lost; please try again later.")
CARD_REFUSED = define(
    "card_service_refused", 409, zh="支付服务不接受这笔付款（{reason}），请使用对公转账，或联系运营机构。",
    en="The payment service does not take this payment ({reason}). Please pay by bank transfer, or ask the operator.")
CARD_OPEN = define(
    "card_payment_open", 409, zh="该订单有一笔银行卡支付正在进行，须先将其关闭。",
    en="A payment by card is open for this order; it has to be closed first.")
ENTITLEMENT_USED = define(
    "entitlement_used", 409, zh="该订单的权益已被调用 {calls} 次，不能退款。只有首次调用之前可以退款。",
    en="The order's entitlement has been called ({calls} calls), so it is not refunded any more: only before the first call.")
NOTHING_PAID = define("nothing_to_refund", 409, zh="该订单没有付款，无需退款。", en="Nothing was paid for this order, so nothing can be refunded.")
REFERENCE_NEEDED = define(
    "refund_reference_required", 422, zh="对公转账付款的订单须填写退款转账的银行流水号。",
    en="For an order paid by bank transfer, give the bank reference of the transfer that refunds it.")
REFERENCE_UNWANTED = define(
    "refund_reference_unwanted", 422, zh="银行卡付款由支付服务原路退回，不需要银行流水号。",
    en="A payment by card goes back by the payment service; it takes no bank reference.")
BAD_SIGNATURE = define("bad_webhook_signature", 400, zh="通知的签名无效或已过期。", en="The notification's signature is wrong or too old.")
