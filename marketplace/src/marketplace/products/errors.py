"""Problems of the products domain."""

from __future__ import annotations

from shuyan.problems import define

WRONG_TIER = define(
    "wrong_tier", 422, zh="一级产品只能由运营机构发布，二级产品只能由开发主体发布（运营机构不得再开发）。",
    en="First-tier products are the operator's, second-tier products the developers'; the operator may not redevelop.")
UNKNOWN_SECTOR = define("unknown_sector", 422, zh="“{value}”不是已知的应用领域。", en="“{value}” is not a known sector.")
UNKNOWN_FORM = define(
    "unknown_delivery_form", 422, zh="交付形式只能是 api、model 或 report。",
    en="The delivery form must be api, model or report.")
WRONG_OUTPUT = define(
    "wrong_output_form", 409, zh="该任务的结果为“{output}”，不能作为“{form}”形式的产品交付。",
    en="This job's result is “{output}” and cannot be delivered as “{form}”.")
OUTPUT_USED = define(
    "output_already_used", 409, zh="该任务结果已用于此产品的第 {number} 版。",
    en="This job's result is already version {number} of this product.")
NOT_REGISTERED = define(
    "version_not_registered", 409, zh="没有已取得登记编码的新版本，不能上架。",
    en="There is no new version with a registration code, so nothing can be listed.")
NO_PRICE = define("price_missing", 409, zh="尚未设定价格，不能上架。", en="No price has been set, so the product cannot be listed.")
NOT_ON_SALE = define("product_not_listed", 409, zh="该产品未上架或已暂停。", en="This product is not listed, or suspended.")
