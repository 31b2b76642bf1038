"""What a node may say about a task it did not answer: catalogue codes that cross the link, in both languages.

A failure carries a code and, at most, the arguments named in its template: never exception text, and never anything a
federated app chose freely (an argument would be a way out of the node). ``RETRYABLE`` holds the codes after which a
round may be run again without the node that failed; all others end the run, because they are decisions, not accidents.
"""

from __future__ import annotations

from typing import Final

from shuyan.problems import define
from shuyan.trust.errors import GRANT_INVALID as GRANT_INVALID

# --- the grant ---------------------------------------------------------------------------------------------------

GRANT_EXPIRED: Final = define("grant_expired", 403, zh="授权凭证已过有效期。", en="The grant has expired.")
GRANT_NOT_YET_VALID: Final = define("grant_not_yet_valid", 403, zh="授权凭证尚未生效。", en="The grant is not valid yet.")
GRANT_REVOKED: Final = define("grant_revoked", 403, zh="授权凭证已被数据主管部门撤销。",
                              en="The data authority has revoked the grant.")
GRANT_HELD: Final = define("grant_held", 403, zh="授权已由有关责任单位撤回，暂停使用。",
                           en="One of those responsible has withdrawn the grant; it cannot be used.")
GRANT_OTHER_NODE: Final = define("grant_other_node", 403, zh="授权凭证未包含本节点或本节点的密钥。",
                                 en="The grant does not name this node or its key.")
GRANT_WIDENED: Final = define("grant_widened", 403, zh="任务超出授权凭证的范围：{what}。",
                              en="The task goes beyond its grant: {what}.")
PURPOSE_MISMATCH: Final = define("purpose_mismatch", 403, zh="任务用途与授权凭证载明的用途不一致。",
                                 en="The task's purpose is not the one the grant states.")
COLUMN_NOT_GRANTED: Final = define("column_not_granted", 403, zh="授权凭证未授予字段“{column}”。",
                                   en="The grant does not cover the column “{column}”.")
REVOCATIONS_STALE: Final = define(
    "revocations_stale", 503, zh="节点上的撤销清单已过期，在取得新清单之前不受理任务。",
    en="The node's revocation list is out of date; it takes no task until it has a new one.")

# --- the question ------------------------------------------------------------------------------------------------

RESOURCE_UNKNOWN: Final = define("resource_unknown", 404, zh="节点上没有登记资源“{resource}”。",
                                 en="The node has no registered resource “{resource}”.")
UNKNOWN_COLUMN: Final = define("unknown_column", 422, zh="资源中没有字段“{column}”。",
                               en="The resource has no column “{column}”.")
WRONG_TYPE: Final = define("wrong_type", 422, zh="字段“{column}”的类型不适用于此计算，需要{expected}。",
                           en="The column “{column}” has the wrong type for this computation; {expected} is needed.")
NOT_A_DIMENSION: Final = define("not_a_dimension", 422, zh="字段“{column}”没有登记取值范围，不能作为分组维度。可请部门登记取值；授权采用差分隐私的，"
                                   "也可改用联邦 SQL，由其带噪声地查找未登记的取值。",
                                en="The column “{column}” has no declared values, so it cannot be a dimension. Ask the departments to declare "
                                   "them; under a grant with differential privacy, federated SQL can find undeclared ones, with noise.")
DOMAIN_MISMATCH: Final = define("domain_mismatch", 409, zh="任务中“{column}”的取值范围与节点登记的不一致。",
                                en="The task's values for “{column}” are not those the node has declared.")
BAD_PARAMS: Final = define("bad_params", 422, zh="任务参数有误：{where}。", en="The job's parameters are wrong: {where}.")
TARGET_NOT_BINARY: Final = define("target_not_binary", 422, zh="逻辑回归的目标字段只能取 0 或 1。",
                                  en="The target of a logistic regression must be 0 or 1.")
UNKNOWN_ACTION: Final = define("unknown_action", 422, zh="应用没有声明动作“{action}”。",
                               en="The app declares no action “{action}”.")

# --- the app -----------------------------------------------------------------------------------------------------

APP_NOT_ALLOWED: Final = define("app_not_allowed", 403, zh="节点管理员未放行应用“{app}”。",
                                en="The node's administrator has not allowed the app “{app}”.")
APP_DIGEST_MISMATCH: Final = define("app_digest_mismatch", 403, zh="节点上应用“{app}”的摘要与授权凭证不一致。",
                                    en="The digest of the app “{app}” on the node is not the one granted.")
APPROVAL_PENDING: Final = define("approval_pending", 409, zh="{node}尚未审批此任务（审批编号 {approval}）。",
                                 en="{node} has not yet approved this task (approval {approval}).")
APPROVAL_REJECTED: Final = define("approval_rejected", 403, zh="{node}未批准此任务。", en="{node} has rejected this task.")

# --- the secure sum ----------------------------------------------------------------------------------------------

COHORT_TOO_SMALL: Final = define("cohort_too_small", 409, zh="参与计算的记录数少于授权要求的最小群体 {minimum}。",
                                 en="Fewer rows took part than the grant's minimum cohort of {minimum}.")
PARTICIPANTS_TOO_FEW: Final = define("participants_too_few", 409, zh="参与节点少于要求的 {minimum} 个，计算无法进行。",
                                     en="Fewer than the required {minimum} departments can take part.")
DEPARTMENTS_LOST: Final = define(
    "departments_lost", 503, zh="只有 {left} 个部门仍能参与，授权要求至少 {minimum} 个；未能继续参与：{lost}。请待其恢复后重新提交。",
    en="Only {left} departments can still take part and the grant asks for {minimum}; lost: {lost}. "
       "Submit the job again once they are back.")
PARTICIPANTS_INVALID: Final = define(
    "participants_invalid", 422, zh="参与节点名单有误：须排序、不重复、均在授权范围内并包含本节点。",
    en="The participant list is wrong: it must be sorted, without repetition, within the grant, and name this node.")
ALREADY_OPENED: Final = define("already_opened", 409, zh="本轮已就另一次尝试揭开结果，拒绝再次揭开。",
                               en="This round was already opened for another attempt; it is not opened twice.")
QUESTION_ANSWERED_WITH_OTHERS: Final = define(
    "question_answered_with_others", 409, zh="同一问题已与另一组部门共同作答；换组再答会暴露个别部门的数据，故拒绝。",
    en="The same question was answered before with other departments; answering again would expose one of them.")
TASK_REPLAYED: Final = define("task_replayed", 409, zh="任务编号已用于另一个内容不同的任务。",
                              en="This task identifier was already used for a different task.")
TASK_UNKNOWN: Final = define("task_unknown", 404, zh="节点没有此任务的记录，无法揭开结果。",
                             en="The node knows no such task, so there is nothing to open.")
TASK_EXPIRED: Final = define("task_expired", 408, zh="任务超过时限。", en="The task ran out of time.")
ROUND_LOST: Final = define("round_lost", 503, zh="一个部门在揭开结果时失去联系，本轮无法安全重做，计算已终止。",
                           en="A department was lost while the round was being opened; it cannot be repeated safely.")
RUN_CANCELLED: Final = define("run_cancelled", 409, zh="计算已取消。", en="The computation was cancelled.")

# --- what left the worker ----------------------------------------------------------------------------------------

OUTPUT_UNDECLARED: Final = define("output_undeclared", 422, zh="应用输出了未声明的内容，或长度与请求不符，已拦截。",
                                  en="The app returned something undeclared or of the wrong length; it was held back.")
OUTPUT_TOO_LARGE: Final = define("output_too_large", 413, zh="输出超过授权允许的 {maximum} 个数值。",
                                 en="The output exceeds the {maximum} values the grant allows.")
OUTPUT_NOT_FINITE: Final = define("output_not_finite", 422, zh="输出含有非有限数值，已拦截。",
                                  en="The output holds a number that is not finite; it was held back.")
OUTPUT_OUT_OF_BOUND: Final = define("output_out_of_bound", 422, zh="输出超出声明的数值范围，已拦截。",
                                    en="The output exceeds its declared bound; it was held back.")
WORKER_CRASHED: Final = define("worker_crashed", 502, zh="节点上的计算进程意外退出。", en="The node's worker process died.")
WORKER_TIMEOUT: Final = define("worker_timeout", 504, zh="节点上的计算超时，已终止。",
                               en="The node's worker ran out of time and was ended.")
WORKER_MEMORY: Final = define("worker_memory", 507, zh="节点上的计算超出内存限额，已终止。",
                              en="The node's worker ran out of memory and was ended.")
APP_FAILED: Final = define("app_failed", 502, zh="应用在节点上运行失败，详情见节点日志。",
                           en="The app failed on the node; the node's journal says more.")
NODE_OFFLINE: Final = define("node_offline", 503, zh="部门节点“{node}”不在线。", en="The department's node “{node}” is offline.")
NODE_BUSY: Final = define("node_busy", 503, zh="部门节点任务已满，请稍后重试。",
                          en="The department's node has no capacity for the moment.")
NODE_REVOKED: Final = define("node_revoked", 403, zh="部门节点已被停用。", en="The department's node has been revoked.")
INTERNAL: Final = define("node_internal", 500, zh="节点内部出错，详情见节点日志。",
                         en="Something went wrong on the node; its journal says more.")

# --- trees and networks ------------------------------------------------------------------------------------------

TARGET_NOT_A_CLASS: Final = define(
    "target_not_a_class", 422, zh="目标字段的取值不是声明的类别：二分类只能取 0 或 1，多分类须为声明的取值或从 0 起的类别编号。",
    en="The target has a value that is no declared class: 0 or 1 for two classes, else a declared value or a number from 0 on.")
TARGET_NOT_A_COUNT: Final = define("target_not_a_count", 422, zh="计数模型的目标字段不能为负数。",
                                   en="The target of a model of counts must not be negative.")
TARGET_OF_ONE_CLASS: Final = define(
    "target_of_one_class", 422, zh="各部门合计，目标字段“{column}”只有一个类别，无法训练分类模型。",
    en="Over all departments the target “{column}” has only one class; there is nothing to tell apart.")
FEATURES_UNUSABLE: Final = define(
    "features_unusable", 422, zh="所选特征在各部门全部缺失或只有一个取值，无法训练：{columns}。",
    en="Over all departments the chosen features are all missing or have one value only; nothing can be learned from: {columns}.")
CATEGORIES_TOO_MANY: Final = define(
    "categories_too_many", 422, zh="类别特征“{column}”登记的取值超过 {maximum} 个，请先归并。",
    en="The category “{column}” has more than {maximum} declared values; merge some first.")
TRAINING_TOO_SMALL: Final = define(
    "training_too_small", 409, zh="训练记录或验证记录少于 {minimum} 条，无法训练。",
    en="There are fewer than {minimum} rows to train on, or to validate on.")
TRAINING_DIVERGED: Final = define(
    "training_diverged", 422, zh="训练发散：参数超出允许范围，请减小学习率或先做标准化。",
    en="The training diverged: parameters left their bounds. Lower the learning rate.")

# --- developers' own apps, shut in -------------------------------------------------------------------------------

SANDBOX_UNAVAILABLE: Final = define(
    "sandbox_unavailable", 503, zh="本机内核不提供运行第三方应用所需的隔离（Landlock 或命名空间，以及 seccomp），拒绝运行。",
    en="This machine's kernel lacks what third-party apps must be shut in with (Landlock or namespaces, and seccomp); refused.")
SANDBOX_VIOLATION: Final = define(
    "sandbox_violation", 403, zh="应用试图执行隔离环境禁止的操作，已终止。",
    en="The app asked for something its sandbox forbids and was ended.")
APP_SUSPENDED: Final = define(
    "app_suspended", 403, zh="第三方应用“{app}”在该节点多次失败，已暂停；须节点管理员重新放行。",
    en="The third-party app “{app}” failed too often on the node and is suspended until the node's administrator allows it again.")
APP_SERVER_FAILED: Final = define(
    "app_server_failed", 502, zh="应用在协调端运行失败（{where}）。", en="The app failed on the coordinator ({where}).")
APP_SERVER_TIMEOUT: Final = define(
    "app_server_timeout", 504, zh="应用在协调端超时，已终止。", en="The app ran out of time on the coordinator and was ended.")
APP_CONTENT_UNDECLARED: Final = define(
    "app_content_undeclared", 422, zh="应用的结果与其声明不符（{where}），已拦截。",
    en="The app's result is not what it declares ({where}); it was held back.")

# --- answers with noise ------------------------------------------------------------------------------------------

BUDGET_EXHAUSTED: Final = define(
    "budget_exhausted", 409,
    zh="隐私预算不足（{what}）：本次需 ρ {asked}，本期尚余 ρ {left}；预算更新时间：{renews}。",
    en="The privacy budget does not suffice ({what}): this takes ρ {asked} and ρ {left} is left; it renews: {renews}.")
BUDGET_TOO_SMALL: Final = define(
    "budget_too_small", 422, zh="为本次计算指定的隐私预算过小，无法分配到各项结果。",
    en="The privacy budget given to this computation is too small to be divided among its answers.")
NOISE_UNDECLARED: Final = define(
    "noise_undeclared", 422, zh="授权要求差分隐私，而应用“{app}”的“{action}”没有差分隐私形式。",
    en="The grant asks for differential privacy, and “{action}” of the app “{app}” has no such form.")
BOUNDS_MISSING: Final = define(
    "bounds_missing", 422, zh="差分隐私计算需要字段“{column}”的上下界，请由各部门在登记资源时声明。",
    en="An answer with differential privacy needs bounds of the column “{column}”, which every department must declare with its resource.")
ROWS_BELOW_NOISE: Final = define(
    "rows_below_noise", 422, zh="本次计算的隐私预算（ρ）过小：噪声与可用记录数相当，无法得出结果。",
    en="The privacy budget (ρ) of this computation is too small: its noise is as large as the number of usable rows.")
VARIANCE_BELOW_NOISE: Final = define(
    "variance_below_noise", 422,
    zh="字段“{column}”的方差与噪声相当，无法标准化。请增大隐私预算（ρ）、收窄该字段的上下界或去除该字段。",
    en="The variance of the column “{column}” cannot be told from its noise, so it cannot be standardised: spend more (ρ), declare "
       "narrower bounds, or leave it out.")
UNIT_COLUMN_UNKNOWN: Final = define(
    "unit_column_unknown", 409, zh="节点的资源“{resource}”没有授权凭证所称的隐私单位字段“{column}”。",
    en="The node's resource “{resource}” has no column “{column}”, by which the grant tells units of privacy apart.")
COLUMN_ALL_NULL: Final = define(
    "column_all_null", 422, zh="字段“{column}”在所有参与部门中都没有值，请去除该字段。",
    en="No department has a value of the column “{column}”; leave it out.")
NO_USABLE_ROWS: Final = define(
    "no_usable_rows", 422, zh="该部门没有可用记录：每条记录都至少缺少一个所用字段的值。可去除缺失较多的字段，或设置缺失值填补。",
    en="The department has no usable row: each lacks a value of some column used. "
       "Leave out columns with many missing values, or have them filled in.")
VALUES_MISSING: Final = define(
    "values_missing", 409, zh="所用字段中有登记为每行都有值的，但该部门的数据现有缺失；该部门补齐数据或重新登记后方可统计。",
    en="A column used is declared to have a value in every row, and the department's data now lack some. "
       "It can be computed on once the department has mended its data or registered them again.")
EXPOSURE_NOT_POSITIVE: Final = define("exposure_not_positive", 422, zh="风险暴露量字段的值必须大于 0。",
                                      en="Values of the exposure column must be greater than 0.")

# --- the differencing guard --------------------------------------------------------------------------------------

DIFFERENCING_REFUSED: Final = define(
    "differencing_refused", 409,
    zh="该问题涉及的记录与先前答复过的问题过于接近，两者相减会暴露少于 {minimum} 条记录的情况，故拒绝。"
       "请沿用先前的筛选条件，或改用差别更大的条件；训练模型时可填补缺失值，使全部记录参与。",
    en="The rows of this question are too close to those of earlier ones: the difference would tell about fewer than "
       "{minimum} rows. Use an earlier condition again, or one that differs more; in training, have missing values filled in, so "
       "that all rows take part.")
GUARD_FULL: Final = define(
    "guard_full", 409,
    zh="部门节点为防差分推断而记住的筛选条件已满，不再答复新的筛选条件；先前答复过的条件仍可使用。如需继续，请联系该部门。",
    en="The department's node remembers as many conditions as it may, to guard against differencing, and answers no new one; "
       "earlier conditions can still be used. Ask the department if more are needed.")
PARTICIPANTS_DIFFER: Final = define(
    "participants_differ", 409,
    zh="同一批记录的相关问题先前已与另一组部门共同答复，两者相减会暴露个别部门的数据，故拒绝。请待先前参与的部门都在线后重试。",
    en="A related question about the same rows was answered before with other departments; the difference would expose single "
       "ones. Try again when the departments of then are all there.")

SUM_IMPLAUSIBLE: Final = define(
    "sum_implausible", 502, zh="各部门合计的结果自相矛盾（{where}），至少有一个部门的输出有误，结果作废。",
    en="The departments' sum contradicts itself ({where}): at least one department's output is wrong, and the result is void.")

SOURCE_UNAVAILABLE: Final = define(
    "source_unavailable", 503, zh="部门的数据源暂时无法读取，详情见节点日志。",
    en="The department's data source cannot be read for the moment; the node's log says more.")

COLUMN_CONSTANT: Final = define(
    "column_constant", 422, zh="字段“{column}”在全部可用记录中取值不变，请去除该字段。",
    en="The column “{column}” has one and the same value in all usable rows; leave it out.")
TIMES_OFF_GRID: Final = define(
    "times_off_grid", 422, zh="时间字段的值超出给定的时间范围，或事件字段取了 0 和 1 以外的值。",
    en="A value of the time column is outside the given range, or the event column is neither 0 nor 1.")

# --- federated SQL -----------------------------------------------------------------------------------------------

OWN_FIGURE_REFUSED: Final = define(
    "own_figure_refused", 403,
    zh="按“{dimension}”区分会直接显示单个部门自己的数字，授权凭证不允许。可改用多个部门共有的维度，或申请允许显示部门数据的授权。",
    en="Telling “{dimension}” apart would show a single department's own figure, which the grant does not allow. Use a "
       "dimension that several departments share, or ask for a grant that allows it.")

RETRYABLE: Final = frozenset({
    SOURCE_UNAVAILABLE,
    WORKER_CRASHED, WORKER_TIMEOUT, WORKER_MEMORY, NODE_OFFLINE, NODE_BUSY, NODE_REVOKED, TASK_EXPIRED, INTERNAL,
})
"""Accidents of one node: the round may be run again among the others."""

APP_CODES: Final = frozenset({
    OWN_FIGURE_REFUSED, DOMAIN_MISMATCH,
    TIMES_OFF_GRID,
    SOURCE_UNAVAILABLE,
    TARGET_NOT_BINARY, BAD_PARAMS, WRONG_TYPE, UNKNOWN_ACTION, TARGET_NOT_A_CLASS, TARGET_NOT_A_COUNT, CATEGORIES_TOO_MANY,
    NO_USABLE_ROWS, EXPOSURE_NOT_POSITIVE, VALUES_MISSING,
})
"""Codes an app in the worker may raise; the agent turns any other into ``app_failed`` and drops all arguments."""
