"""``shuyan orders``, ``pay`` and ``invoice``."""

from __future__ import annotations

from typing import Annotated

import typer

from shuyan._text import t
from shuyan.cli._common import AsJson, Limit, console, market, print_json, print_table, word, yuan


def add_to(app: typer.Typer) -> None:
    app.command("orders", help=t("查看本单位的订单。", "List your organisation's orders."))(orders)
    app.command("pay", help=t("用银行卡支付一个订单：给出 Stripe 的付款页面地址。", "Pay an order by card: the address of Stripe's page to do it on."))(pay)
    app.command("invoice", help=t("预览一个订单的账单和收益分成（JSON）。", "Preview an order's invoice and how it is shared, as JSON."))(invoice)


def orders(context: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    with market(context) as entered:
        found = [*entered.orders.list(limit=limit)]
    if as_json:
        return print_json(found)
    return print_table([t("编号", "id"), t("订单号", "number"), t("产品", "product"), t("金额", "amount"), t("状态", "status")],
                       [(o.id, o.number, o.product_id, yuan(o.amount_fen, o.currency), word("state", o.status)) for o in found], numeric=(3,))


def pay(context: typer.Context, id: Annotated[str, typer.Argument(help=t("订单编号。", "Order id."), metavar="ID")],
        as_json: AsJson = False) -> None:
    with market(context) as entered:
        card = entered.orders.pay_by_card(id)
    if as_json:
        return print_json(card)
    console.print(t("请在浏览器中打开以下地址付款（{amount}，一小时内有效）：", "Open this address in a browser to pay {amount}, within the hour:",
                    amount=yuan(card.amount_fen, card.currency)))
    return typer.echo(card.url or "")


def invoice(context: typer.Context,
            id: Annotated[str, typer.Argument(help=t("订单编号。", "Order id."), metavar="ID")]) -> None:
    with market(context) as entered:
        print_json(entered.orders.preview(id))
