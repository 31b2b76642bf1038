"""Operator selection at the market: a notice with its criteria, applications, an expert panel, a ranking, an operator."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pydantic import Field

from shuyan._agreements import read
from shuyan._http import Api
from shuyan._models import Record


class Selection(Record):
    """A call for operators. :meth:`Selections.get` also gives ``applications``, ``experts``, ``ranking`` and ``actions``."""

    id: str
    organisation_id: str
    title_zh: str
    title_en: str
    conditions: str = ""
    criteria: list[dict[str, Any]] = Field(default_factory=list)
    status: str
    apply_until: dt.datetime | None = None
    candidate_id: str | None = None
    agreement_id: str | None = None
    reason: str = ""
    ranking: list[dict[str, Any]] = Field(default_factory=list)
    applications: list[dict[str, Any]] = Field(default_factory=list)
    experts: list[dict[str, Any]] = Field(default_factory=list)
    actions: list[str] = Field(default_factory=list)


class Application(Record):
    """An application to be the operator."""

    id: str
    selection_id: str
    organisation_id: str
    statement: str = ""
    status: str
    reason: str = ""


class Selections:
    """Operator selections."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None, limit: int | None = None) -> builtins.list[Selection]:
        """Newest first; published ones are public."""
        return [read(Selection, item) for item in self._api.pages("/selections", limit=limit, status=status)]

    def get(self, id: str) -> Selection:
        """One selection with everything the caller may see of it."""
        return read(Selection, self._api.get(f"/selections/{quote(id, safe='')}"))

    def draft(self, *, title_zh: str, title_en: str, conditions: str, criteria: Sequence[Mapping[str, Any]], apply_until: dt.datetime
              ) -> Selection:
        """Draft a notice. For the data authority.

        Args:
            criteria: ``key``, ``name_zh``, ``name_en`` and ``weight`` each; the weights add up to 100.
            apply_until: aware; the first moment after the last application.
        """
        return read(Selection, self._api.post("/selections", {
            "title_zh": title_zh, "title_en": title_en, "conditions": conditions, "criteria": [dict(one) for one in criteria],
            "apply_until": apply_until.isoformat()}))

    def publish(self, id: str) -> Selection:
        """Publish a notice. For a reviewer who has not drafted it."""
        return self._do(id, "publish")

    def apply(self, id: str, statement: str, files: Iterable[str]) -> Application:
        """Apply to be the operator, with ids of uploaded files."""
        return read(Application, self._api.post(f"/selections/{quote(id, safe='')}/applications",
                                                {"statement": statement, "files": [*files]}))

    def name_expert(self, id: str, member_id: str) -> None:
        """Put a member of any organisation without a stake on the panel."""
        self._api.post(f"/selections/{quote(id, safe='')}/experts", {"member_id": member_id})

    def dismiss_expert(self, id: str, expert_id: str) -> Selection:
        """Take an expert off the panel who has scored nothing."""
        return self._do(id, f"experts/{quote(expert_id, safe='')}/dismiss")

    def negotiate(self, id: str) -> Selection:
        """Invite the one ranked first to negotiate."""
        return self._do(id, "negotiate")

    def go_on(self, id: str, reason: str) -> Selection:
        """The negotiation has failed: go on to the next in the ranking."""
        return self._do(id, "next", {"reason": reason})

    def conclude(self, id: str, terms: Mapping[str, Any]) -> Selection:
        """Write down the terms that were negotiated; as for :meth:`shuyan.Market.agreements`' drafts."""
        return self._do(id, "conclude", {"terms": dict(terms)})

    def send_back(self, id: str, reason: str) -> Selection:
        """Send negotiated terms back."""
        return self._do(id, "return", {"reason": reason})

    def approve(self, id: str) -> Selection:
        """Approve the result; public notice begins. For a reviewer who neither drafted nor negotiated."""
        return self._do(id, "approve")

    def cancel(self, id: str, reason: str) -> Selection:
        """Call a selection off."""
        return self._do(id, "cancel", {"reason": reason})

    def withdraw(self, application_id: str) -> Application:
        """Take one's own application back before the deadline."""
        return self._application(application_id, "withdraw", {})

    def set_aside(self, application_id: str, reason: str) -> Application:
        """Set an application aside that does not meet the published conditions. For the authority's reviewer."""
        return self._application(application_id, "set-aside", {"reason": reason})

    def _do(self, id: str, action: str, body: dict[str, Any] | None = None) -> Selection:
        return read(Selection, self._api.post(f"/selections/{quote(id, safe='')}/{action}", body or {}))

    def _application(self, id: str, action: str, body: dict[str, Any]) -> Application:
        return read(Application, self._api.post(f"/applications/{quote(id, safe='')}/{action}", body))
