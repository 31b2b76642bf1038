"""Problems of packing, checking and installing apps; each speaks to a developer, a reviewer or a node's administrator."""

from __future__ import annotations

from typing import Final

from shuyan.problems import define

PACKAGE_INVALID: Final = define(
    "package_invalid", 422, zh="应用包无效：{reason_zh}。", en="The app package is not valid: {reason_en}.")
PACKAGE_UNREADABLE: Final = define(
    "package_unreadable", 422, zh="无法读取应用包文件“{name}”。", en="The app package “{name}” cannot be read.")
APP_SIGNATURE_INVALID: Final = define(
    "app_signature_invalid", 403, zh="应用包的签名无效：不是所信任的密钥所签，或签的不是这个包。",
    en="The app package's signature does not hold: another key made it, or it is about another package.")
PROJECT_INVALID: Final = define(
    "project_invalid", 422, zh="不是应用项目：{reason_zh}。", en="This is no app project: {reason_en}.")
PROJECT_EXISTS: Final = define(
    "project_exists", 409, zh="“{path}”已经存在，未作改动。", en="“{path}” exists already; nothing was changed.")
APP_NAME_INVALID: Final = define(
    "app_name_invalid", 422, zh="应用名“{name}”无效：须以小写字母开头，只含小写字母、数字和下划线，3 至 40 个字符，且不与内置模块重名。",
    en="“{name}” is no name for an app: start with a lower-case letter, use lower-case letters, digits and underscores, "
       "3 to 40 characters, and no name that Python or the platform uses.")
APP_CHECK_FAILED: Final = define(
    "app_check_failed", 422, zh="应用检查未通过，共 {count} 处问题。", en="The app did not pass its checks: {count} findings.")
APP_NOT_STARTED: Final = define(
    "app_not_started", 422, zh="应用在隔离进程中未能启动：{reason_zh}。",
    en="The app did not start in its sandbox: {reason_en}.")


def invalid(reason_zh: str, reason_en: str) -> dict[str, str]:
    """The arguments of ``package_invalid`` and its like."""
    return {"reason_zh": reason_zh, "reason_en": reason_en}
