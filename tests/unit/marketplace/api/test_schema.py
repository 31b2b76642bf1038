"""The API keeps its own description, whoever calls: requests made from the OpenAPI document, as each role and as nobody.

Every answer must be one the document allows and no answer may be a server error; what may be refused is refused in the one
form of every error. That well-formed data may be refused is no failure: no document can say which ids exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.factories.apps import shared_app
from tests.factories.market import MODEL, STATISTICS, make_city, make_product, make_token

from marketplace import db
from marketplace.api import limits, oauth
from marketplace.metering.writer import close_writers
from marketplace.parties import rules
from shuyan.trust import keys

ROLES = ("data_authority", "operator", "developer", "consumer", None)


@pytest.fixture
def market(sqlite_database: Any) -> Iterator[tuple[Any, dict[str | None, dict[str, str]]]]:
    """The application, and the headers with which each role calls it."""
    oauth.forget()
    app = shared_app()  # before the limiter is switched off: made without it, it would lack it for every later test
    limits.limiter.enabled = False
    keys.save_public_key(sqlite_database.settings.keys_dir / "authority.pub", keys.generate_signing_key().public_key())
    with db.transaction() as session:
        city = make_city(session)
        make_product(session, city, STATISTICS)
        make_product(session, city, MODEL)
    headers: dict[str | None, dict[str, str]] = {None: {}}
    for role in ROLES:
        if role is not None:
            token = make_token(city[role], " ".join(sorted(rules.allowed_scopes(role))))
            headers[role] = {"Authorization": f"Bearer {token}"}
    yield app, headers
    limits.limiter.enabled = True
    close_writers()


@pytest.mark.parametrize("role", ROLES, ids=str)
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_no_request_from_the_document_breaks_it(market: tuple[Any, dict[str | None, dict[str, str]]], role: str | None) -> None:
    app, headers = market
    schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
    broken = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        def one(case: Any) -> None:
            response = case.call(headers={"Accept-Language": "en", **headers[role]})
            assert response.status_code < 500, f"{case.method} {case.path}: {response.status_code} {response.text[:300]}"
            if response.status_code >= 400 and "/oauth/" not in case.path:
                assert response.headers["content-type"][0] == "application/problem+json", case.path
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

        broken += _tried(operation, one)
    assert broken == [], "\n\n".join(broken)


def _tried(operation: Any, one: Any) -> list[str]:
    from hypothesis import given

    try:
        given(operation.as_strategy())(one)()
    except (Exception, BaseExceptionGroup) as error:  # each operation is tried, and all that broke are told
        return [f"{operation.method.upper()} {operation.path}: {_told(error)}"]
    return []


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(one) for one in error.exceptions)
    return " ".join(str(error).split())[:400]
