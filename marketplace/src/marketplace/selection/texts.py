"""Messages about selections."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

_PAGE: Final = "selection:selection_id"

APPLIED = kind("selection.applied", zh="“{title_zh}”收到一份新的申报。", en="A new application for “{title_en}” has come in.", page=_PAGE)
NAMED = kind("selection.named", zh="“{title_zh}”聘请贵单位成员担任评审专家，请在申报截止后评分。",
             en="A member of yours is on the expert panel of “{title_en}”; scoring begins after the deadline.", page=_PAGE)
SCORING = kind("selection.scoring", zh="“{title_zh}”申报已截止，请专家评分。", en="Applications for “{title_en}” are closed; experts may score.", page=_PAGE)
RANKED = kind("selection.ranked", zh="“{title_zh}”评审结束，排名已公布。", en="“{title_en}” is ranked.", page=_PAGE)
NEGOTIATING = kind("selection.negotiating", zh="“{title_zh}”邀请贵单位就协议条款进行谈判。",
                   en="Your organisation is invited to negotiate terms for “{title_en}”.", page=_PAGE)
PASSED_OVER = kind("selection.passed_over", zh="“{title_zh}”与贵单位的谈判未达成一致：{reason}",
                   en="Negotiations with your organisation for “{title_en}” have failed: {reason}", page=_PAGE)
APPROVE = kind("selection.approve", zh="“{title_zh}”谈判已达成一致，请审核。", en="Terms for “{title_en}” are negotiated and wait for approval.", page=_PAGE)
SET_ASIDE = kind("selection.set_aside", zh="贵单位对“{title_zh}”的申报不符合条件：{reason}",
                 en="Your application for “{title_en}” does not meet the conditions: {reason}", page=_PAGE)
CHOSEN = kind("selection.chosen", zh="贵单位在“{title_zh}”中获选，授权运营协议已起草。",
              en="Your organisation is selected in “{title_en}”; the operation agreement is being drafted.", page=_PAGE)
FAILED = kind("selection.failed", zh="“{title_zh}”未选出运营机构：{reason}", en="“{title_en}” has ended without an operator: {reason}", page=_PAGE)
CANCELLED = kind("selection.cancelled", zh="“{title_zh}”已取消：{reason}", en="“{title_en}” is cancelled: {reason}", page=_PAGE)
