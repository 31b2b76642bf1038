"""What members are told about registrations, credit lists, measures and partners."""

from __future__ import annotations

from typing import Final

from marketplace.notices.texts import kind

SUBMITTED: Final = kind("registration.submitted", zh="“{name}”提交了注册申请，请审核。", en="“{name}” has submitted its registration; please check it.",
                        page="registration:registration_id")
RETURNED: Final = kind("registration.returned", zh="注册申请被退回，请按意见补正后重新提交。",
                       en="Your registration was returned; correct it as commented and submit it again.", page="registration:registration_id")
REFUSED: Final = kind("registration.refused", zh="注册申请未获通过，理由：{reason}", en="Your registration was refused: {reason}",
                      page="registration:registration_id")
NOTICED: Final = kind("registration.noticed", zh="注册申请已通过审核，进入公示期。",
                      en="Your registration passed the check and is now publicly noticed.", page="registration:registration_id")
BLOCKED: Final = kind("registration.blocked", zh="注册申请因列入信用名单而中止：{reason}",
                      en="Your registration is held up by a credit list: {reason}", page="registration:registration_id")
UNBLOCKED: Final = kind("registration.unblocked", zh="注册申请恢复审核。", en="Your registration is being checked again.",
                        page="registration:registration_id")
ACTIVE: Final = kind("registration.active", zh="注册已生效，欢迎使用。", en="Your registration has taken effect; welcome.",
                     page="registration:registration_id")
SUSPENDED: Final = kind("standing.suspended", zh="贵单位已被暂停，原因：{reason}", en="Your organisation is suspended: {reason}", page="standing")
RESUMED: Final = kind("standing.resumed", zh="贵单位已恢复正常。", en="Your organisation is active again.", page="standing")
ENDED: Final = kind("standing.ended", zh="贵单位的参与资格已终止，原因：{reason}", en="Your organisation no longer takes part: {reason}", page="standing")
BARRED: Final = kind("standing.barred", zh="贵单位已被禁止参与，原因：{reason}", en="Your organisation is barred: {reason}", page="standing")
HIT: Final = kind("credit.hit", zh="“{name}”出现在信用名单中，请核实。", en="“{name}” was found on a credit list; please look into it.",
                  page="credit")
OFF_LIST: Final = kind("credit.off_list", zh="“{name}”已移出信用名单，请复核。", en="“{name}” is off the credit list; please review it.",
                       page="credit")
PARTNER_SUBMITTED: Final = kind("partner.submitted", zh="运营机构提交了合作伙伴“{name}”的备案，请审查。",
                                en="The operator has filed its partner “{name}”; please review it.", page="partner:filing_id")
PARTNER_DECIDED: Final = kind("partner.decided", zh="合作伙伴“{name}”的备案有新进展。", en="There is news on the filing of your partner “{name}”.",
                              page="partner:filing_id")
