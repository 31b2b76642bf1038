"""Problems of the computing domain: nodes, jobs, runs and egress reviews."""

from __future__ import annotations

from typing import Final

import shuyan.federation.problems
import shuyan.jobs  # noqa: F401  what stands against a job is defined where sandboxes can say it, too
from shuyan.problems import define

NODE_NAME_INVALID: Final = define(
    "node_name_invalid", 422, zh="节点名称须为 1 至 64 个字符。", en="A node's name has 1 to 64 characters.")
INVITATION_REFUSED: Final = define(
    "invitation_refused", 403, zh="邀请码无效、已使用或已过期，请向运营机构重新申请。",
    en="The invitation is wrong, used or expired; ask the operator for a new one.")
CSR_INVALID: Final = define(
    "certificate_request_invalid", 422, zh="证书请求或密钥证明无效：{reason}。",
    en="The certificate request or the proof of the keys is not valid: {reason}.")
NODE_KEYS_IN_USE: Final = define(
    "node_keys_in_use", 409, zh="另一个在用节点已登记了相同的密钥，请先停用它，或重新生成密钥。",
    en="Another active node has registered the same keys; revoke it first, or make new keys.")
PKI_MISSING: Final = define(
    "pki_missing", 503, zh="尚未初始化协调服务的证书，请先运行 shuyan-coordinator init。",
    en="The coordinator has no certificates yet; run shuyan-coordinator init first.")

APP_NOT_INSTALLED: Final = define(
    "app_not_offered", 422, zh="协调服务没有安装应用“{app}”。", en="The app “{app}” is not installed here.")
APP_NOT_GRANTED: Final = define(
    "app_not_granted", 403, zh="授权凭证未许可使用应用“{app}”，或许可的是另一版本。",
    en="The grant does not cover the app “{app}”, or covers another version of it.")
GRANT_NOT_YOURS: Final = define(
    "grant_not_yours", 403, zh="该授权凭证的被授权单位不是贵单位。", en="This grant was given to another organisation.")
RESOURCE_UNAVAILABLE: Final = define(
    "resource_unavailable", 409, zh="部门节点“{node}”已撤下数据资源“{resource}”。",
    en="The department's node “{node}” has withdrawn the resource “{resource}”.")
KEY_INVALID: Final = define(
    "idempotency_key_invalid", 422, zh="Idempotency-Key 须为 1 至 128 个字符。",
    en="An Idempotency-Key has 1 to 128 characters.")

NODES_MISSING: Final = define(
    "nodes_missing", 503, zh="在线部门只有 {connected} 个，授权要求至少 {minimum} 个；缺少：{missing}。",
    en="Only {connected} departments are online and the grant asks for {minimum}; missing: {missing}.")
COORDINATOR_INTERRUPTED: Final = define(
    "coordinator_interrupted", 503, zh="协调服务多次中断，任务已执行 {attempts} 次仍未完成，请重新提交。",
    en="The coordinator was interrupted again and again; after {attempts} attempts the job is given up. Submit it again.")
EGRESS_CHECKS_FAILED: Final = define(
    "egress_checks_failed", 422, zh="计算结果未通过出域自动检查：{checks}。结果未保存。",
    en="The result did not pass the automatic egress checks: {checks}. It was not kept.")
RUN_FAILED: Final = define(
    "run_failed", 500, zh="计算未能完成，运营机构可按任务编号查询原因。",
    en="The computation could not be completed; the operator can look up why by the job's number.")
RESULT_DISPOSED: Final = define(
    "result_disposed", 410, zh="该结果已随产品退市删除，只保留摘要。", en="This result was deleted when its product was retired; only its digest is left.")
RESULT_NOT_RELEASED: Final = define(
    "result_not_released", 409, zh="任务当前为“{state}”，结果须经出域审核通过后方可查看。",
    en="The job is “{state}”; its result can be seen once the egress review has approved it.")
OWN_REVIEW: Final = define(
    "own_review", 403, zh="提交任务的单位不能审核自己的出域结果。",
    en="The organisation that submitted a job cannot review what leaves from it.")
NOT_SEATED: Final = define(
    "not_reviewer_of_grant", 403, zh="谁授权谁审核：该成果的出域审核不由贵单位负责。",
    en="Whoever authorised a use reviews what leaves from it; that is not your organisation.")
ALREADY_SAID: Final = define(
    "egress_opinion_given", 409, zh="贵单位已对该结果作出审核意见。", en="Your organisation has already decided on this result.")
PASSED_ON: Final = define(
    "egress_passed_on", 409, zh="贵单位未在期限内审核，已转由数据主管部门决定。",
    en="Your organisation let the time for its decision pass; the data authority decides in its place.")
REVIEW_BLOCKED: Final = define(
    "review_blocked", 409, zh="自动报告中有 {count} 项不通过的发现（{codes}），不能直接批准。确需批准的，请写明理由。",
    en="The automatic report has {count} findings that stand against an approval ({codes}). To approve all the same, write down why.")
CARD_OF_MODELS_ONLY: Final = define(
    "card_of_models_only", 404, zh="该任务的结果不是模型，没有模型卡。", en="This job's result is not a model, so it has no model card.")
NOTE_REQUIRED: Final = define(
    "note_required", 422, zh="驳回时请填写理由。", en="Give a reason when rejecting.")

COORDINATOR_RUNNING: Final = define(
    "coordinator_running", 409, zh="另一个协调服务正在使用同一数据目录或数据库，请先停止它。",
    en="Another coordinator is using the same data folder or database; stop it first.")
PORT_TAKEN: Final = define(
    "port_taken", 503, zh="地址 {host}:{port} 已被占用或无权监听，请更换端口或停止占用它的程序。",
    en="The address {host}:{port} is taken or may not be listened on; choose another port or stop what uses it.")
