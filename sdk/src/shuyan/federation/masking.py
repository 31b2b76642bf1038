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
from functools import lru_cache
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shuyan.federation import ring
from shuyan.federation.ring import Words
from shuyan.federation.vectors import Segment
from shuyan.trust.canonical import canonical

SEED_BYTES: Final = 32
_SALT: Final = b"shuyan-pairwise-mask-v1"
_COUNTER: Final = CTR(bytes(16))  # each key is used for one stream, so the counter may start at nought
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
        return canonical({
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
    return "sha256:" + sha256(canonical({
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
        words: the encoded vectors, shape (limbs, length) each; they may be overwritten.
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
    info = context.info()
    pairs = [(_pair_key(key.extracted(peers[peer]), info), node_id < peer) for peer in participants if peer != node_id]
    seed = secrets.token_bytes(SEED_BYTES)
    added, subtracted = [key for key, add in pairs if add] + [seed], [key for key, add in pairs if not add]
    return Masked(_combined(segments, [words], added, subtracted), seed)


def sum_masked(answers: Iterable[Mapping[str, Words]], segments: Sequence[Segment]) -> dict[str, Words]:
    """The ring sum of masked vectors, the first of which may be overwritten; self-masks still on.

    Raises:
        ValueError: an answer's vectors or shapes differ from the layout.
    """
    rows = list(answers)
    for answer in rows:
        _check_shapes(answer, segments)
    if not rows:
        return {}
    first = {name: words if words.flags.writeable else words.copy() for name, words in rows[0].items()}
    return _combined(segments, [first, *rows[1:]], [], [])


def unmask_sum(total: Mapping[str, Words], segments: Sequence[Segment], seeds: Iterable[bytes]) -> dict[str, Words]:
    """Take every participant's opened self-mask off a sum, whose vectors may be overwritten, and return it.

    Raises:
        ValueError: a seed is not 32 bytes.
    """
    opened = list(seeds)
    if any(len(seed) != SEED_BYTES for seed in opened):
        raise ValueError("a self-mask seed is 32 bytes")
    return _combined(segments, [total], [], opened)


def _pair_key(extracted: bytes, info: bytes) -> bytes:
    """HKDF-Expand for 32 bytes, which is the first block of it (RFC 5869 section 2.3)."""
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _check_shapes(words: Mapping[str, Words], segments: Sequence[Segment]) -> None:
    if {segment.name: (segment.limbs, segment.length) for segment in segments} != {
        name: array.shape for name, array in words.items()
    }:
        raise ValueError("vectors differ from the layout")


def _combined(segments: Sequence[Segment], terms: Sequence[Mapping[str, Words]], added: Sequence[bytes],
              subtracted: Sequence[bytes]) -> dict[str, Words]:
    """The ring sum of ``terms``, of which there is one or more, with key streams added and subtracted; the first may be overwritten."""
    short = _Short.of(tuple(segments))
    if short is not None:
        return short.combined(terms, added, subtracted)
    total = dict(terms[0])
    for term in terms[1:]:
        for name, words in term.items():
            ring.add(total[name], words)
    stream = _Stream(segments)
    for keys, combine in ((added, ring.add), (subtracted, ring.subtract)):
        for key in keys:
            stream.apply(key, total, combine)
    return total


class _Stream:
    """Adds key streams to vectors block by block, in two buffers of at most 512 KiB each."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        largest = max((segment.limbs * min(segment.length, _BLOCK) for segment in segments), default=0) * 8
        self._zeros = memoryview(bytes(largest))
        self._buffer = bytearray(largest + 15)  # update_into wants room for a block more than it writes
        self._view = memoryview(self._buffer)

    def apply(self, key: bytes, words: Mapping[str, Words], combine: Callable[[Words, Words], None]) -> None:
        """Combine the vectors with one key's stream, in place."""
        encryptor = Cipher(AES256(key), _COUNTER).encryptor()
        for segment in self._segments:
            target = words[segment.name]
            for start in range(0, segment.length, _BLOCK):
                count = min(_BLOCK, segment.length - start)
                size = segment.limbs * count * 8
                encryptor.update_into(self._zeros[:size], self._view)
                block = np.frombuffer(self._buffer, dtype="<u8", count=segment.limbs * count)
                combine(target[:, start : start + count], block.reshape(segment.limbs, count))


class _Short:
    """The same for vectors of few words, all at once as one run of words: what costs here is the number of operations.

    Words are added up as their halves, of which 2^31 fit an ``int64``, and carried once at the end.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        starts = np.cumsum([0, *(segment.words for segment in segments)]).tolist()
        self._size = starts[-1]
        self._places = [(segment, slice(start, start + segment.words)) for segment, start in zip(segments, starts, strict=False)]
        self._zeros = bytes(8 * self._size)
        # By limb: where these words lie, and which of their carries have a next limb to go to.
        self._limbs: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]] = []
        for limb in range(max((segment.limbs for segment in segments), default=0)):
            there = [(start + limb * segment.length + np.arange(segment.length), segment.limbs > limb + 1)
                     for segment, start in zip(segments, starts, strict=False) if segment.limbs > limb]
            goes_on = np.concatenate([np.full(len(places), further) for places, further in there])
            self._limbs.append((np.concatenate([places for places, _ in there]), np.flatnonzero(goes_on)))

    @staticmethod
    @lru_cache(maxsize=64)
    def of(segments: tuple[Segment, ...]) -> _Short | None:
        """For these vectors, if they are short."""
        return _Short(segments) if sum(segment.words for segment in segments) <= _SHORT else None

    def combined(self, terms: Sequence[Mapping[str, Words]], added: Sequence[bytes], subtracted: Sequence[bytes]) -> dict[str, Words]:
        """See :func:`_combined`."""
        flat = [term[segment.name].reshape(-1) for term in terms for segment, _ in self._places]
        streams = [Cipher(AES256(key), _COUNTER).encryptor().update(self._zeros) for key in (*added, *subtracted)]
        rows = np.concatenate([*flat, np.frombuffer(b"".join(streams), dtype="<u8")]).reshape(-1, self._size)
        low, high = (rows & _HALF).view(np.int64), (rows >> _HALF_BITS).view(np.int64)
        last = len(terms) + len(added)
        total = self._carried(*(half[:last].sum(axis=0) - half[last:].sum(axis=0) for half in (low, high)))
        return {segment.name: total[place].reshape(segment.limbs, segment.length) for segment, place in self._places}

    def _carried(self, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> Words:
        """Words from sums of their lower and upper halves, which may be negative; shape (words,)."""
        carry: npt.NDArray[np.int64] | int = 0
        for places, onward in self._limbs:
            lower = low[places] + carry
            upper = high[places] + (lower >> 32)
            low[places] = (upper << 32) | (lower & 0xFFFF_FFFF)
            carry = (upper >> 32)[onward]
        return low.view(np.uint64)
