"""Grants as this node sees them: the signature is checked once per grant, everything that can change each time."""

from __future__ import annotations

import time
from collections import OrderedDict

from node_agent.authority import Authority
from node_agent.holds import Holds
from node_agent.keys import NodeKeys
from node_agent.revocations import Revocations
from node_agent.state import State
from shuyan.federation import problems
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, grant_digest
from shuyan.trust.keys import b64url

_KEPT = 128


class Grants:
    """Verified grants by digest."""

    def __init__(self, state: State, authority: Authority, revocations: Revocations, node_id: str,
                 keys: NodeKeys, holds: Holds) -> None:
        self._state = state
        self._authority = authority
        self._revocations = revocations
        self._holds = holds
        self._node_id = node_id
        self._signing_key = b64url(keys.signing_public)
        self._agreement_key = b64url(keys.agreement_public)
        self._verified: OrderedDict[str, Grant] = OrderedDict()

    def usable(self, jws: str, digest: str) -> Grant:
        """The grant of that digest, if it holds for this node at this moment.

        Args:
            jws: the compact JWS, or empty when this node has seen it before.
            digest: ``sha256:<hex>`` over the compact JWS.

        Raises:
            ProblemError: grant_invalid, grant_not_yet_valid, grant_expired, grant_revoked, grant_held, grant_other_node,
                revocations_stale.
        """
        grant = self._verified.get(digest)
        if grant is None:
            grant = self._verify(jws or self._remembered(digest), digest)
        else:
            self._verified.move_to_end(digest)
        now = time.time()
        if now < grant.nbf:
            raise ProblemError(problems.GRANT_NOT_YET_VALID)
        if now >= grant.exp:
            raise ProblemError(problems.GRANT_EXPIRED)
        self._revocations.check(grant.jti, now)
        self._holds.check(grant.jti)
        return grant

    def _remembered(self, digest: str) -> str:
        row = self._state.one("SELECT jws FROM grant_seen WHERE digest = ?", (digest,))
        if row is None:
            raise ProblemError(problems.GRANT_INVALID)
        return str(row["jws"])

    def _verify(self, jws: str, digest: str) -> Grant:
        if grant_digest(jws) != digest:
            raise ProblemError(problems.GRANT_INVALID)
        grant = self._authority.grant(jws)
        ours = [node for node in grant.nodes if node.node_id == self._node_id]
        if [(node.signing_key, node.agreement_key) for node in ours] != [(self._signing_key, self._agreement_key)]:
            raise ProblemError(problems.GRANT_OTHER_NODE)
        with self._state.transaction():
            self._state.execute("INSERT OR IGNORE INTO grant_seen VALUES (?, ?)", (digest, jws))
        self._verified[digest] = grant
        while len(self._verified) > _KEPT:
            self._verified.popitem(last=False)
        return grant
