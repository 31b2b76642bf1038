"""Checking the whole log: everything is recomputed from the leaves and compared with what is stored and was signed.

What this can and cannot see: a changed, missing or added row differs from the stored hashes; a history rewritten
together with all its hashes differs from the checkpoints, which only the log's key can sign. Rows after the newest
checkpoint (at most a second's worth) rest on their hashes alone, and a holder of the log's key who rewrites everything
is caught by the departments' nodes, which keep the checkpoints they cosigned.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import and_, func, or_
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from marketplace.settings import settings
from marketplace.trust import rules
from marketplace.trust.models import AuditEvent, AuditSubject, Checkpoint, Cosignature, LogHead, MerkleNode
from shuyan.problems import Language, ProblemError
from shuyan.trust import keys, merkle, notes

_BATCH = 1024
MAX_FINDINGS = 20

_SENTENCES: dict[str, tuple[str, str]] = {
    "event_missing": ("第 {at} 号事件缺失", "event {at} is missing"),
    "event_changed": ("第 {at} 号事件的内容与其哈希不符", "event {at} does not match its hash"),
    "event_columns": ("第 {at} 号事件的索引列与其内容不符", "the columns of event {at} do not match its leaf"),
    "event_subjects": ("第 {at} 号事件的关联对象与其内容不符", "the subjects of event {at} do not match its leaf"),
    "node_wrong": ("第 {at} 号事件处的 Merkle 节点（第 {level} 层）缺失或不符",
                   "the Merkle node of level {level} ending at event {at} is missing or wrong"),
    "node_extra": ("存在 {at} 个多余的 Merkle 节点", "there are {at} Merkle nodes too many"),
    "size_wrong": ("日志登记的大小为 {stored}，实有事件 {at} 条", "the log says it holds {stored} events; there are {at}"),
    "checkpoint_signature": ("大小为 {at} 的检查点签名无效", "the checkpoint of size {at} is not signed by the log's key"),
    "checkpoint_root": ("大小为 {at} 的检查点与日志内容不符：历史被改写",
                        "the checkpoint of size {at} does not match the log: history was rewritten"),
    "checkpoint_beyond": ("检查点大小为 {at}，而日志不足此数：末尾事件被删除",
                          "there is a checkpoint of size {at}, but fewer events: the end was cut off"),
    "cosignature_wrong": ("大小为 {at} 的检查点上节点 {node} 的联署无效",
                          "the cosignature of node {node} on the checkpoint of size {at} is not valid"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``at`` is an event index or a checkpoint size, as the code says."""

    code: str
    at: int
    args: dict[str, Any] = field(default_factory=dict)

    def text(self, language: Language = "zh") -> str:
        """The sentence for people."""
        return _SENTENCES[self.code][0 if language == "zh" else 1].format(at=self.at, **self.args)


@dataclass(frozen=True)
class Report:
    """The outcome of a check. ``findings`` holds the first twenty, in the order of the log."""

    events: int
    checkpoints: int
    cosignatures: int
    root: str  # hex, over all events
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def statement(self, language: Language = "zh") -> str:
        """One line for people."""
        if self.ok and language == "zh":
            return f"存证日志完好：{self.events} 条事件、{self.checkpoints} 个检查点、{self.cosignatures} 个联署全部核对无误。"
        if self.ok:
            return (f"The log is sound: {self.events} events, {self.checkpoints} checkpoints and "
                    f"{self.cosignatures} cosignatures agree.")
        first = self.findings[0].text(language)
        if language == "zh":
            return f"存证日志已损坏或被篡改：{first}（共发现 {len(self.findings)} 处）。"
        return f"The log is damaged or was tampered with: {first} ({len(self.findings)} findings)."


def check_database(session: Session) -> Report:
    """Recompute the log from its leaves and compare everything stored and signed. Memory is bounded.

    Raises:
        ProblemError: ``key_invalid`` if the log's key is not there.
    """
    return _Check(session).run()


class _Stored(NamedTuple):
    number: int  # the leaf index
    tag: str
    subject: str
    leaf: str
    leaf_hash: str
    at: dt.datetime


class _Check:
    def __init__(self, session: Session) -> None:
        config = settings()
        self.session = session
        self.findings: list[Finding] = []
        self.frontier = merkle.Frontier()
        origin = rules.origin(config.city_code)
        self.verifier = notes.log_verifier(origin, keys.load_signing_key(config.keys_dir / "log.key").public_key())
        self.checkpoints = {c.size: c for c in session.exec(select(Checkpoint))}

    def found(self, code: str, at: int, **args: Any) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, at, args))

    def run(self) -> Report:
        total = 0
        for events in self._batches():
            total += len(events)
            self._check_batch(events)
            if self.full:
                break
        else:
            self._check_totals(total)
        cosigned = self._check_cosignatures()
        return Report(total, len(self.checkpoints), cosigned, self.frontier.root().hex(), tuple(self.findings))

    @property
    def full(self) -> bool:
        return len(self.findings) >= MAX_FINDINGS

    def _batches(self) -> Iterator[list[_Stored]]:
        index, after = col(AuditEvent.index), -1
        # columns, not objects: the session would keep every object it ever saw
        columns = sa_select(index, col(AuditEvent.tag), col(AuditEvent.subject), col(AuditEvent.leaf),
                            col(AuditEvent.leaf_hash), col(AuditEvent.at)).order_by(index).limit(_BATCH)
        while True:
            events = [_Stored(*row) for row in self.session.execute(columns.where(index > after))]
            if not events:
                return
            yield events
            after = events[-1].number

    def _check_batch(self, events: list[_Stored]) -> None:
        start, stop = self.frontier.size, events[-1].number + 1
        nodes = self._nodes(start, stop)
        subjects = self._subjects(start, stop)
        for event in events:
            while self.frontier.size < event.number:  # keep the count, so that one gap is one finding and not thousands
                if self.full:
                    return
                self.found("event_missing", self.frontier.size)
                stored = nodes.get((0, self.frontier.size))
                self._advance(bytes.fromhex(stored) if stored else merkle.EMPTY_ROOT, nodes, report=False)
            self._check_event(event, subjects.get(event.number, set()))
            self._advance(merkle.leaf_hash(event.leaf.encode()), nodes, report=True)

    def _check_event(self, event: _Stored, subjects: set[str]) -> None:
        if merkle.leaf_hash(event.leaf.encode()).hex() != event.leaf_hash:
            self.found("event_changed", event.number)
        try:
            body = json.loads(event.leaf)
            at = event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            if (body["tag"], body["subject"], body["at"]) != (event.tag, event.subject, at):
                self.found("event_columns", event.number)
            if set(rules.subjects(event.leaf)) != subjects:
                self.found("event_subjects", event.number)
        except (ValueError, KeyError, TypeError):
            self.found("event_changed", event.number)

    def _advance(self, leaf: bytes, nodes: dict[tuple[int, int], str], *, report: bool) -> None:
        index = self.frontier.size
        for (level, position), value in self.frontier.append(leaf):
            if report and nodes.get((level, position)) != value.hex():
                self.found("node_wrong", index, level=level)
        checkpoint = self.checkpoints.get(self.frontier.size)
        if checkpoint is not None:
            self._check_checkpoint(checkpoint)

    def _check_checkpoint(self, checkpoint: Checkpoint) -> None:
        try:
            signed = notes.open_checkpoint(checkpoint.note, self.verifier)
        except ProblemError:
            self.found("checkpoint_signature", checkpoint.size)
            return
        root = self.frontier.root()
        if signed.size != checkpoint.size or signed.root != root or checkpoint.root != root.hex():
            self.found("checkpoint_root", checkpoint.size)

    def _nodes(self, start: int, stop: int) -> dict[tuple[int, int], str]:
        """The stored subtrees whose last leaf is in ``[start, stop)``."""
        level, index = col(MerkleNode.level), col(MerkleNode.index)
        ranges = [and_(level == n, index >= start >> n, index < stop >> n) for n in range(stop.bit_length())]
        rows = self.session.execute(select(level, index, MerkleNode.hash).where(or_(*ranges)))
        return {(row[0], row[1]): row[2] for row in rows}

    def _subjects(self, start: int, stop: int) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        query = select(AuditSubject.index, AuditSubject.subject).where(
            col(AuditSubject.index) >= start, col(AuditSubject.index) < stop)
        for index, subject in self.session.execute(query):
            found.setdefault(index, set()).add(subject)
        return found

    def _check_totals(self, total: int) -> None:
        size = self.frontier.size
        stored = self.session.exec(select(LogHead.size).where(LogHead.id == 1)).one_or_none() or 0
        if stored != size:
            self.found("size_wrong", total, stored=stored)
        expected = sum(size >> level for level in range(size.bit_length()))
        held = self.session.execute(select(func.count()).select_from(MerkleNode)).scalar_one()
        if held > expected:
            self.found("node_extra", held - expected)
        for beyond in sorted(n for n in self.checkpoints if n > size or n <= 0):
            self.found("checkpoint_beyond", beyond)

    def _check_cosignatures(self) -> int:
        from marketplace.computing.nodes import nodes_by_id

        rows = list(self.session.exec(select(Cosignature).order_by(col(Cosignature.size), Cosignature.node_id)))
        known = nodes_by_id(self.session, {row.node_id for row in rows})
        for row in rows:
            try:
                key = keys.signing_key_from(known[row.node_id].signing_key)
                notes.verify_cosignature(self.checkpoints[row.size].note, row.line, notes.node_verifier(row.node_id, key))
            except (ProblemError, KeyError):
                self.found("cosignature_wrong", row.size, node=row.node_id)
        return len(rows)
