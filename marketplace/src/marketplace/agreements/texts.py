"""Messages to both sides of an agreement."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

_PAGE: Final = "agreement:agreement_id"

PROPOSED = kind("agreement.proposed", zh="《{title_zh}》有新的条款（第 {number} 稿）待贵单位答复。",
                en="New terms (version {number}) of “{title_en}” wait for your answer.", page=_PAGE)
ACCEPTED = kind("agreement.accepted", zh="对方已接受《{title_zh}》第 {number} 稿条款。",
                en="The other side has accepted version {number} of “{title_en}”.", page=_PAGE)
APPROVE = kind("agreement.approve", zh="《{title_zh}》条款已商定，请审核。", en="The terms of “{title_en}” are agreed and wait for approval.", page=_PAGE)
RETURNED = kind("agreement.returned", zh="《{title_zh}》退回协商：{reason}", en="“{title_en}” goes back to negotiation: {reason}", page=_PAGE)
NOTICED = kind("agreement.noticed", zh="《{title_zh}》已获批准，现向社会公示。", en="“{title_en}” is approved and now under public notice.", page=_PAGE)
TO_SIGN = kind("agreement.to_sign", zh="《{title_zh}》待贵单位管理员签署。", en="“{title_en}” waits for the signature of your organisation's administrator.",
               page=_PAGE)
EFFECTIVE = kind("agreement.effective", zh="《{title_zh}》双方已签署，即日生效，至 {last_day} 止。",
                 en="“{title_en}” is signed by both sides and in force until {last_day}.", page=_PAGE)
REFUSED = kind("agreement.refused", zh="《{title_zh}》未能达成：{reason}", en="“{title_en}” was refused: {reason}", page=_PAGE)
SUSPENDED = kind("agreement.suspended", zh="《{title_zh}》已暂停：{reason}", en="“{title_en}” is suspended: {reason}", page=_PAGE)
RESUMED = kind("agreement.resumed", zh="《{title_zh}》已恢复。", en="“{title_en}” is in force again.", page=_PAGE)
TERMINATED = kind("agreement.terminated", zh="《{title_zh}》已终止：{reason} 其下的授权和上架产品同时停止。",
                  en="“{title_en}” is terminated: {reason} Grants and listings under it stop.", page=_PAGE)
LAPSED = kind("agreement.lapsed", zh="《{title_zh}》期满未续，已自动失效，其下的授权和上架产品同时停止。",
              en="“{title_en}” has lapsed without renewal. Grants and listings under it stop.", page=_PAGE)
ENDS_SOON = kind("agreement.ends_soon", zh="《{title_zh}》还有 {days} 天到期（{last_day}）。续期须在 {opens} 至 {closes} 之间申请，逾期不续则自动失效。",
                 en="“{title_en}” ends in {days} days ({last_day}). Renewal is asked for from {opens} to {closes}; without it the agreement lapses.",
                 page=_PAGE)
RENEWAL_ASKED = kind("agreement.renewal_asked", zh="《{title_zh}》已申请续期，请评估后决定。",
                     en="Renewal of “{title_en}” is asked for and waits for your decision.", page=_PAGE)
RENEWAL_OFFERED = kind("agreement.renewal_offered", zh="《{title_zh}》同意续期 {months} 个月，待双方管理员签署。",
                       en="Renewal of “{title_en}” by {months} months is offered and waits for both signatures.", page=_PAGE)
RENEWAL_DECLINED = kind("agreement.renewal_declined", zh="《{title_zh}》不予续期：{reason}", en="“{title_en}” is not renewed: {reason}", page=_PAGE)
RENEWED = kind("agreement.renewed", zh="《{title_zh}》已续期至 {last_day}。", en="“{title_en}” is renewed until {last_day}.", page=_PAGE)
