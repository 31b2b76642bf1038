"""Problems of the audit log as a service; those of proofs and signatures are the SDK's (``shuyan.trust.errors``)."""

from __future__ import annotations

from shuyan.problems import define

LOG_EMPTY = define(
    "log_empty", 404, zh="存证日志还没有检查点，请稍候一秒再取。",
    en="The audit log has no checkpoint yet; ask again in a second.")
NO_EVENTS = define(
    "no_events", 404, zh="存证日志中还没有“{subject}”的事件，或尚未进入检查点。请检查编号，或稍候一秒再取。",
    en="The log has no events of “{subject}” under a checkpoint yet. Check the identifier, or ask again in a second.")
LOG_TAMPERED = define(
    "log_tampered", 500, zh="存证日志与已签名的检查点（大小 {size}）不符，已停止签发新检查点。请立即运行 shuyan-market audit check 并上报。",
    en="The log does not match its signed checkpoint of size {size}; no new checkpoint is signed. "
       "Run `shuyan-market audit check` at once and report it.")
EVENT_TOO_LARGE = define(
    "event_too_large", 422, zh="存证事件超过 {maximum} 字节：日志只存编号和摘要。",
    en="The audit event exceeds {maximum} bytes: the log holds identifiers and digests only.")
