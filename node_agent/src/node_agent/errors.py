"""Problems that only the node's own administrator sees. Those that cross the link: ``shuyan.federation.problems``."""

from __future__ import annotations

from shuyan.problems import define

NODE_DIR_MISSING = define(
    "node_dir_missing", 404, zh="{path} 不是节点目录。请先运行 shuyan-node --dir {path} init。",
    en="{path} is not a node directory. Run shuyan-node --dir {path} init first.")
NODE_DIR_EXISTS = define(
    "node_dir_exists", 409, zh="{path} 已经是节点目录，未作改动。", en="{path} is a node directory already; nothing was changed.")
NODE_DIR_LOCKED = define(
    "node_dir_locked", 409, zh="{path} 正由另一个节点进程使用。请先停止该进程。",
    en="{path} is in use by another node agent. Stop that one first.")
NODE_DIR_PATH_TOO_LONG = define(
    "node_dir_path_too_long", 422, zh="节点目录路径过长，无法建立本地套接字：{path}。请换用不超过 {limit} 个字节的路径。",
    en="The node directory's path is too long for its local socket: {path}. Use one of at most {limit} bytes.")
NODE_CONFIG_INVALID = define(
    "node_config_invalid", 422, zh="节点配置有误：{setting}：{reason}。", en="The node's configuration is wrong: {setting}: {reason}.")
NOT_ENROLLED = define(
    "not_enrolled", 409, zh="本节点尚未入网。请用运营机构发放的邀请运行 enrol。",
    en="This node is not enrolled. Run enrol with the operator's invitation.")
ALREADY_ENROLLED = define(
    "already_enrolled", 409, zh="本节点已入网，编号 {node_id}。", en="This node is enrolled already, as {node_id}.")
INVITATION_INVALID = define(
    "invitation_invalid", 422, zh="邀请无法识别。请向运营机构索取完整的邀请。",
    en="The invitation cannot be read. Ask the operator for the whole of it.")
AUTHORITY_KEY_INVALID = define(
    "authority_key_invalid", 422, zh="数据主管部门公钥无法识别。请向数据主管部门核对。",
    en="The data authority's public key cannot be read. Check it with the authority.")
ENROLMENT_REFUSED = define(
    "enrolment_refused", 403, zh="运营机构未接受入网：{reason}。邀请可能已使用或已过期。",
    en="The enrolment was refused: {reason}. The invitation may be used or expired.")
ENROLMENT_UNREACHABLE = define(
    "enrolment_unreachable", 503, zh="无法连接入网服务 {address}。请检查网络后重试。",
    en="Cannot reach the enrolment service at {address}. Check the network and try again.")
AGENT_NOT_RUNNING = define(
    "agent_not_running", 503, zh="节点进程未运行。请先运行 shuyan-node --dir {path} run。",
    en="The node agent is not running. Start it with shuyan-node --dir {path} run.")
SOURCE_EXISTS = define("source_exists", 409, zh="已有名为“{name}”的数据源。", en="There is a source named “{name}” already.")
SOURCE_NOT_FOUND = define("source_not_found", 404, zh="没有名为“{name}”的数据源。", en="There is no source named “{name}”.")
SOURCE_IN_USE = define(
    "source_in_use", 409, zh="资源“{resource}”仍在使用该数据源，请先注销资源。",
    en="The resource “{resource}” uses this source; withdraw it first.")
SOURCE_KIND = define(
    "source_kind", 422, zh="无法识别的数据源类型“{kind}”，只支持 csv 和 parquet。",
    en="“{kind}” is not a kind of source; csv and parquet are.")
SOURCE_LOCATION = define(
    "source_location", 422, zh="数据源位置须为绝对路径，且至少有一个可读文件：{location}。",
    en="A source's location must be an absolute path with at least one readable file: {location}.")
SOURCE_UNREADABLE = define(
    "source_unreadable", 422, zh="数据源无法读取：{reason}。", en="The source cannot be read: {reason}.")
NAME_INVALID = define(
    "name_invalid", 422, zh="名称“{name}”须以小写字母开头，只含小写字母、数字和下划线，最长 63 个字符。",
    en="The name “{name}” must start with a lower-case letter and hold only lower-case letters, digits and underscores, at most 63.")
RESOURCE_NOT_FOUND = define("resource_not_found", 404, zh="没有名为“{name}”的资源。", en="There is no resource named “{name}”.")
RESOURCE_COLUMN = define(
    "resource_column", 422, zh="数据源中没有列“{column}”。", en="The source has no column “{column}”.")
RESOURCE_GRADE = define("resource_grade", 422, zh="分级须为 1 至 4。", en="The grade must be from 1 to 4.")
RESOURCE_SECTOR = define("resource_sector", 422, zh="没有领域“{sector}”。", en="There is no sector “{sector}”.")
RESOURCE_APPROVAL = define(
    "resource_approval", 422, zh="审批方式须为 automatic（自动）或 manual（人工）。", en="Approval is either automatic or manual.")
RESOURCE_COLUMN_TYPE = define(
    "resource_column_type", 422, zh="列“{column}”的类型 {type} 不受支持。", en="The column “{column}” has the unsupported type {type}.")
RESOURCE_TYPE = define(
    "resource_type", 422, zh="列“{column}”声明的类型“{type}”无效，应为 integer、number、string、boolean、date 或 timestamp。",
    en="“{type}”, declared for the column “{column}”, is not a type; integer, number, string, boolean, date and timestamp are.")
RESOURCE_TYPE_UNFIT = define(
    "resource_type_unfit", 422, zh="列“{column}”实测为 {measured}，不能登记为 {type}。",
    en="The column “{column}” was measured as {measured} and cannot be registered as {type}.")
RESOURCE_TYPE_DIFFERS = define(
    "resource_type_differs", 422, zh="列“{column}”有 {count} 个值不是 {type}。",
    en="{count} values of the column “{column}” are not of the type {type}.")
DIMENSION_TOO_WIDE = define(
    "dimension_too_wide", 422, zh="列“{column}”的不同取值超过 {limit} 个，不能作为分组维度。",
    en="The column “{column}” has more than {limit} distinct values and cannot be a dimension.")
DIMENSION_IDENTIFIER = define(
    "dimension_identifier", 422, zh="列“{column}”是标识列，不能作为分组维度。",
    en="The column “{column}” is an identifier and cannot be a dimension.")
BOUNDS_INVALID = define(
    "bounds_invalid", 422, zh="列“{column}”的上下界无效：须为数值列，且下界小于上界。",
    en="The bounds of “{column}” are not valid: it must be numeric, the lower bound below the upper.")
APP_NOT_INSTALLED = define(
    "app_not_installed", 404, zh="本节点没有安装应用“{name}”或其摘要不符。",
    en="The app “{name}” is not installed on this node, or its digest differs.")
APPROVAL_NOT_FOUND = define("approval_not_found", 404, zh="没有审批 {approval_id}。", en="There is no approval {approval_id}.")
APPROVAL_DECIDED = define(
    "approval_decided", 409, zh="审批 {approval_id} 已有结论。", en="The approval {approval_id} is decided already.")
JOURNAL_BROKEN = define(
    "journal_broken", 409, zh="日志在第 {sequence} 条处被改动或缺失。", en="The journal was changed or is missing an entry at {sequence}.")
