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
TOO_MANY_ATTEMPTS = define(
    "too_many_attempts", 429, zh="尝试次数过多，请 {minutes} 分钟后再试。", en="Too many attempts; try again in {minutes} minutes.")
WRONG_PASSWORD = define("wrong_password", 422, zh="当前密码不正确。", en="The current password is wrong.")
WRONG_CODE = define(
    "wrong_code", 422, zh="验证码不正确或已使用过，请等待下一个验证码再试。",
    en="The code is wrong or was used before; wait for the next one and try again.")
SIGN_IN_EXPIRED = define("sign_in_expired", 401, zh="登录已超时，请重新登录。", en="Signing in took too long; start again.")
FACTOR_REQUIRED = define(
    "second_factor_required", 409, zh="您的角色必须启用两步验证，不能停用；如更换手机，请设置新的身份验证器。",
    en="Your role needs a second factor, which cannot be removed; set up another phone instead.")
NO_ENROLMENT = define("no_enrolment", 409, zh="请先扫描二维码，再输入验证码。", en="Scan the QR code first, then enter the code.")
SEALED_BY_ANOTHER = define(
    "sealed_by_another_key", 503, zh="暂时无法核对验证码，请联系运营机构。", en="Codes cannot be checked for the moment; tell the operator.")
LINK_VOID = define(
    "link_void", 410, zh="该链接无效、已过期或已使用过，请重新获取。", en="This link is wrong, expired or was used before; ask for a new one.")
LINK_FOR_ANOTHER = define(
    "link_for_another", 403, zh="该链接属于另一个账户。请退出登录，再以申请更改邮箱的账户打开链接。",
    en="This link is for another account. Sign out, and open it with the account whose address is to change.")
SAME_ADDRESS = define("same_address", 422, zh="新邮箱与现在的邮箱相同。", en="This is your address already.")
ALREADY_MEMBER = define("already_member", 409, zh="此人已是该单位的成员。", en="This person is a member of the organisation already.")
ACCOUNT_EXISTS = define(
    "account_exists", 409, zh="该邮箱已有账户，请登录后接受邀请。", en="This address has an account already; sign in to accept the invitation.")
FOR_ANOTHER = define(
    "invitation_for_another", 403, zh="该邀请是发给另一个邮箱的。请退出登录，再以受邀邮箱的账户打开链接。",
    en="This invitation is for another address. Sign out, and open the link with the account of the address invited.")
LAST_ADMIN = define(
    "last_admin", 409, zh="单位至少要有一名管理员。请先指定另一名管理员。",
    en="An organisation needs at least one administrator. Make somebody else one first.")
BAD_REDIRECT = define(
    "invalid_redirect", 422, zh="“{value}”不能作为回调地址：须为 https 地址（本机可用 http），且不含 #。",
    en="“{value}” cannot be a redirect address: it must be https (http on this machine), without #.")
BAD_GRANTS = define(
    "invalid_grants", 422, zh="请为程序选择一种授权方式；代表用户的应用须登记回调地址。",
    en="Choose how the program gets tokens; an app that acts for people needs a redirect address.")
CODE_UNKNOWN = define("code_unknown", 404, zh="没有等待中的设备使用该代码，或代码已过期。",
                      en="No device waits under this code, or the code has expired.")
BAD_TIME_ZONE = define("invalid_time_zone", 422, zh="“{value}”不是已知的时区。", en="“{value}” is no known time zone.")
EXTERNAL_FAILED = define(
    "external_sign_in_failed", 401, zh="统一身份认证未成功，请重试，或使用密码登录。",
    en="Signing in with the external provider did not work; try again, or use your password.")
EXTERNAL_UNKNOWN = define(
    "external_unknown", 403, zh="统一身份认证的账号尚未与本平台账户关联。请先用密码登录，再在“我的账户”中关联。",
    en="The external identity is not linked with an account here yet. Sign in with your password and link it under My account.")
NOTHING_TO_LINK = define(
    "nothing_to_link", 409, zh="没有待关联的统一身份认证账号，请重新关联。", en="No external identity waits to be linked; start again.")
APP_BLOCKED = define(
    "app_blocked", 403, zh="应用“{name}”所属单位已被暂停或终止，暂不能使用。",
    en="The organisation whose app “{name}” is does not take part at the moment; the app cannot be used.")
APP_REQUEST = define(
    "app_request_invalid", 400, zh="该应用的授权请求有误，未作任何授权。请联系应用的提供者（{reason}）。",
    en="The app's request is not valid, and nothing was allowed. Tell whoever made the app ({reason}).")
NO_SECRET = define(
    "no_secret", 409, zh="装在用户设备上的应用没有密钥。", en="An app on people's own machines has no secret.")
