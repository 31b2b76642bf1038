"""Checkpoints of the market's audit log: the node signs what continues the last one it signed, and nothing else."""

from __future__ import annotations

import base64
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node_agent.journal import Journal
from node_agent.state import State
from shuyan.problems import ProblemError
from shuyan.trust.merkle import EMPTY_ROOT, verify_consistency
from shuyan.trust.notes import cosign, node_key_name, parse_checkpoint, parse_note
from shuyan_protos.link.v1 import link_pb2


class Checkpoints:
    """The last checkpoint this node cosigned, and the decision on the next."""

    def __init__(self, state: State, journal: Journal, node_id: str, signing: Ed25519PrivateKey) -> None:
        self._state = state
        self._journal = journal
        self._name = node_key_name(node_id)
        self._signing = signing

    @property
    def size(self) -> int:
        """Size of the last checkpoint cosigned, 0 if none."""
        return int(self._state.get("checkpoint_size", "0"))

    @property
    def forked(self) -> bool:
        """Whether the log ever showed this node a history that contradicts what it had signed."""
        return self._state.get("checkpoint_forked") != ""

    def cosign(self, message: link_pb2.Checkpoint) -> link_pb2.Cosignature | None:
        """Cosign a checkpoint, or None when it is refused or says nothing new.

        Size and root are on the disk before this returns, so that a node that crashes cannot sign a fork afterwards.
        """
        held = self.size
        try:
            note = parse_note(message.note)
            checkpoint = parse_checkpoint(note.text)
        except ProblemError:
            self._journal.append("checkpoint:refused", reason="malformed")
            return None
        # The log's key is pinned by its id when the first checkpoint is seen.
        signers = sorted(s.key_id.hex() for s in note.signatures if s.name == checkpoint.origin)
        log = f"{checkpoint.origin} {signers[0]}" if signers else ""
        pinned = self._state.get("checkpoint_log")
        if not log or (pinned and pinned.split(" ")[0] != checkpoint.origin) or (
                pinned and pinned.split(" ")[1] not in signers):
            self._refuse("another_log", checkpoint.size, checkpoint.root)
            return None
        if checkpoint.size < held or checkpoint.size == 0:
            return None  # late: a newer one is signed already
        root = base64.b64decode(self._state.get("checkpoint_root")) if held else EMPTY_ROOT
        if held and message.from_size != held:
            return None  # proves another step than the one we need; the coordinator asks again from our size
        if held:
            try:
                verify_consistency(held, checkpoint.size, list(message.consistency_proof), root, checkpoint.root)
            except ProblemError:
                self._refuse("fork", checkpoint.size, checkpoint.root)
                return None
        with self._state.transaction():
            if not pinned:
                self._state.put("checkpoint_log", log)
            if checkpoint.size > held:
                self._state.put("checkpoint_size", str(checkpoint.size))
                self._state.put("checkpoint_root", base64.b64encode(checkpoint.root).decode())
                self._journal.append("checkpoint:cosigned", size=checkpoint.size, root=checkpoint.root.hex())
        line = cosign(message.note, self._name, self._signing, time=int(time.time()))
        return link_pb2.Cosignature(size=checkpoint.size, line=line)

    def _refuse(self, reason: str, size: int, root: bytes) -> None:
        subject = f"{reason} {size} {root.hex()}"
        if self._state.get("checkpoint_forked") != subject:  # once a finding, however often it is sent
            with self._state.transaction():
                self._state.put("checkpoint_forked", subject)
                self._journal.append("checkpoint:refused", reason=reason, size=size, root=root.hex(), held=self.size)
