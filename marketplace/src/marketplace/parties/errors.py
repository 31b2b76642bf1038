"""Problems of the parties domain."""

from __future__ import annotations

from shuyan.problems import define

WRONG_CREDENTIALS = define("wrong_credentials", 401, zh="邮箱或密码不正确。", en="The e-mail address or password is wrong.")
BAD_CREDIT_CODE = define(
    "bad_credit_code", 422, zh="“{value}”不是有效的统一社会信用代码（GB 32100-2015）。",
    en="“{value}” is not a valid unified social credit code (GB 32100-2015).")
TAKEN = define("already_taken", 409, zh="{field}“{value}”已被使用。", en="The {field} “{value}” is already in use.")
BAD_SCOPE = define(
    "scope_not_allowed", 422, zh="该单位的程序不能使用权限范围“{scope}”。",
    en="Programs of this organisation may not have the scope “{scope}”.")
WEAK_PASSWORD = define("weak_password", 422, zh="密码至少需要 {minimum} 个字符。", en="A password needs at least {minimum} characters.")
BAD_PARTY = define("unknown_party", 422, zh="“{value}”不是已知的单位类型。", en="“{value}” is not a kind of organisation.")
BAD_SEED = define("bad_seed", 422, zh="初始数据有误：{field}：{reason}。", en="The seed data are wrong: {field}: {reason}.")
COMMON_PASSWORD = define(
    "common_password", 422, zh="这个密码太常见，容易被猜到，请换一个。", en="This password is too common and easily guessed; choose another.")
LONG_PASSWORD = define("long_password", 422, zh="密码最多 {maximum} 个字符。", en="A password has at most {maximum} characters.")
BAD_EMAIL = define("invalid_email", 422, zh="邮箱地址的格式不正确。", en="This is not an e-mail address.")
BAD_NAME = define("invalid_name", 422, zh="名称应为 1–100 个可显示的字符。", en="A name has 1 to 100 printable characters.")
BAD_ROLE = define("unknown_role", 422, zh="请至少选择一个角色；“{value}”不是成员角色。",
                  en="Choose at least one role; “{value}” is no role of a member.")
NO_MEMBERSHIP = define(
    "no_membership", 403, zh="您目前不属于任何单位。请联系单位管理员邀请您加入。",
    en="You belong to no organisation at the moment. Ask an administrator of yours to invite you.")
