"""The pages of a small market, asked over WSGI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from tests.factories.apps import shared_app
from tests.factories.market import City, make_city

from marketplace.actor import SYSTEM
from marketplace.db import transaction
from marketplace.parties import service as parties

PASSWORD = "a long enough password"


@dataclass
class Pages:
    """An application, its city, and browsers without a browser."""

    app: Any
    city: City

    def visitor(self, language: str = "en") -> Any:
        """A client that asks for ``language`` and keeps cookies."""
        client = self.app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
        return client

    def member(self, kind: str, language: str = "en") -> Any:
        """A signed-in member of an organisation of ``kind``."""
        client = self.visitor(language)
        answer = self.post(client, "/sign-in", "/sign-in", email=f"{kind}@example.org", password=PASSWORD)
        assert answer.status_code == 303
        return client

    def post(self, client: Any, form_page: str, to: str, **data: str) -> Any:
        """Send a form with the token of the page it stands on."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(form_page).text)
        assert token, form_page
        return client.post(to, data={"csrf_token": token.group(1), **data},
                           headers={"Referer": f"http://localhost{form_page}"})


@pytest.fixture
def pages(sqlite_database: Any) -> Pages:
    with transaction() as session:
        city = make_city(session)
        for kind, actor in city.actors.items():
            parties.add_member(session, SYSTEM, organisation_id=actor.organisation_id or "", email=f"{kind}@example.org",
                               display_name=f"Somebody of {kind}", password=PASSWORD)
    return Pages(shared_app(), city)
