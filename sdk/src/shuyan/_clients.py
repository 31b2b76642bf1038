"""An organisation's programs at the market: making them, replacing their secrets, revoking them."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable
from urllib.parse import quote

from pydantic import Field

from shuyan._http import Api
from shuyan._models import Record

_PATH = "/clients"


class Client(Record):
    """A program that acts for its organisation, or (with redirect addresses) an app that acts for people who allow it."""

    client_id: str
    organisation_id: str
    name: str
    scope: str
    grants: list[str] = Field(default_factory=list)
    redirect_uris: list[str] = Field(default_factory=list)
    created_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None
    client_secret: str = Field("", repr=False)
    """Only in the answer that made it."""


class Clients:
    """The programs of the caller's organisation; for its administrators, and for programs that make others."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self) -> builtins.list[Client]:
        """All of them, oldest first, revoked ones too."""
        return [Client.model_validate(item) for item in self._api.get(_PATH)["items"]]

    def create(self, name: str, scope: str, *, redirect_uris: Iterable[str] = (), public: bool = False) -> Client:
        """Register a program; its :attr:`Client.client_secret` is given this once.

        Args:
            scope: space separated.
            redirect_uris: where an app that acts for people gets its codes; without, it acts for the organisation.
            public: an app on people's own machines, which can keep no secret.
        """
        return Client.model_validate(self._api.post(_PATH, {
            "name": name, "scope": scope, "redirect_uris": [*redirect_uris], "public": public}))

    def replace_secret(self, client_id: str) -> Client:
        """A new secret, given this once; the old one and what was got with it end at once."""
        return Client.model_validate(self._api.post(f"{_PATH}/{quote(client_id, safe='')}/secret"))

    def revoke(self, client_id: str) -> Client:
        """End a program, with every token it holds."""
        return Client.model_validate(self._api.post(f"{_PATH}/{quote(client_id, safe='')}/revoke"))
