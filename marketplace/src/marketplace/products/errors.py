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
BAD_TEXT = define(
    "product_text_invalid", 422, zh="“{field}”须为 {minimum}–{maximum} 个字符，且不含控制字符。",
    en="{field} must have {minimum} to {maximum} characters, and no control characters.")
TEXTS_IN_USE = define(
    "product_texts_in_use", 409, zh="产品在售或其版本正在审核，说明不能修改；请先暂停产品或撤回版本。",
    en="The product is on sale or a version is in review, so its texts cannot be changed; suspend it or withdraw the version first.")
TEXTS_CHANGED = define(
    "product_texts_changed", 409, zh="产品说明在审核后有改动，请以同一成果提交新版本，经合规审核后再上架。",
    en="The texts were changed after they were reviewed: submit a new version, of the same result, for compliance review.")
TESTS_NOT_PASSED = define(
    "tests_not_passed", 409, zh="当前版本最近一次测试未通过，不能提交。", en="The version's latest test run did not pass, so it cannot be submitted.")
BAD_CASE = define(
    "test_case_invalid", 422, zh="测试用例无效：最多 {maximum} 个，每个须为 JSON 对象且不超过 {bytes} 字节。",
    en="The test cases are not valid: at most {maximum}, each a JSON object of at most {bytes} bytes.")
OWN_VERSION = define(
    "own_version", 403, zh="提交人不能审核自己提交的版本，提交单位也不能审核自己的产品。",
    en="Who submitted a version does not review it, and neither does anybody of its own organisation.")
ALREADY_SAID = define("already_reviewed", 409, zh="贵单位已对该版本作出审核意见。", en="Your organisation has already decided on this version.")
CHECKLIST = define(
    "checklist_incomplete", 422, zh="须逐项确认审核清单，尚缺：{missing}。", en="Every item of the checklist must be confirmed; missing: {missing}.")
CHECKS_FAILED = define(
    "automatic_checks_failed", 409, zh="自动检查未通过，不能通过审核：{codes}。", en="Automatic checks failed, so the stage cannot be passed: {codes}.")
COMMENT_REQUIRED = define("version_comment_required", 422, zh="退回须说明需要修改之处。", en="Say what has to be changed when returning a version.")
REASON_REQUIRED = define("reason_required", 422, zh="请说明原因（1–{maximum} 个字符）。", en="Give the reason (1 to {maximum} characters).")
SUSPENDED_BY_MARKET = define(
    "suspended_by_market", 409, zh="该产品由监管方暂停，须由其恢复上架。", en="This product was suspended by those who oversee the market, who alone put it back.")
GRANT_ENDED = define(
    "product_grant_ended", 409, zh="该版本所依据的授权已终止或到期，不能上架。", en="The grant behind this version has ended, so it cannot be listed.")
NOT_RETIRED = define("product_not_retired", 404, zh="该产品尚未退市，没有处置证明。", en="This product is not retired, so there is no certificate of disposal.")
REPORT_FONT = define(
    "report_font_missing", 503, zh="服务器未安装中文字体，暂时无法生成报告，请联系运营机构。",
    en="No font with Chinese characters is installed on the server, so the report cannot be made; tell the operator.")
REPORT_FAILED = define("report_failed", 500, zh="报告生成失败，请稍后再试。", en="The report could not be made; try again later.")
NOT_A_REPORT = define("not_a_report", 409, zh="该产品不以数据报告形式交付。", en="This product is not delivered as a report.")
