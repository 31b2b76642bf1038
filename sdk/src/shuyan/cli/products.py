"""``shuyan products``: the storefront, buying, and calling what was bought."""

from __future__ import annotations

from typing import Annotated

import typer

from shuyan._text import language, t
from shuyan.cli._common import (
    AsJson,
    Limit,
    console,
    market,
    print_fields,
    print_json,
    print_table,
    read_json,
    titled,
    usage_error,
    word,
    yuan,
)

app = typer.Typer(no_args_is_help=True, help=t("数据产品。", "Data products."))
ProductId = Annotated[str, typer.Argument(help=t("产品编号。", "Product id."), metavar="ID")]


@app.command("list", help=t("查看在售产品。", "List the products on sale."))
def list_products(
    context: typer.Context,
    query: Annotated[str | None, typer.Option("--query", "-q", help=t("按文字查找。", "Search for this text."))] = None,
    sector: Annotated[str | None, typer.Option(help=t("按领域筛选。", "Of this sector only."))] = None,
    form: Annotated[str | None, typer.Option(help=t("按交付形式筛选：api、model、report。", "Of this delivery form only: api, model, report."))] = None,
    band: Annotated[str | None, typer.Option(help=t("按接入费档次筛选：free、low、middle、high、top。",
                                                    "By access fee: free, low, middle, high, top."))] = None,
    sort: Annotated[str, typer.Option(help=t("排序：newest、title、price、popular。", "Order: newest, title, price, popular."))] = "newest",
    watched: Annotated[bool, typer.Option("--watched", help=t("只看本单位关注的产品。", "Only those that your organisation follows."))] = False,
    limit: Limit = 50, as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        if watched:
            found = [entered.products.get(one["id"]) for one in entered.products.watched(limit=limit)]
        else:
            found = [*entered.products.list(q=query, sector=sector, form=form, band=band, sort=sort, limit=limit)]
    if as_json:
        return print_json(found)
    return print_table([t("编号", "id"), t("名称", "title"), t("领域", "sector"), t("形式", "form"), t("状态", "status")],
                       [(p.id, titled(p), word("sector", p.sector), word("form", p.delivery_form), word("state", p.status)) for p in found])


@app.command(help=t("查看一个产品。", "Show a product."))
def show(context: typer.Context, id: ProductId, as_json: AsJson = False) -> None:
    with market(context) as entered:
        product = entered.products.get(id)
    if as_json:
        return print_json(product)
    data = product.model_dump(mode="json")
    price = data.get("price") or {}
    print_fields([
        (t("编号", "id"), product.id), (t("名称", "title"), titled(product)), (t("状态", "status"), word("state", product.status)),
        (t("简介", "summary"), data.get(f"summary_{language()}")),
        (t("开通费", "access fee"), yuan(price["access_fee_fen"]) if "access_fee_fen" in price else None),
        (t("每次调用", "per call"), yuan(price["call_fee_fen"]) if "call_fee_fen" in price else None),
        (t("含调用次数", "included calls"), price.get("included_calls")),
        (t("有效天数", "term (days)"), price.get("term_days")),
    ])
    return None


@app.command(help=t("下单购买；付款到账后即可调用。", "Order a product; it can be called once the transfer has arrived."))
def buy(
    context: typer.Context, id: ProductId,
    key: Annotated[str | None, typer.Option(help=t("幂等键：同一键只下一单。", "Idempotency key: one order per key."))] = None,
    as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        order = entered.orders.place(id, key=key)
    if as_json:
        return print_json(order)
    return console.print(t("订单 {number} 已提交，应付 {amount}。请对公转账并在附言中写明订单号 {number}。",
                           "Order {number} is placed: {amount}. Transfer it and quote {number}.",
                           number=order.number, amount=yuan(order.amount_fen, order.currency)))


@app.command(help=t("调用已购买的产品。", "Call a product you bought."))
def call(
    context: typer.Context, id: ProductId,
    features: Annotated[str | None, typer.Option(help=t("模型产品的输入：JSON、@文件 或 -。", "Input of a model: JSON, @file, or -."))] = None,
    group: Annotated[list[str] | None, typer.Option(help=t("统计产品的分组，如 district=沿河区，可重复。",
                                                           "Group of a table, like district=Yanhe; may be repeated."))] = None,
    key: Annotated[str | None, typer.Option(help=t("幂等键：同一键只计费一次。", "Idempotency key: charged once per key."))] = None,
) -> None:
    chosen = dict(item.partition("=")[::2] for item in group or ())
    if any("=" not in item for item in group or ()):
        raise usage_error(t("--group 的写法是 维度=取值。", "Write --group as dimension=value."))
    with market(context) as entered:
        print_json(entered.products.call(id, features=None if features is None else read_json(features, "--features"),
                                         group=chosen or None, key=key))


@app.command(help=t("按领域、形式、价格等统计在售产品。", "Count the products on sale by sector, form, price and more."))
def facets(
    context: typer.Context,
    query: Annotated[str | None, typer.Option("--query", "-q", help=t("按文字查找。", "Search for this text."))] = None,
    sector: Annotated[str | None, typer.Option(help=t("按领域筛选。", "Of this sector only."))] = None,
    as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        found = entered.products.facets(q=query, sector=sector)
    if as_json:
        return print_json(found)
    kinds = {"sector": "sector", "form": "form"}
    return print_table(
        [t("筛选项", "filter"), t("取值", "value"), t("数量", "count")],
        [(name, word(kinds[name], one["value"]) if name in kinds else one.get(f"name_{language()}") or one["value"], one["count"])
         for name, values in found["facets"].items() for one in values], numeric=(2,))


@app.command(help=t("查看产品变更：新版本、价格、暂停、退市。", "What changed: new versions, prices, suspensions, retirements."))
def changes(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help=t("产品编号；不填则为全部产品。", "Product id; all products without one."), metavar="ID")] = None,
    limit: Limit = 50, as_json: AsJson = False,
) -> None:
    with market(context) as entered:
        found = [*entered.products.changes(id, limit=limit)]
    if as_json:
        return print_json(found)
    return print_table([t("时间", "when"), t("编号", "id"), t("名称", "title"), t("变更", "change")],
                       [(one["at"], one["product_id"], one[f"title_{language()}"], one["kind"]) for one in found])


@app.command(help=t("关注一个产品的变更。", "Follow a product's changes."))
def watch(context: typer.Context, id: ProductId) -> None:
    with market(context) as entered:
        entered.products.watch(id)
    console.print(t("已关注 {id}。", "Following {id}.", id=id))


@app.command(help=t("不再关注一个产品。", "Do not follow a product any more."))
def unwatch(context: typer.Context, id: ProductId) -> None:
    with market(context) as entered:
        entered.products.unwatch(id)
    console.print(t("已取消关注 {id}。", "Not following {id} any more.", id=id))
