"""Problems of notices."""

from __future__ import annotations

from shuyan.problems import define

NOTICE_CLOSED = define("notice_closed", 409, zh="公示期已结束，不能再提出异议。", en="The notice period is over; no objection can be made any more.")
OWN_NOTICE = define("own_notice", 403, zh="这是本机构发布的公示，不能对其提出异议；异议由本机构答复。",
                    en="This is your own organisation's notice, which answers the objections to it and makes none.")
OBJECTION_INVALID = define("objection_invalid", 422, zh="请写明异议内容（1–2000 字）。", en="State the objection (1 to 2000 characters).")
ANSWER_INVALID = define("objection_answer_invalid", 422, zh="请写明答复内容（1–2000 字）。", en="State the answer (1 to 2000 characters).")
MAIL_GONE = define("mail_gone", 409, zh="该邮件含有个人链接，发送失败后已清除，不能重发。请收件人重新申请。",
                   en="This mail held a personal link, which is wiped; it cannot be sent again. The person asks for a new one.")
