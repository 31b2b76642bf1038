"""Values nobody mistakes for anything else, and every form in which one could be seen."""

from __future__ import annotations

import base64
import datetime as dt
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shuyan.federation.apps.base import installed


@dataclass(frozen=True)
class Canary:
    """One department's marked row.

    Attributes:
        name: a text; id: eighteen digits; born: a date; income: a number with a fraction.
    """

    where: str
    name: str
    id: str
    born: dt.date
    income: float

    @classmethod
    def of(cls, where: str, place: int) -> Canary:
        """The canary of a department's source."""
        born = dt.date(1931, 3, 7) + dt.timedelta(days=397 * place)
        income = round(31_415.92653 + 2_718.281_82 * place, 5)
        return cls(where, f"canary-{where}-雀鸟{place}", f"9901{place:02d}{born:%Y%m%d}7{place:03d}", born, income)

    def forms(self) -> Iterator[bytes]:
        """All bytes that would tell it."""
        for text in (self.name, self.id):
            yield from _text(text)
        yield from _text(self.born.isoformat())
        yield self.born.strftime("%Y%m%d").encode()
        yield from _number(self.income)
        yield from _number(float(self.id))
        yield from (int(self.id).to_bytes(8, order) for order in ("little", "big"))


def _text(text: str) -> Iterator[bytes]:
    plain = text.encode()
    yield plain
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield json.dumps(text)[1:-1].encode()
    yield text.encode("gb18030")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    yield "".join(f"\\x{byte:02x}" if byte > 126 else chr(byte) for byte in plain).encode()
    for shift in range(3):  # whatever stands before it
        coded = base64.b64encode(b"\0" * shift + plain)
        inner = coded[4 if shift else 0 : len(coded) - 4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def _number(value: float) -> Iterator[bytes]:
    for form in ("<d", ">d", "<q", ">q"):
        if form[1] == "d" or value == int(value):
            yield struct.pack(form, value if form[1] == "d" else int(value))
    yield f"{value:.5f}"[:10].encode()
    yield struct.pack("<d", value).hex().encode()
    for bits in fractions():
        word = round(value * 2**bits) % 2**64
        if sum(byte > 0 for byte in word.to_bytes(8, "little")) >= 6:  # not a form that anything could have
            yield word.to_bytes(8, "little")
            yield word.to_bytes(8, "big")


def fractions() -> set[int]:
    """The fraction bits of every vector of every app."""
    return {spec.fraction_bits for app in installed().values() for specs in app.manifest.actions.values()
            for spec in specs.values()}


def found(canaries: Iterable[Canary], data: bytes) -> set[str]:
    """Whose canaries are in ``data``, and in what form."""
    return {f"{canary.where}: {form!r}" for canary in canaries for form in set(canary.forms()) if form in data}
