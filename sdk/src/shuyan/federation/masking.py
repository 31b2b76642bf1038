"""Secure aggregation by pairwise masks, in one round plus an opening.

After Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017), without its
recovery rounds: if a participant drops out, the round is run again among the others as a new attempt.

Every pair of participants shares a secret, X25519 (RFC 7748) of the keys the data authority vouches for in the grant,
never of keys the coordinator hands out. For each attempt HKDF-SHA256 (RFC 5869) derives an AES-256 key from it, bound
to run, round, attempt, the sorted participant list and the question; its CTR key stream, read as ring elements, is
added by the participant with the smaller id and subtracted by the other, so all pairwise masks cancel in the sum over
exactly that list. On top lies a self-mask from a fresh random seed. The coordinator learns a seed only through an
opening, and a node opens at most one attempt of a round (:mod:`shuyan.federation.opening`). A drop-out that was only
claimed can therefore not yield two sums whose difference is one department.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np
import rfc8785
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shuyan.federation import ring
from shuyan.federation.ring import Words
from shuyan.federation.vectors import Segment

SEED_BYTES: Final = 32
_SALT: Final = b"shuyan-pairwise-mask-v1"
_NONCE: Final = bytes(16)  # each key is used for one stream, so the counter may start at nought
# Part of the format: a vector consumes the stream in blocks of this many elements, each (limbs, block) words.
_BLOCK: Final = 16_384
_SHORT: Final = 4096  # words; so few are never more than one block of any vector


@dataclass(frozen=True, slots=True)
class MaskContext:
    """What a mask is bound to. ``question`` is :func:`question_digest`; ``participants`` are sorted node ids."""

    run_id: str
    round: int
    attempt: int
    participants: tuple[str, ...]
    question: str

    def info(self) -> bytes:
        """The HKDF info: canonical JSON (RFC 8785)."""
        return rfc8785.dumps({
            "run_id": self.run_id, "round": self.round, "attempt": self.attempt,
            "participants": list(self.participants), "question": self.question,
        })


def question_digest(
    *, grant_digest: str, app_name: str, app_digest: str, purpose: str, params_json: str, message_type: str,
    content_digest: str,
) -> str:
    """``sha256:<hex>`` of what is asked, whoever is asked and whenever: grant, app, parameters, message content.

    Nodes bind masks to it, and refuse to answer the same question together with a different set of departments.
    """
    return "sha256:" + sha256(rfc8785.dumps({
        "grant": grant_digest, "app": app_name, "app_digest": app_digest, "purpose": purpose,
        "params": sha256(params_json.encode()).hexdigest(),
        "message_type": message_type, "content": content_digest,
    })).hexdigest()


class AgreementKey:
    """A node's X25519 private key with the secrets it shares with its peers, computed once each.

    Args:
        private: raw 32 bytes, or a key object.
    """

    def __init__(self, private: bytes | X25519PrivateKey) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private) if isinstance(private, bytes) else private
        self._shared: dict[bytes, bytes] = {}

    @classmethod
    def generate(cls) -> AgreementKey:
        """A fresh key."""
        return cls(X25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """Raw 32 bytes."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def shared(self, peer: bytes) -> bytes:
        """The 32-byte secret with the holder of the raw public key ``peer``.

        Raises:
            ValueError: not a usable public key (wrong length or of small order, RFC 7748 section 6.1).
        """
        secret = self._shared.get(peer)
        if secret is None:
            secret = self._shared[peer] = self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        return secret


@dataclass(frozen=True, slots=True)
class Masked:
    """A masked answer and the seed that opens it.

    Attributes:
        words: by vector name, the cohort included; each of shape (limbs, length).
        seed: the self-mask seed, 32 bytes. It stays on the node until the attempt is opened.
    """

    words: dict[str, Words] = field(repr=False)
    seed: bytes = field(repr=False)


def mask_vectors(
    words: Mapping[str, Words], segments: Sequence[Segment], context: MaskContext, node_id: str, key: AgreementKey,
    peers: Mapping[str, bytes],
) -> Masked:
    """Mask one node's encoded vectors.

    Args:
        words: the encoded vectors, shape (limbs, length) each; overwritten with the masked ones.
        segments: :func:`~shuyan.federation.vectors.layout` of the question; names exactly the keys of ``words``.
        node_id: this node, one of ``context.participants``.
        peers: raw X25519 public keys by node id, from the grant; further entries are ignored.

    Raises:
        ValueError: fewer than three participants, unsorted or repeated ones, this node not among them, a peer without
            a key, or shapes that differ from the layout.
    """
    participants = context.participants
    if len(participants) < 3 or list(participants) != sorted(set(participants)) or node_id not in participants:
        raise ValueError("participants must be at least three, sorted, distinct, and include this node")
    if missing := [peer for peer in participants if peer != node_id and peer not in peers]:
        raise ValueError(f"no key for {missing}")
    _check_shapes(words, segments)
    stream = _Stream(segments)
    info = context.info()
    for peer in participants:
        if peer == node_id:
            continue
        stream.apply(_pair_key(key.shared(peers[peer]), info), words, add=node_id < peer)
    seed = secrets.token_bytes(SEED_BYTES)
    stream.apply(seed, words, add=True)
    return Masked(dict(words), seed)


def sum_masked(answers: Iterable[Mapping[str, Words]], segments: Sequence[Segment]) -> dict[str, Words]:
    """The ring sum of all participants' masked vectors; self-masks still on.

    Raises:
        ValueError: an answer's vectors or shapes differ from the layout.
    """
    total: dict[str, Words] = {}
    for answer in answers:
        _check_shapes(answer, segments)
        if not total:
            total = {name: words.copy() for name, words in answer.items()}
        else:
            for name, words in answer.items():
                ring.add(total[name], words)
    return total


def unmask_sum(total: Mapping[str, Words], segments: Sequence[Segment], seeds: Iterable[bytes]) -> dict[str, Words]:
    """Take every participant's opened self-mask off a sum, in place, and return it.

    Raises:
        ValueError: a seed is not 32 bytes.
    """
    stream = _Stream(segments)
    for seed in seeds:
        if len(seed) != SEED_BYTES:
            raise ValueError("a self-mask seed is 32 bytes")
        stream.apply(seed, total, add=False)
    return dict(total)


def _pair_key(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=info).derive(secret)


def _check_shapes(words: Mapping[str, Words], segments: Sequence[Segment]) -> None:
    if {segment.name: (segment.limbs, segment.length) for segment in segments} != {
        name: array.shape for name, array in words.items()
    }:
        raise ValueError("vectors differ from the layout")


class _Stream:
    """Adds key streams to vectors, block by block, in two buffers of at most 512 KiB each."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        total = sum(segment.limbs * segment.length for segment in segments)
        self._short = bytes(8 * total) if total <= _SHORT else None
        largest = max((segment.limbs * min(segment.length, _BLOCK) for segment in segments), default=0) * 8
        self._zeros = memoryview(bytes(largest))
        self._buffer = bytearray(largest + 15)  # update_into wants room for a block more than it writes
        self._view = memoryview(self._buffer)

    def apply(self, key: bytes, words: Mapping[str, Words], *, add: bool) -> None:
        encryptor = Cipher(AES256(key), CTR(_NONCE)).encryptor()
        combine = ring.add if add else ring.subtract
        if self._short is not None:
            # The same stream, taken at once.
            stream, at = np.frombuffer(encryptor.update(self._short), dtype="<u8"), 0
            for segment in self._segments:
                size = segment.limbs * segment.length
                combine(words[segment.name], stream[at : at + size].reshape(segment.limbs, segment.length))
                at += size
            return
        for segment in self._segments:
            target = words[segment.name]
            for start in range(0, segment.length, _BLOCK):
                count = min(_BLOCK, segment.length - start)
                size = segment.limbs * count * 8
                encryptor.update_into(self._zeros[:size], self._view)
                block = np.frombuffer(self._buffer, dtype="<u8", count=segment.limbs * count)
                combine(target[:, start : start + count], block.reshape(segment.limbs, count))
