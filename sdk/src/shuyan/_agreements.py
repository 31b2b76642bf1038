"""Agreements at the market: negotiated in versions, approved, noticed, signed by both sides, renewed or lapsed."""

from __future__ import annotations

import base64
import builtins
import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import Field, ValidationError

from shuyan._http import Api, not_understood
from shuyan._models import Record

R = TypeVar("R", bound=Record)


class StoredFile(Record):
    """An uploaded file; its ``id`` goes where the file belongs."""

    id: str
    name: str
    media_type: str = ""
    size: int = 0
    digest: str = ""


class Agreement(Record):
    """Authority with operator (``operation``) or operator with developer (``development``).

    :meth:`Agreements.get` also gives ``terms``, ``versions``, ``signatures``, ``renewals``, ``files``, ``to_sign`` and ``actions``.
    """

    id: str
    kind: str
    grantor_id: str
    grantee_id: str
    operation_id: str | None = None
    scenario_id: str | None = None
    demand_id: str | None = None
    title_zh: str = ""
    title_en: str = ""
    mode: str = ""
    status: str
    version: int = 1
    reason: str = ""
    effective_at: dt.datetime | None = None
    ends_at: dt.datetime | None = None
    terms: dict[str, Any] = Field(default_factory=dict)
    versions: list[dict[str, Any]] = Field(default_factory=list)
    signatures: list[dict[str, Any]] = Field(default_factory=list)
    renewals: list[dict[str, Any]] = Field(default_factory=list)
    to_sign: str = ""
    actions: list[str] = Field(default_factory=list)


class Renewal(Record):
    """A request for renewal and what became of it."""

    id: str
    agreement_id: str
    status: str
    statement: str = ""
    version: int | None = None
    reason: str = ""


def sent(data: bytes, name: str) -> dict[str, str]:
    """A file as the market takes it."""
    return {"name": name, "content": encoded(data)}


def encoded(data: bytes) -> str:
    """Bytes as the market takes them: base64."""
    return base64.b64encode(data).decode("ascii")


class Files:
    """Files for agreements, applications and registrations."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def upload(self, content: bytes | Path | str, name: str | None = None) -> StoredFile:
        """Upload a PDF, PNG or JPEG of at most 10 MB, as bytes (with a ``name``) or as a file."""
        data = content if isinstance(content, bytes) else Path(content).read_bytes()
        named = name or ("file" if isinstance(content, bytes) else Path(content).name)
        return read(StoredFile, self._api.post("/files", sent(data, named)))


class Agreements:
    """Agreements of the authority with operators and of operators with developers."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, kind: str | None = None, status: str | None = None, limit: int | None = None) -> builtins.list[Agreement]:
        """Newest first: one's own; those publicly noticed for everybody."""
        return [read(Agreement, item) for item in self._api.pages("/agreements", limit=limit, kind=kind, status=status)]

    def get(self, id: str) -> Agreement:
        """One agreement with everything the caller may see of it."""
        return read(Agreement, self._api.get(f"/agreements/{quote(id, safe='')}"))

    def draft(self, operator_id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
        """Draft an operation agreement. For the data authority.

        Args:
            terms: ``mode``, ``months`` (at most 36), ``split`` (per cent for ``treasury``, ``operator``, ``source_departments``
                and ``developer``), ``plan`` and ``text`` (ids of uploads), and optionally ``resources``, ``sectors``,
                ``departments``, ``usage_fee_fen``, ``conditions``.
        """
        return read(Agreement, self._api.post("/agreements", {"operator_id": operator_id, "terms": dict(terms), "note": note}))

    def edit(self, id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
        """Change a draft that the other side has not seen."""
        return self._do(id, "edit", {"terms": dict(terms), "note": note})

    def counter(self, id: str, terms: Mapping[str, Any], note: str = "") -> Agreement:
        """Propose other terms to the other side, as a new version."""
        return self._do(id, "counter", {"terms": dict(terms), "note": note})

    def propose(self, id: str) -> Agreement:
        """Hand a draft to the operator."""
        return self._do(id, "propose")

    def withdraw(self, id: str) -> Agreement:
        """Throw a draft away."""
        return self._do(id, "withdraw")

    def accept(self, id: str, number: int | None = None) -> Agreement:
        """Accept the other side's terms; with ``number`` only that version of them."""
        return self._do(id, "accept", {"number": number})

    def send_back(self, id: str, reason: str) -> Agreement:
        """Return agreed terms to negotiation. For the authority's reviewer."""
        return self._do(id, "return", {"reason": reason})

    def approve(self, id: str) -> Agreement:
        """Approve agreed terms; public notice begins. For a reviewer of the authority who has written none of them."""
        return self._do(id, "approve")

    def sign(self, id: str, digest: str | None = None) -> Agreement:
        """Sign for one's side: the terms with this digest, or by default those that wait for this side's signature now."""
        return self._do(id, "sign", {"digest": digest or self.get(id).to_sign})

    def refuse(self, id: str, reason: str) -> Agreement:
        """Break a negotiation off."""
        return self._do(id, "refuse", {"reason": reason})

    def suspend(self, id: str, reason: str) -> Agreement:
        """Stop everything under an agreement for a while."""
        return self._do(id, "suspend", {"reason": reason})

    def resume(self, id: str) -> Agreement:
        """Put a suspended agreement in force again."""
        return self._do(id, "resume")

    def terminate(self, id: str, reason: str) -> Agreement:
        """End an agreement before its time, with every grant and listing under it."""
        return self._do(id, "terminate", {"reason": reason})

    def ask_renewal(self, id: str, statement: str, files: Iterable[str] = ()) -> Renewal:
        """Ask for renewal, between six and three months before the end. For the operator."""
        return read(Renewal, self._api.post(f"/agreements/{quote(id, safe='')}/renewals", {"statement": statement, "files": [*files]}))

    def offer_renewal(self, renewal_id: str, months: int, terms: Mapping[str, Any] | None = None) -> Renewal:
        """Grant a renewal; both sides have to sign it. For the authority's reviewer."""
        return self._renewal(renewal_id, "offer", {"months": months, "terms": None if terms is None else dict(terms)})

    def decline_renewal(self, renewal_id: str, reason: str) -> Renewal:
        """Refuse a renewal. For the authority's reviewer."""
        return self._renewal(renewal_id, "decline", {"reason": reason})

    def withdraw_renewal(self, renewal_id: str) -> Renewal:
        """Take one's own request back."""
        return self._renewal(renewal_id, "withdraw", {})

    def _do(self, id: str, action: str, body: dict[str, Any] | None = None) -> Agreement:
        return read(Agreement, self._api.post(f"/agreements/{quote(id, safe='')}/{action}", body or {}))

    def _renewal(self, id: str, action: str, body: dict[str, Any]) -> Renewal:
        return read(Renewal, self._api.post(f"/renewals/{quote(id, safe='')}/{action}", body))


def read(kind: type[R], data: Any) -> R:
    """What the market sent as a record."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise not_understood() from error
