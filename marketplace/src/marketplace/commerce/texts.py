"""What buyers are told of their money."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

MISMATCHED: Final = kind("order.money_mismatched", page="order:order_id", zh="订单 {number} 的银行卡到账金额与订单不符，不作为付款，将予退还。",
                  en="Money came by card for order {number} that is not what it costs: it pays nothing and will go back.")
GOES_BACK: Final = kind("order.money_goes_back", page="order:order_id", zh="订单 {number} 的款项已安排退还。", en="The money for order {number} goes back to you.")
REFUND_FAILED: Final = kind("order.refund_failed", page="order:order_id", zh="订单 {number} 的款项无法退回原卡，由运营机构转账退还。",
                     en="The money for order {number} could not be returned to the card; the operator pays it back by bank transfer.")
