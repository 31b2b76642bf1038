"""Finished rounds kept apart from the process that ran them, so that a run goes on where another one was cut off.

What a strategy does next depends on nothing but its parameters and the sums so far. A new run of the same job is
therefore given the sums of finished rounds from here, and asks the departments first for what nobody has answered yet.
The departments of a kept round stay those of the rounds that follow: no question is ever put to another set of them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from shuyan.federation.ring import Words

_HEAD: Final = struct.Struct("<I")


@dataclass(frozen=True)
class StoredRound:
    """One finished round.

    Attributes:
        question: digest of what was asked; see :func:`shuyan.federation.masking.question_digest`.
        participants: the departments whose answers are in the sums, sorted.
        cohort: rows they are about.
        words: the sums as ring elements, by vector name, shape (limbs, length).
    """

    question: str
    participants: tuple[str, ...]
    cohort: int
    words: Mapping[str, Words] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Length-prefixed JSON header, then the vectors' little-endian words in header order."""
        names = sorted(self.words)
        header = json.dumps({
            "question": self.question, "participants": list(self.participants), "cohort": self.cohort,
            "vectors": [[name, list(self.words[name].shape)] for name in names],
        }).encode()
        return b"".join([_HEAD.pack(len(header)), header,
                         *(self.words[name].astype("<u8", copy=False).tobytes() for name in names)])

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredRound:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: anything else.
        """
        try:
            (size,) = _HEAD.unpack_from(data)
            header = json.loads(data[_HEAD.size : _HEAD.size + size])
            words: dict[str, Words] = {}
            offset = _HEAD.size + size
            for name, (limbs, length) in header["vectors"]:
                words[name] = np.frombuffer(data, dtype="<u8", count=limbs * length, offset=offset).reshape(limbs, length)
                offset += 8 * limbs * length
            if offset != len(data):
                raise ValueError("malformed round")
            return cls(str(header["question"]), tuple(header["participants"]), int(header["cohort"]), words)
        except (struct.error, KeyError, TypeError) as error:
            raise ValueError("malformed round") from error


class RoundStore(Protocol):
    """Where a job's finished rounds are kept, for as long as the job is under way."""

    def load(self, round_: int, /) -> StoredRound | None:
        """A kept round, by number from 1."""

    def save(self, round_: int, stored: StoredRound, /) -> None:
        """Keep a round before anything is made of it. What is too large need not be kept, nor what follows it."""

    def discard(self, from_round: int, /) -> None:
        """Forget the rounds from this number on: the run has gone another way."""


class MemoryRounds:
    """Rounds kept in memory, for local federations and tests."""

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}

    def load(self, round_: int, /) -> StoredRound | None:
        data = self.kept.get(round_)
        return None if data is None else StoredRound.from_bytes(data)

    def save(self, round_: int, stored: StoredRound, /) -> None:
        self.kept[round_] = stored.to_bytes()

    def discard(self, from_round: int, /) -> None:
        self.kept = {round_: data for round_, data in self.kept.items() if round_ < from_round}
