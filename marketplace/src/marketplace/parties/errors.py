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
