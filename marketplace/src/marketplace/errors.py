"""Problems any face may meet before a use case is reached."""

from __future__ import annotations

from shuyan.problems import define

WRONG_CONTENT_TYPE = define(
    "wrong_content_type", 415, zh="请求正文必须是 application/json，收到的是“{received}”。",
    en="The request body must be application/json, not “{received}”.")
MALFORMED_JSON = define(
    "malformed_json", 400, zh="请求正文不是合法的 JSON：{reason}。", en="The request body is not valid JSON: {reason}.")
WRONG_METHOD = define(
    "method_not_allowed", 405, zh="此地址不支持 {method} 方法。", en="This address does not take {method}.")
TOO_LARGE = define(
    "request_too_large", 413, zh="请求正文过大，上限为 {maximum} 字节。",
    en="The request body is too large; at most {maximum} bytes.")
BAD_REQUEST = define("bad_request", 400, zh="无法理解该请求。", en="The request cannot be understood.")
RATE_LIMITED = define(
    "rate_limited", 429, zh="请求过于频繁（限 {limit}），请稍后再试。",
    en="Too many requests (limit {limit}); try again later.")
INVALID_FIELDS = define(
    "invalid_fields", 422, zh="有 {count} 处输入有误，见 errors。", en="{count} fields are wrong; see errors.")
TOKEN_MISSING = define(
    "token_missing", 401, zh="请在 Authorization 头中提供 Bearer 访问令牌。",
    en="Send a Bearer access token in the Authorization header.")
TOKEN_INVALID = define(
    "token_invalid", 401, zh="访问令牌无效、已过期或已撤销，请重新申请。",
    en="The access token is wrong, expired or revoked; ask for a new one.")
SCOPE_MISSING = define(
    "scope_missing", 403, zh="访问令牌缺少所需权限范围“{scope}”。", en="The access token lacks the scope “{scope}”.")
KEY_REQUIRED = define(
    "idempotency_key_required", 400, zh="此请求须带 Idempotency-Key 头（1–128 个可打印 ASCII 字符）。",
    en="This request needs an Idempotency-Key header (1 to 128 printable ASCII characters).")
BAD_CURSOR = define("bad_cursor", 400, zh="翻页游标无效，请从第一页重新开始。", en="The cursor is not valid; start from the first page.")
NO_STANDING = define(
    "standing_required", 403, zh="您单位的注册尚未生效，或者已被暂停、终止，目前只能查看和更正注册信息。",
    en="Your organisation's registration has not taken effect, or is suspended or ended; for now you can only see and correct it.")
