"""Approvals: where a resource asks for it, a person of the department decides before its data is touched."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

import rfc8785

from node_agent import errors
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation import problems
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

_TOLD_MS = 30 * 86_400_000  # a job waits no longer than that for a decision it was not told of
_TOLD_MOST = 500


class Approvals:
    """Decisions on exact questions: one grant, one resource, one app by digest, one set of parameters."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state = state
        self._journal = journal

    def check(self, grant: Grant, *, grant_digest: str, resource: str, app_name: str, app_digest: str,
              params_json: str) -> None:
        """Let an approved question pass; note down a new one for the administrator.

        Raises:
            ProblemError: ``approval_pending`` with the approval's id, ``approval_rejected``.
        """
        subject = hashlib.sha256(rfc8785.dumps(
            [grant_digest, resource, app_name, app_digest, params_json])).hexdigest()
        row = self._state.one("SELECT id, state FROM approval WHERE subject = ?", (subject,))
        if row is None:
            approval_id = self._ask(subject, grant, resource, app_name, params_json)
        elif row["state"] == "approved":
            return
        elif row["state"] == "rejected":
            raise ProblemError(problems.APPROVAL_REJECTED)
        else:
            approval_id = row["id"]
        raise ProblemError(problems.APPROVAL_PENDING, approval=approval_id)

    def _ask(self, subject: str, grant: Grant, resource: str, app_name: str, params_json: str) -> str:
        approval_id = "apr_" + secrets.token_hex(6)
        with self._state.transaction():
            self._state.execute(
                "INSERT INTO approval (id, subject, grant_id, resource, grantee, purpose, app_name, params, state,"
                " asked_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
                (approval_id, subject, grant.jti, resource, grant.grantee_name, grant.purpose, app_name, params_json,
                 _now_ms()))
            self._journal.append("approval:asked", approval=approval_id, grant=grant.jti, resource=resource,
                                 app=app_name)
        return approval_id

    def frame(self) -> link_pb2.ApprovalsDecided:
        """The decisions of the last 30 days, newest first, for the coordinator; the notes stay here."""
        rows = self._state.all("SELECT id, state FROM approval WHERE state != 'pending' AND decided_at_ms > ?"
                               " ORDER BY decided_at_ms DESC LIMIT ?", (_now_ms() - _TOLD_MS, _TOLD_MOST))
        return link_pb2.ApprovalsDecided(decisions=[
            link_pb2.ApprovalDecision(approval_id=row["id"], approved=row["state"] == "approved") for row in rows])

    def list(self, *, all_: bool = False) -> list[local_pb2.Approval]:
        """Pending approvals, or all, newest first."""
        where = "" if all_ else "WHERE state = 'pending' "
        return [_message(row) for row in self._state.all(
            f"SELECT * FROM approval {where}ORDER BY asked_at_ms DESC, id LIMIT 1000")]  # noqa: S608

    def pending(self) -> int:
        """How many wait for a decision."""
        row = self._state.one("SELECT count(*) AS n FROM approval WHERE state = 'pending'")
        return int(row["n"]) if row else 0

    def decide(self, approval_id: str, approve: bool, note: str) -> local_pb2.Approval:
        """Record a decision; it is final.

        Raises:
            ProblemError: ``approval_not_found``, ``approval_decided``.
        """
        with self._state.transaction():
            row = self._state.one("SELECT state FROM approval WHERE id = ?", (approval_id,))
            if row is None:
                raise ProblemError(errors.APPROVAL_NOT_FOUND, approval_id=approval_id)
            if row["state"] != "pending":
                raise ProblemError(errors.APPROVAL_DECIDED, approval_id=approval_id)
            state = "approved" if approve else "rejected"
            self._state.execute("UPDATE approval SET state = ?, decided_at_ms = ?, note = ? WHERE id = ?",
                                (state, _now_ms(), note, approval_id))
            self._journal.append(f"approval:{state}", approval=approval_id)
        return _message(self._state.one("SELECT * FROM approval WHERE id = ?", (approval_id,)))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _message(row: Any) -> local_pb2.Approval:
    return local_pb2.Approval(
        approval_id=row["id"], grant_id=row["grant_id"], resource=row["resource"], grantee=row["grantee"],
        purpose=row["purpose"], app_name=row["app_name"], params_json=row["params"], state=row["state"],
        asked_at_ms=row["asked_at_ms"], decided_at_ms=row["decided_at_ms"], note=row["note"])
