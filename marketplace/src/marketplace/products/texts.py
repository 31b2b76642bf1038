"""What messages about products say."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

VERSION_WAITING: Final = kind(
    "version_waiting", zh="产品“{title_zh}”第 {number} 版待贵单位审核", en="Version {number} of “{title_en}” waits for your review",
    page="review_version:version_id")
VERSION_OVERDUE: Final = kind(
    "version_overdue", zh="产品“{title_zh}”第 {number} 版的出域审核已逾期，由数据主管部门代为决定",
    en="The egress review of version {number} of “{title_en}” is overdue; the data authority decides in place of the others",
    page="review_version:version_id")
VERSION_RETURNED: Final = kind(
    "version_returned", zh="产品“{title_zh}”第 {number} 版被退回修改", en="Version {number} of “{title_en}” was returned for changes",
    page="my_product:product_id")
VERSION_REGISTERED: Final = kind(
    "version_registered", zh="产品“{title_zh}”第 {number} 版已登记，编码 {code}", en="Version {number} of “{title_en}” is registered as {code}",
    page="my_product:product_id")
PRODUCT_STOPPED: Final = kind(
    "product_stopped", zh="产品“{title_zh}”已暂停上架：{reason_zh}", en="“{title_en}” was suspended: {reason_en}", page="my_product:product_id")
WATCHED: Final[dict[str, str]] = {
    "version": kind("watched_version", zh="您关注的产品“{title_zh}”上架了新版本", en="“{title_en}” has a new version on sale",
                    page="product:product_id"),
    "price": kind("watched_price", zh="您关注的产品“{title_zh}”调整了价格", en="The price of “{title_en}” has changed", page="product:product_id"),
    "suspended": kind("watched_suspended", zh="产品“{title_zh}”已暂停：{reason_zh}", en="“{title_en}” is suspended: {reason_en}",
                      page="product:product_id"),
    "resumed": kind("watched_resumed", zh="产品“{title_zh}”恢复上架", en="“{title_en}” is on sale again", page="product:product_id"),
    "retiring": kind("watched_retiring", zh="产品“{title_zh}”将于 {date} 退市，届时停止交付：{reason}",
                     en="“{title_en}” will be retired on {date} and delivered no longer: {reason}", page="product:product_id"),
    "kept": kind("watched_kept", zh="产品“{title_zh}”取消退市，暂停销售", en="“{title_en}” is not retired after all, but suspended",
                 page="product:product_id"),
    "retired": kind("watched_retired", zh="产品“{title_zh}”已退市，成果已删除，可查验处置证明",
                    en="“{title_en}” is retired and its results deleted; the certificate of disposal can be checked",
                    page="product:product_id"),
}

REASONS: Final[dict[str, tuple[str, str]]] = {
    "agreement_ended": ("所依据的协议已终止", "the agreement that it rests on has ended"),
    "grant_ended": ("所依据的授权已到期", "the grant that it rests on has ended"),
    "grant_withdrawn": ("所依据的授权已被撤回", "the grant that it rests on was withdrawn"),
    "provider_barred": ("提供方目前不具备参与资格", "its provider may not take part at present"),
}
"""Why the system takes a product off sale, by code: in Chinese and English."""


def reason_of(code: str, written: str) -> dict[str, str]:
    """A reason as messages and pages give it: the code's words, or what a person wrote, which is the same in both languages."""
    zh, en = REASONS.get(code, (written or "–", written or "–"))
    return {"reason_zh": zh, "reason_en": en}
