"""Problems of submitting, reviewing and accepting developers' apps."""

from __future__ import annotations

from shuyan.problems import define

APP_NAME_BUILT_IN = define(
    "app_name_built_in", 409, zh="“{name}”是平台自带应用的名称，请换一个名称。",
    en="“{name}” is the name of an app that comes with the platform; choose another.")
APP_NAME_OF_OTHERS = define(
    "app_name_of_others", 409, zh="应用名“{name}”已属于另一家开发主体。", en="The app name “{name}” belongs to another developer.")
APP_VERSION_NOT_HIGHER = define(
    "app_version_not_higher", 409, zh="版本号 {version} 须高于已通过审核的 {latest}。",
    en="Version {version} must be higher than {latest}, which was accepted before.")
APP_VERSION_LOWER = define(
    "app_version_lower", 409, zh="版本号 {version} 不得低于先前提交的 {latest}。",
    en="Version {version} must not be lower than {latest}, which was submitted before.")
APP_IN_REVIEW = define(
    "app_in_review", 409, zh="“{name}”的 {version} 版正在审核，请等待结果，或先撤回。",
    en="Version {version} of “{name}” is in review: wait for the decision, or withdraw it first.")
APP_UNCHANGED = define(
    "app_unchanged", 409, zh="同一应用包先前已被退回或驳回，请修改后再提交。",
    en="This very package was returned or rejected before; change it first.")
OWN_SUBMISSION = define(
    "own_submission", 403, zh="不能审核自己提交的应用，须由他人审核。",
    en="Nobody reviews an app of their own: another person has to.")
FINDINGS_OPEN = define(
    "app_findings_open", 409, zh="自动检查仍有 {count} 处问题，不能通过审核；请退回修改。",
    en="The automatic checks found {count} problems, so it cannot be accepted; return it.")
COMMENT_REQUIRED = define(
    "comment_required", 422, zh="退回、驳回或下架时请说明理由。", en="Say why when returning, rejecting or retiring.")
APPS_KEY_MISSING = define(
    "apps_key_missing", 503, zh="尚未安装应用签名公钥（keys/apps.pub），不能核验签名。",
    en="The public key for apps (keys/apps.pub) is not installed, so no signature can be verified.")
PACKAGE_ALTERED = define(
    "app_package_altered", 409, zh="所存应用包与其摘要或签名不符，不再提供。",
    en="The package kept here does not fit its digest or signature any more and is not given out.")
