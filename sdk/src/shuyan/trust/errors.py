"""The problems the trust code reports. A node may send any of them over the link; none carries internal text."""

from __future__ import annotations

from shuyan.problems import define

KEY_INVALID = define(
    "key_invalid", 422, zh="密钥文件“{name}”不存在、格式不对或不是所需类型的密钥。",
    en="The key file “{name}” is missing, malformed, or not a key of the kind needed.")
KEY_EXISTS = define(
    "key_exists", 409, zh="密钥文件“{name}”已经存在，不会覆盖。如确需更换，请先自行移走旧文件。",
    en="The key file “{name}” exists already and is not overwritten. Move it away first if you mean to replace it.")
GRANT_INVALID = define(
    "grant_invalid", 403, zh="授权凭证无效：签名、签发机关或格式不符。",
    en="The grant is not valid: its signature, issuer or form is wrong.")
REVOCATIONS_INVALID = define(
    "revocations_invalid", 403, zh="撤销清单无效：签名、签发机关或格式不符。",
    en="The revocation list is not valid: its signature, issuer or form is wrong.")
CARD_INVALID = define(
    "card_invalid", 422, zh="节点密钥卡无效：格式不对，或签名与卡上的公钥不符。",
    en="The node card is invalid: malformed, or its signature does not match the key on it.")
NOTE_INVALID = define(
    "note_invalid", 422, zh="检查点无效：不是规定的签名文本格式。", en="The checkpoint is invalid: not a well-formed signed note.")
CHECKPOINT_SIGNATURE_INVALID = define(
    "checkpoint_signature_invalid", 422, zh="检查点的签名不是存证日志密钥“{key}”所签。",
    en="The checkpoint is not signed by the log key “{key}”.")
COSIGNATURE_INVALID = define(
    "cosignature_invalid", 422, zh="联署无效：“{key}”的联署签名与检查点不符。",
    en="The cosignature by “{key}” does not match the checkpoint.")
INCLUSION_INVALID = define(
    "inclusion_invalid", 422, zh="第 {index} 号事件不在大小为 {size} 的存证日志中：包含性证明不成立。",
    en="Event {index} is not in the log at size {size}: the inclusion proof does not hold.")
CONSISTENCY_INVALID = define(
    "consistency_invalid", 422, zh="存证日志被改写：大小为 {second} 的日志不是大小为 {first} 的日志的延续。",
    en="The log was rewritten: at size {second} it does not continue the log of size {first}.")
BUNDLE_INVALID = define(
    "bundle_invalid", 422, zh="存证包无效：{where} 缺失或格式不对。",
    en="The audit bundle is invalid: {where} is missing or malformed.")
TRUSTED_NODES_INVALID = define(
    "trusted_nodes_invalid", 422, zh="无法识别部门公钥：应为节点密钥卡（shuyan-node card 的输出）或每行一个 vkey。",
    en="The departments' keys cannot be read: give node cards, as printed by shuyan-node card, or one vkey a line.")
EVENT_OF_ANOTHER_SUBJECT = define(
    "event_of_another_subject", 422, zh="存证包中第 {index} 号事件与“{subject}”无关。",
    en="Event {index} of the bundle does not speak of “{subject}”.")
EARLIER_CHECKPOINT_UNPROVEN = define(
    "earlier_checkpoint_unproven", 422, zh="存证包没有从您给出的检查点（大小 {size}）开始的一致性证明，请重新取包。",
    en="The bundle has no consistency proof from the checkpoint you gave (size {size}); fetch it again from there.")
PROOF_RANGE = define(
    "proof_range", 422, zh="请求的证明范围不成立：需要 {condition}。", en="No such proof: it takes {condition}.")
