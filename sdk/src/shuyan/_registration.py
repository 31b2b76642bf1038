"""Taking part in the market: registration and its check, credit lists, ownership, partners of the operator, measures."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from shuyan._agreements import StoredFile, encoded, read, sent
from shuyan._http import Api
from shuyan._models import Record


class Registration(Record):
    """An organisation's application to take part. :meth:`Registrations.get` gives everything, and ``actions``."""

    id: str
    organisation_id: str
    party: str
    status: str
    name_zh: str = ""
    name_en: str = ""
    credit_code: str = ""
    statement: str = ""
    reason: str = ""
    missing: list[str] = Field(default_factory=list)
    checks: dict[str, Any] = Field(default_factory=dict)
    comments: list[dict[str, Any]] = Field(default_factory=list)
    files: list[dict[str, Any]] = Field(default_factory=list)
    hits: list[dict[str, Any]] = Field(default_factory=list)
    standing: str = ""
    notice_id: str | None = None
    actions: list[str] = Field(default_factory=list)


class CreditHit(Record):
    """An organisation found on a credit list."""

    id: str
    organisation_id: str
    kind: str
    matched_by: str
    reason: str = ""
    status: str


class Shareholding(Record):
    """A declared share; ``share_bp`` in basis points."""

    id: str
    owner_code: str
    owner_name: str
    owned_code: str
    owned_name: str
    share_bp: int
    since: dt.date
    until: dt.date | None = None


class Partner(Record):
    """A partner of the operator, as filed."""

    id: str
    status: str
    name: str
    credit_code: str
    cooperation: str = ""
    qualifications: str = ""
    duties: str = ""
    starts_on: dt.date
    ends_on: dt.date
    reason: str = ""
    actions: list[str] = Field(default_factory=list)


class Registrations:
    """Registering an organisation, and checking registrations."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def begin(self, *, party: Literal["developer", "consumer"], name_zh: str, name_en: str, credit_code: str, display_name: str,
              email: str, password: str, locale: Literal["zh", "en"] | None = None) -> Registration:
        """Begin to register: the organisation and its first administrator, who signs in then. Needs no account."""
        return read(Registration, self._api.post("/registrations", {
            "party": party, "name_zh": name_zh, "name_en": name_en, "credit_code": credit_code, "display_name": display_name,
            "email": email, "password": password, "locale": locale}))

    def list(self, *, status: str | None = None, party: str | None = None, q: str | None = None, limit: int | None = None
             ) -> builtins.list[Registration]:
        """Newest first: all for those who check, else one's own."""
        return [read(Registration, item) for item in self._api.pages("/registrations", limit=limit, status=status, party=party, q=q)]

    def get(self, id: str) -> Registration:
        """One registration with evidence, findings and what may be done."""
        return read(Registration, self._api.get(f"/registrations/{quote(id, safe='')}"))

    def edit(self, id: str, **details: Any) -> Registration:
        """Complete or correct it: ``name_en``, ``contact_name``, ``contact_phone``, ``contact_email``, ``statement``,
        ``qualifications`` (``kind``, ``number``, ``issuer``, ``valid_until`` each), ``no_incidents``, ``ownership_declared``."""
        return self._do(id, "edit", details)

    def add_file(self, id: str, data: bytes, name: str) -> StoredFile:
        """Add evidence: a PDF, PNG or JPEG of at most 10 MB."""
        return read(StoredFile, self._api.post(f"/registrations/{quote(id, safe='')}/files", sent(data, name)))

    def remove_file(self, id: str, file_id: str) -> Registration:
        """Take evidence away again."""
        return self._do(id, f"files/{quote(file_id, safe='')}/remove")

    def submit(self, id: str) -> Registration:
        """Hand it in."""
        return self._do(id, "submit")

    def withdraw(self, id: str) -> Registration:
        """Take it back."""
        return self._do(id, "withdraw")

    def reapply(self, id: str) -> Registration:
        """Apply again after a withdrawal or refusal."""
        return self._do(id, "reapply")

    def check(self, id: str, items: Mapping[str, bool | str]) -> Registration:
        """Record what was found: ``True`` for an item that passes, the reason for one that does not. For the operator."""
        return self._do(id, "check", {"items": {
            item: {"ok": found is True, "note": found if isinstance(found, str) else ""} for item, found in items.items()}})

    def send_back(self, id: str, comments: Mapping[str, str]) -> Registration:
        """Return it for correction, with a comment on each item that needs it."""
        return self._do(id, "return", {"comments": dict(comments)})

    def refuse(self, id: str, reason: str) -> Registration:
        """Refuse it."""
        return self._do(id, "refuse", {"reason": reason})

    def accept(self, id: str) -> Registration:
        """Pass the check. For another person than the one who checked the items."""
        return self._do(id, "accept")

    def measure(self, organisation_id: str, action: Literal["suspend", "resume", "end", "bar"], reason: str) -> None:
        """Suspend, resume, end or bar an organisation. For the data authority."""
        self._api.post(f"/organisations/{quote(organisation_id, safe='')}/standing", {"action": action, "reason": reason})

    def measures(self, organisation_id: str) -> builtins.list[dict[str, Any]]:
        """What happened to an organisation's standing, newest first."""
        return builtins.list(self._api.get(f"/organisations/{quote(organisation_id, safe='')}/standing")["items"])

    def _do(self, id: str, action: str, body: Mapping[str, Any] | None = None) -> Registration:
        return read(Registration, self._api.post(f"/registrations/{quote(id, safe='')}/{action}", dict(body or {})))


class Credit:
    """Credit lists, and who is on them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def load(self, kind: Literal["dishonesty", "tax", "procurement"], data: bytes, *, source: str, published_on: dt.date,
             allow_empty: bool = False) -> dict[str, Any]:
        """Put a list (CSV or JSON) in force; returns its id and how many hits it made and took away."""
        done: dict[str, Any] = self._api.post("/credit-lists", {
            "kind": kind, "source": source, "published_on": published_on.isoformat(), "content": encoded(data),
            "allow_empty": allow_empty})
        return done

    def lists(self) -> builtins.list[dict[str, Any]]:
        """Every import, newest first."""
        return builtins.list(self._api.get("/credit-lists")["items"])

    def hits(self, *, status: str | None = None, organisation: str | None = None) -> builtins.list[CreditHit]:
        """Organisations found on a list."""
        return [read(CreditHit, one) for one in self._api.get("/credit-hits", status=status, organisation=organisation)["items"]]

    def decide(self, id: str, action: Literal["confirm", "dismiss", "lift"], note: str) -> CreditHit:
        """Decide what a hit means."""
        return read(CreditHit, self._api.post(f"/credit-hits/{quote(id, safe='')}/decide", {"action": action, "note": note}))


class Ownership:
    """Declared shares. Whoever the operator controls cannot develop second-tier products."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, organisation: str | None = None) -> builtins.list[Shareholding]:
        """What an organisation declared; without one what everybody did, for those who may see that."""
        return [read(Shareholding, one) for one in self._api.get("/shareholdings", organisation=organisation)["items"]]

    def declare(self, *, owner_code: str, owner_name: str, owned_code: str, owned_name: str, share_bp: int,
                since: dt.date | None = None, until: dt.date | None = None) -> Shareholding:
        """Declare that one holds so many basis points of another."""
        return read(Shareholding, self._api.post("/shareholdings", {
            "owner_code": owner_code, "owner_name": owner_name, "owned_code": owned_code, "owned_name": owned_name, "share_bp": share_bp,
            "since": since.isoformat() if since else None, "until": until.isoformat() if until else None}))

    def end(self, id: str, last_day: dt.date) -> Shareholding:
        """Say that a share is held no longer."""
        return read(Shareholding, self._api.post(f"/shareholdings/{quote(id, safe='')}/end", {"last_day": last_day.isoformat()}))


class Partners:
    """The operator's partners, filed with the data authority."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None) -> builtins.list[Partner]:
        """Newest first."""
        return [read(Partner, one) for one in self._api.get("/partners", status=status)["items"]]

    def get(self, id: str) -> Partner:
        """One filing, with what may be done."""
        return read(Partner, self._api.get(f"/partners/{quote(id, safe='')}"))

    def draft(self, *, name: str, credit_code: str, cooperation: str, qualifications: str, duties: str, starts_on: dt.date,
              ends_on: dt.date) -> Partner:
        """Begin to file a partner. For the operator."""
        return read(Partner, self._api.post("/partners", {
            "name": name, "credit_code": credit_code, "cooperation": cooperation, "qualifications": qualifications, "duties": duties,
            "starts_on": starts_on.isoformat(), "ends_on": ends_on.isoformat()}))

    def add_file(self, id: str, data: bytes, name: str) -> StoredFile:
        """Add evidence."""
        return read(StoredFile, self._api.post(f"/partners/{quote(id, safe='')}/files", sent(data, name)))

    def act(self, id: str, action: Literal["submit", "withdraw", "return", "refuse", "accept", "end"], reason: str = "") -> Partner:
        """Take the next step; returning, refusing and ending need a reason."""
        return read(Partner, self._api.post(f"/partners/{quote(id, safe='')}/act", {"action": action, "reason": reason}))
