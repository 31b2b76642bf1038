"""An organisation's people at the market, and whom it invites. For apps and command lines that act for one of them."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from pydantic import Field

from shuyan._agreements import read
from shuyan._http import Api
from shuyan._models import Record


class Member(Record):
    """One person in the caller's organisation."""

    id: str
    display_name: str = ""
    email: str = ""
    roles: list[str] = Field(default_factory=list)
    status: str
    created_at: dt.datetime | None = None
    actions: list[str] = Field(default_factory=list)


class MemberInvitation(Record):
    """An invitation into the caller's organisation; ``link`` is there once, in what :meth:`Members.invite` returns."""

    id: str
    email: str
    roles: list[str] = Field(default_factory=list)
    status: str
    expires_at: dt.datetime | None = None
    link: str | None = None


class Members:
    """The people of the caller's organisation."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self) -> builtins.list[Member]:
        """Everybody, suspended members too, oldest first."""
        return [read(Member, item) for item in self._api.pages("/members", limit=None)]

    def change_roles(self, id: str, roles: Iterable[str]) -> Member:
        """Give a member other roles: of ``admin``, ``handler``, ``reviewer``, ``finance``, ``auditor``.

        Raises:
            Conflict: nobody would be left to administer the organisation (``last_admin``).
        """
        return self._do(id, "roles", {"roles": builtins.list(roles)})

    def suspend(self, id: str) -> Member:
        """Keep a member from acting for the organisation for the time being."""
        return self._do(id, "suspend")

    def resume(self, id: str) -> Member:
        """Let a suspended member act again."""
        return self._do(id, "resume")

    def end(self, id: str) -> Member:
        """End a membership, somebody's or one's own, with every app that acts for it."""
        return self._do(id, "end")

    def invitations(self) -> builtins.list[MemberInvitation]:
        """Those that can still be accepted, newest first."""
        return [read(MemberInvitation, item) for item in self._api.pages("/invitations", limit=None)]

    def invite(self, email: str, roles: Iterable[str]) -> MemberInvitation:
        """Invite a person by mail. ``link`` of the answer is for where no mail arrives; pass it to nobody else."""
        return read(MemberInvitation, self._api.post("/invitations", {"email": email, "roles": builtins.list(roles)}))

    def withdraw(self, id: str) -> MemberInvitation:
        """Make an invitation void."""
        return read(MemberInvitation, self._api.post(f"/invitations/{quote(id, safe='')}/withdraw", {}))

    def _do(self, id: str, action: str, body: dict[str, Any] | None = None) -> Member:
        return read(Member, self._api.post(f"/members/{quote(id, safe='')}/{action}", body or {}))
