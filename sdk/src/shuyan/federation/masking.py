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

import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np
import rfc8785
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
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
_HALF_BITS: Final = np.uint64(32)
_HALF: Final = np.uint64(0xFFFF_FFFF)


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
        self._extracted: dict[bytes, bytes] = {}

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

    def extracted(self, peer: bytes) -> bytes:
        """HKDF-Extract (RFC 5869 section 2.2) of the shared secret: it is the same for every mask.

        Raises:
            ValueError: as :meth:`shared`.
        """
        known = self._extracted.get(peer)
        if known is None:
            known = self._extracted[peer] = hmac.digest(_SALT, self.shared(peer), "sha256")
        return known


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
    pairs = [(_pair_key(key.extracted(peers[peer]), info), node_id < peer) for peer in participants if peer != node_id]
    seed = secrets.token_bytes(SEED_BYTES)
    stream.apply([key for key, added in pairs if added] + [seed], words, add=True)
    stream.apply([key for key, added in pairs if not added], words, add=False)
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
    opened = list(seeds)
    if any(len(seed) != SEED_BYTES for seed in opened):
        raise ValueError("a self-mask seed is 32 bytes")
    _Stream(segments).apply(opened, total, add=False)
    return dict(total)


def _pair_key(extracted: bytes, info: bytes) -> bytes:
    """HKDF-Expand for 32 bytes, which is the first block of it (RFC 5869 section 2.3)."""
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _check_shapes(words: Mapping[str, Words], segments: Sequence[Segment]) -> None:
    if {segment.name: (segment.limbs, segment.length) for segment in segments} != {
        name: array.shape for name, array in words.items()
    }:
        raise ValueError("vectors differ from the layout")


class _Stream:
    """Adds key streams to vectors: block by block, in two buffers of at most 512 KiB each, or all at once if they are short."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        total = sum(segment.limbs * segment.length for segment in segments)
        self._short = bytes(8 * total) if total <= _SHORT else None
        largest = max((segment.limbs * min(segment.length, _BLOCK) for segment in segments), default=0) * 8
        self._zeros = memoryview(bytes(largest))
        self._buffer = bytearray(largest + 15)  # update_into wants room for a block more than it writes
        self._view = memoryview(self._buffer)

    def apply(self, keys: Sequence[bytes], words: Mapping[str, Words], *, add: bool) -> None:
        """Add the streams of all keys to the vectors, or subtract them."""
        combine = ring.add if add else ring.subtract
        if self._short is not None and len(keys) > 1:
            self._apply_short(keys, words, combine)
            return
        for key in keys:
            encryptor = Cipher(AES256(key), CTR(_NONCE)).encryptor()
            for segment in self._segments:
                target = words[segment.name]
                for start in range(0, segment.length, _BLOCK):
                    count = min(_BLOCK, segment.length - start)
                    size = segment.limbs * count * 8
                    encryptor.update_into(self._zeros[:size], self._view)
                    block = np.frombuffer(self._buffer, dtype="<u8", count=segment.limbs * count)
                    combine(target[:, start : start + count], block.reshape(segment.limbs, count))

    def _apply_short(self, keys: Sequence[bytes], words: Mapping[str, Words], combine: Callable[[Words, Words], None]) -> None:
        """The same streams, added up before they meet the vectors: what costs here is the number of operations."""
        assert self._short is not None
        streams = np.frombuffer(
            b"".join(Cipher(AES256(key), CTR(_NONCE)).encryptor().update(self._short) for key in keys), dtype="<u8",
        ).reshape(len(keys), -1)
        # As halves of words, of which 2^32 add up without a carry being lost.
        low, high = (streams & _HALF).sum(axis=0), (streams >> _HALF_BITS).sum(axis=0)
        at = 0
        for segment in self._segments:
            end = at + segment.limbs * segment.length
            combine(words[segment.name], _carried(low[at:end].reshape(segment.limbs, -1), high[at:end].reshape(segment.limbs, -1)))
            at = end


def _carried(low: Words, high: Words) -> Words:
    """Ring elements from sums of the lower and upper halves of their words, shape (limbs, length) each."""
    total = np.empty_like(low)
    carry: Words | None = None
    for limb in range(low.shape[0]):
        lower = low[limb] if carry is None else low[limb] + carry
        upper = high[limb] + (lower >> _HALF_BITS)
        total[limb] = (upper << _HALF_BITS) | (lower & _HALF)
        carry = upper >> _HALF_BITS
    return total
