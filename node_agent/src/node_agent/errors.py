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
    "source_kind", 422, zh="无法识别的数据源类型“{kind}”，支持 csv、parquet、json、sqlite、postgres 和 mysql。",
    en="“{kind}” is not a kind of source; csv, parquet, json, sqlite, postgres and mysql are.")
SOURCE_LOCATION = define(
    "source_location", 422, zh="数据源位置须为绝对路径，且至少有一个可读文件：{location}。",
    en="A source's location must be an absolute path with at least one readable file: {location}.")
SOURCE_UNREADABLE = define(
    "source_unreadable", 422, zh="数据源无法读取：{reason}。", en="The source cannot be read: {reason}.")
SOURCE_IN_VIEW = define(
    "source_in_view", 409, zh="视图“{view}”仍在读取该数据源，请先移除视图。",
    en="The view “{view}” reads this source; remove the view first.")
SOURCE_ADDRESS = define(
    "source_address", 422, zh="数据库地址有误，应形如 postgres://用户@主机:端口/数据库 或 mysql://用户@主机:端口/数据库。",
    en="The database's address is wrong; it reads like postgres://user@host:port/database or mysql://user@host:port/database.")
SOURCE_TABLE_NEEDED = define(
    "source_table_needed", 422, zh="请用 --table 指明数据库中的表，如 public.patients。",
    en="Name the database's table with --table, such as public.patients.")
SOURCE_PASSWORD_GIVEN = define(
    "source_password_given", 422, zh="地址中不得写入口令。请把口令放入只有节点用户可读的文件，用 --password-file 指明。",
    en="The address must not hold a password. Put it into a file that only the node's user can read, and name it with --password-file.")
SOURCE_PASSWORD_PLACE = define(
    "source_password_place", 422, zh="口令来源有误：请只指明一个文件（绝对路径）或一个环境变量名。",
    en="The password's place is wrong: name one file by its absolute path, or one environment variable.")
SOURCE_PASSWORD_MISSING = define(
    "source_password_missing", 503, zh="无法从 {place} 读取数据库口令。", en="The database's password cannot be read from {place}.")
SOURCE_EXTENSION_MISSING = define(
    "source_extension_missing", 503, zh="本机未安装读取 {kind} 的扩展（DuckDB {version}）。",
    en="The extension that reads {kind} (for DuckDB {version}) is not installed on this machine.")
SOURCE_UNREACHABLE = define(
    "source_unreachable", 503, zh="无法连接数据库：{place}。请检查地址、网络、数据库服务和登录信息。",
    en="The database cannot be reached: {place}. Check the address, the network, the server and the login.")
SOURCE_LOGIN_REFUSED = define(
    "source_login_refused", 403, zh="数据库拒绝登录：{place}。请检查用户和口令。",
    en="The database refused the login: {place}. Check the user and the password.")
SOURCE_PERMISSION = define(
    "source_permission", 403, zh="数据库用户无权读取：{place}。请授予只读权限。",
    en="The database's user may not read {place}. Grant it SELECT.")
SOURCE_TABLE_MISSING = define(
    "source_table_missing", 404, zh="数据库中没有这张表或所需的列：{place}。",
    en="The database has no such table, or not the columns needed: {place}.")
VIEW_NOT_SELECT = define(
    "view_not_select", 422, zh="视图须是一条 SELECT 语句。", en="A view is one SELECT statement.")
VIEW_SYNTAX = define("view_syntax", 422, zh="视图语句有误：{reason}", en="The view's SQL is wrong: {reason}")
VIEW_TABLE_UNKNOWN = define(
    "view_table_unknown", 422, zh="视图只能读取本节点的数据源，没有“{table}”。",
    en="A view reads sources of this node only; there is no “{table}”.")
VIEW_FUNCTION = define(
    "view_function", 422, zh="视图中不能使用“{function}”：它会读取库外内容，或每次结果不同。",
    en="A view cannot use “{function}”: it reaches outside, or its result is not the same each time.")
VIEW_CLAUSE = define("view_clause", 422, zh="视图中不能使用 {clause}。", en="A view cannot hold {clause}.")
VIEW_COLUMN_TYPE = define(
    "view_column_type", 422, zh="视图的列“{column}”的类型 {type} 不受支持，请转换类型。",
    en="The view's column “{column}” has the unsupported type {type}; cast it.")
VIEW_COLUMN_TWICE = define(
    "view_column_twice", 422, zh="视图有多列名为“{column}”，请用 AS 改名。",
    en="The view has more than one column “{column}”; rename with AS.")
VIEW_NOT_FOUND = define("view_not_found", 404, zh="没有名为“{name}”的视图。", en="There is no view named “{name}”.")
VIEW_FILE = define("view_file", 422, zh="无法读取 SQL 文件 {path}。", en="The SQL file {path} cannot be read.")
VIEW_EMPTY = define("view_empty", 422, zh="视图没有一行结果，请检查条件。", en="The view has no rows; check its conditions.")
VIEW_IN_USE = define(
    "view_in_use", 409, zh="资源“{resource}”正在使用该视图，列“{column}”不能删去或改变类型。",
    en="The resource “{resource}” uses this view; its column “{column}” cannot go or change its type.")
RISK_COLUMNS = define(
    "risk_columns", 422, zh="请指明至少一个准标识列；准标识列不能同时是敏感列。",
    en="Name at least one quasi-identifier; none of them can be a sensitive column as well.")
RISK_TOO_HIGH = define(
    "risk_too_high", 409,
    zh="重识别风险过高：按 {quasi} 分组，{share}% 的记录所在组不足 5 条（上限 {limit}%），最小组 {smallest} 条。"
       "请泛化或去掉部分列，或以 --accept-risk “理由” 登记。",
    en="The risk of re-identification is too high: grouped by {quasi}, {share} % of the rows are in groups of fewer than 5 (the limit is {limit} %), the smallest of {smallest}. "
       "Generalise or drop columns, or register with --accept-risk “reason”.")
MARGINALS_NONE = define(
    "marginals_none", 409, zh="资源“{name}”没有待同意的数据分布，请先测量（shuyan-node marginals measure）。",
    en="Nothing of “{name}” waits to be approved; measure first (shuyan-node marginals measure).")
MARGINALS_EPSILON = define("marginals_epsilon", 422, zh="隐私参数 ε 须大于 0，且不超过 10。", en="ε is above 0 and at most 10.")
MARGINALS_COLUMN = define(
    "marginals_column", 422, zh="字段“{column}”不能给出分布：须登记取值、上下界，或为日期、布尔型，且不是直接标识。",
    en="The column “{column}” cannot have a distribution: it needs declared values or bounds, or to be a date or boolean, and no identifier.")
MARGINALS_UNFIT = define(
    "marginals_unfit", 422, zh="字段“{column}”的分布与登记的取值范围不符。", en="The distribution of “{column}” does not fit what is declared of it.")
RISK_REASON = define("risk_reason", 422, zh="接受风险的理由须为 4 至 500 个字符。", en="The reason for accepting the risk is of 4 to 500 characters.")
CLASSIFICATION_INVALID = define(
    "classification_invalid", 422, zh="列“{column}”的分类“{classification}”无效，应为 direct_identifier、quasi_identifier、sensitive 或 free。",
    en="“{classification}”, declared for the column “{column}”, is no classification; direct_identifier, quasi_identifier, sensitive and free are.")
CLASSIFICATION_CONFLICT = define(
    "classification_conflict", 422, zh="列“{column}”既声明为标识列，又声明为 {classification}。",
    en="The column “{column}” is declared an identifier and {classification} at once.")
IDENTIFIER_UNDECLARED = define(
    "identifier_undeclared", 422,
    zh="列“{column}”有 {share}% 的值是 {kind}，须声明为标识列（--identifier {column}），或不登记该列；确属误判时用 --class {column}=free。",
    en="{share} % of the values of “{column}” are of the kind {kind}: declare it with --identifier {column}, or leave it out; if it is none, say so with --class {column}=free.")
UNIT_INVALID = define(
    "unit_invalid", 422, zh="列“{column}”的单位无效：最长 32 个字符，不含控制字符。",
    en="The unit of “{column}” is not valid: at most 32 characters, no control characters.")
RESOLUTION_INVALID = define(
    "resolution_invalid", 422, zh="列“{column}”的步长无效：须为数值列、大于零，且数据有固定步长。",
    en="The resolution of “{column}” is not valid: the column is numeric, the step above zero, and the data have one.")
RESOLUTION_UNFIT = define(
    "resolution_unfit", 422, zh="列“{column}”有 {count} 个值不是 {step} 的整数倍。",
    en="{count} values of the column “{column}” are no whole multiples of {step}.")
REQUIRED_UNFIT = define(
    "required_unfit", 422, zh="列“{column}”有 {count} 行没有值，不能登记为每行都有值（--required）。",
    en="{count} rows have no value of the column “{column}”: it cannot be registered as having one in every row (--required).")
DATE_COLUMN = define(
    "date_column", 422, zh="“{column}”不是本资源的日期或时间列。", en="“{column}” is no column of dates or times of this resource.")
NAME_INVALID = define(
    "name_invalid", 422, zh="名称“{name}”须以小写字母开头，只含小写字母、数字和下划线，最长 63 个字符。",
    en="The name “{name}” must start with a lower-case letter and hold only lower-case letters, digits and underscores, at most 63.")
RESOURCE_NOT_FOUND = define("resource_not_found", 404, zh="没有名为“{name}”的资源。", en="There is no resource named “{name}”.")
RESOURCE_COLUMN = define(
    "resource_column", 422, zh="数据源中没有列“{column}”。", en="The source has no column “{column}”.")
RESOURCE_GRADE = define("resource_grade", 422, zh="分级须为 1 至 4。", en="The grade must be from 1 to 4.")
RESOURCE_SECTOR = define("resource_sector", 422, zh="没有领域“{sector}”。", en="There is no sector “{sector}”.")
RESOURCE_FREQUENCY = define(
    "resource_frequency", 422, zh="没有更新频率“{frequency}”。", en="There is no update frequency “{frequency}”.")
RESOURCE_ENTRY = define(
    "resource_entry", 422, zh="“{name}”过长、过多或含有不可见字符。", en="“{name}” is too long, too many, or has invisible characters.")
RESOURCE_STEWARD = define(
    "resource_steward", 422, zh="管理岗位会公开展示，请填写处室或岗位，不要填写电话号码。",
    en="The steward is shown to everybody: name an office, not a telephone number.")
RESOURCE_ELEMENT = define(
    "resource_element", 422, zh="主张权威来源的列须先声明其数据元。", en="A column claimed as authoritative needs its element declared.")
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
APP_KEY_INVALID = define(
    "app_key_invalid", 422, zh="应用签名公钥无法识别，应为 PEM 格式的 Ed25519 公钥。请向运营机构核对。",
    en="The key for app signatures cannot be read: a public Ed25519 key in PEM is needed. Check it with the operator.")
APP_KEY_UNKNOWN = define("app_key_unknown", 404, zh="没有信任过密钥 {key}。", en="The key {key} is not among the trusted ones.")
APP_KEY_NONE = define(
    "app_key_none", 409, zh="尚未信任任何应用签名公钥。请先运行 shuyan-node app trust-key 公钥文件。",
    en="No key for app signatures is trusted yet. Run shuyan-node app trust-key FILE first.")
APP_NAME_TAKEN = define(
    "app_name_taken", 409, zh="“{name}”是内置应用的名称，不能安装同名的第三方应用。",
    en="“{name}” is the name of an app that comes with the product; no other can be installed under it.")

# --- privacy budgets ---

BUDGET_INVALID = define(
    "budget_invalid", 422, zh="预算无效：ρ 须在 0 至一百万之间，更新周期须为 never、monthly、quarterly 或 yearly。",
    en="The budget is not valid: ρ from nought to a million, renewal never, monthly, quarterly or yearly.")
BUDGET_LEDGER_DIFFERS = define(
    "budget_ledger_differs", 409, zh="隐私预算账目与日志不一致，首个不符的问题：{question}。",
    en="The privacy ledger and the journal differ, first at the question {question}.")
