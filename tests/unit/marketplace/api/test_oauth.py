"""The authorisation server, asked by apps, browsers and Authlib's own client, which knows nothing of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2 import rfc8414, rfc9207
from tests.factories.apps import CALLBACK, LOOPBACK, App, Site, make_app, make_person, query_of
from tests.factories.market import City, make_city, make_token
from werkzeug.test import TestResponse

from marketplace import db
from marketplace.parties import connections, memberships, rules
from marketplace.parties import service as parties
from marketplace.parties.models import AppConnection
from marketplace.settings import settings
from shuyan.problems import ProblemError


class Town(Site):
    """A market, an app of the developer's, and an administrator of the consumer's."""

    def __init__(self) -> None:
        super().__init__()
        with db.transaction() as session:
            self.city: City = make_city(session)
            self.person = make_person(session, self.city["consumer"], self.city["other"])
            self.app_: App = make_app(session, self.city["developer"])


@pytest.fixture
def town(sqlite_database: Any) -> Town:
    del sqlite_database
    return Town()


def test_authlibs_client_gets_in_with_what_discovery_says(town: Town) -> None:
    found = town.back.get("/.well-known/oauth-authorization-server").json
    rfc8414.AuthorizationServerMetadata(found).validate(metadata_classes=[rfc9207.AuthorizationServerMetadata])
    assert found["issuer"] == settings().public_url
    with db.transaction() as session:
        app = make_app(session, town.city["developer"], public=False)
    client = OAuth2Client(app.client_id, app.secret, scope="read orders", redirect_uri=CALLBACK, code_challenge_method="S256",
                          transport=httpx.WSGITransport(app=town.app), token_endpoint_auth_method="client_secret_basic",
                          revocation_endpoint_auth_method="client_secret_basic")
    address, state = client.create_authorization_url(found["authorization_endpoint"], code_verifier=app.verifier)
    sent_on = town.send(town.browser(town.person), address.removeprefix(found["issuer"]), decision="allow").headers["Location"]
    assert sent_on.startswith(f"{CALLBACK}&")
    token = client.fetch_token(found["token_endpoint"], authorization_response=sent_on, state=state, code_verifier=app.verifier)
    assert (token["token_type"], token["scope"], token["expires_in"]) == ("Bearer", "orders read", 3600)
    me = client.get(f"{found['issuer']}/api/v1/me").json()
    assert (me["party"], me["organisation_id"], me["name"]) == ("consumer", town.city["consumer"].organisation_id, "王芳")
    assert (me["client_id"], me["member_id"], me["scopes"]) == (app.client_id, town.person.member.id, ["orders", "read"])
    renewed = client.refresh_token(found["token_endpoint"], refresh_token=token["refresh_token"])
    assert renewed["refresh_token"] != token["refresh_token"]
    shown = client.introspect_token(found["introspection_endpoint"], token=renewed["access_token"]).json()
    assert (shown["active"], shown["scope"], shown["sub"], shown["iss"]) == (True, "orders read", town.person.member.id, found["issuer"])
    assert client.revoke_token(found["revocation_endpoint"], token=renewed["refresh_token"]).status_code == 200
    assert client.introspect_token(found["introspection_endpoint"], token=renewed["access_token"]).json() == {"active": False}


def test_the_app_is_told_who_answers_and_its_own_state(town: Town) -> None:
    browser = town.browser(town.person)
    for decision, expected in (("allow", "code"), ("deny", "error"), ("", "error")):
        told = query_of(town.send(browser, town.app_.address(), decision=decision))
        assert expected in told
        assert (told["iss"], told["state"], told["from"]) == (settings().public_url, "s-1", "shuyan")
    assert told["error"] == "access_denied"


def test_consent_says_who_asks_for_what_and_for_which_organisation(town: Town) -> None:
    browser = town.browser(town.person)
    page = browser.get(town.app_.address(scope="read orders"))
    for text in ("报表助手", "The developer", "The consumer", "place and cancel orders", "app.example.org"):
        assert text in page.text, text
    assert "call bought products" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example.org;" in policy
    assert page.headers["Cache-Control"] == "no-store"
    # as another organisation of the same person's
    with db.reading() as session:
        (other,) = [member for member, _ in parties.memberships_of(session, town.person.account_id) if member.id != town.person.member.id]
    answer = town.send(browser, town.app_.address(), act_for=other.id)
    assert answer.headers["Location"] == town.app_.address()
    assert "Another" in browser.get(town.app_.address()).text
    tokens = town.app_.tokens(town, town.person)
    assert town.me(tokens["access_token"]).json["organisation_id"] == town.city["other"].organisation_id


def test_somebody_who_is_not_signed_in_signs_in_first_and_comes_back(town: Town) -> None:
    answer = town.browser(None).get(town.app_.address())
    assert answer.status_code == 302
    assert urlsplit(answer.headers["Location"]).path == "/sign-in"
    assert "code_challenge" in query_of(answer)["next"]


def test_consent_needs_the_pages_own_form(town: Town) -> None:
    browser = town.browser(town.person)
    answer = browser.post(town.app_.address(), data={"decision": "allow"})
    assert "code=" not in answer.headers.get("Location", "")
    with db.reading() as session:
        assert session.query(AppConnection).all() == []


UNREGISTERED: list[dict[str, str | None]] = [
    {"client_id": "nobody"}, {"client_id": None}, {"redirect_uri": None}, {"redirect_uri": "https://evil.example.org/callback?from=shuyan"},
    {"redirect_uri": CALLBACK + "/"}, {"redirect_uri": CALLBACK + "&x=1"}, {"redirect_uri": "https://app.example.org/callback"},
    {"redirect_uri": "https://app.example.org@evil.example.org/callback?from=shuyan"}, {"redirect_uri": CALLBACK.upper()},
    {"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": 'https://x/"><script>'}, {"redirect_uri": "https://x/\r\nSet-Cookie: a=b"},
    {"client_id": 'x"\\é'}, {"redirect_uri": "https://app.example.org:443/callback?from=shuyan"},
]


def test_nobody_is_sent_to_an_address_that_is_not_registered(town: Town) -> None:
    english, chinese = town.browser(town.person), town.browser(town.person, "zh")
    for changed in UNREGISTERED:
        answer = english.get(town.app_.address(**changed))
        assert answer.status_code == 400, changed
        assert "Location" not in answer.headers
        assert "nothing was allowed" in answer.text
        assert "未作任何授权" in chinese.get(town.app_.address(**changed)).text


WRONG: list[tuple[dict[str, str | None], str]] = [
    ({"code_challenge": None}, "invalid_request"), ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"), ({"code_challenge": "short"}, "invalid_request"),
    ({"scope": "read operate"}, "invalid_scope"), ({"scope": "jobs"}, "invalid_scope"), ({"scope": 'x"'}, "invalid_scope"),
    ({"response_type": "token"}, "unsupported_response_type"), ({"response_type": None}, "unsupported_response_type"),
]


def test_what_is_wrong_with_a_request_is_told_to_the_app(town: Town) -> None:
    browser = town.browser(town.person)
    for changed, error in WRONG:
        answer = browser.get(town.app_.address(**changed))
        told = query_of(answer)
        assert answer.headers["Location"].startswith(f"{CALLBACK}&")
        assert (told["error"], told["state"], told["iss"]) == (error, "s-1", settings().public_url), changed
    hostile: list[dict[str, str | None]] = [{"response_type": 'c"\\'}, {"state": "\x00"}, {"scope": "\x00"}]
    for changed in hostile:
        assert browser.get(town.app_.address(**changed)).status_code == 400


def test_a_parameter_sent_twice_is_refused(town: Town) -> None:
    answer = town.browser(town.person).get(town.app_.address() + "&scope=read")
    assert answer.status_code == 400
    for form in ("grant_type=refresh_token&grant_type=client_credentials", "grant_type=authorization_code&code=a&code=b"):
        refused = town.back.post("/oauth/token", data=form, content_type="application/x-www-form-urlencoded")
        assert (refused.status_code, refused.json["error"]) == (400, "invalid_request")
    assert town.back.post("/oauth/token?client_secret=x", data={"grant_type": "client_credentials"}).json["error"] == "invalid_request"


def test_state_with_anything_in_it_comes_back_as_it_was(town: Town) -> None:
    state = 'ä"<>&= \r\n%00;/#'
    told = query_of(town.send(town.browser(town.person), town.app_.address(state=state), decision="allow"))
    assert told["state"] == state
    assert "\n" not in town.send(town.browser(town.person), town.app_.address(state=state), decision="allow").headers["Location"]


def test_a_code_needs_its_verifier_its_app_and_its_address(town: Town) -> None:
    app = town.app_
    with db.transaction() as session:
        other = make_app(session, town.city["developer"])
    code = app.code(town, town.person)
    refused: list[tuple[TestResponse, str]] = [
        (app.redeem(town, code, code_verifier="x" * 43), "invalid_grant"), (app.redeem(town, code, code_verifier=None), "invalid_request"),
        (app.redeem(town, code, code_verifier="short"), "invalid_request"), (app.redeem(town, code, code_verifier=app.challenge), "invalid_grant"),
        (app.redeem(town, code, redirect_uri="https://app.example.org/callback"), "invalid_grant"),
        (app.redeem(town, code, redirect_uri=None), "invalid_grant"), (app.redeem(town, code, client_id=other.client_id), "invalid_grant"),
        (app.redeem(town, "nonsense"), "invalid_grant"), (app.redeem(town, "é" * 1000), "invalid_grant"),
        (app.redeem(town, code, client_secret="guess"), "invalid_client"), (app.redeem(town, code, client_id="nobody"), "invalid_client"),
    ]
    for answer, error in refused:
        assert answer.json["error"] == error, answer.text
        assert answer.status_code in (400, 401)
        assert answer.headers["Cache-Control"] == "no-store"
    assert app.redeem(town, code).status_code == 200  # nothing of this has used it up


def test_a_confidential_app_proves_itself_with_its_secret_and_pkce(town: Town) -> None:
    with db.transaction() as session:
        app = make_app(session, town.city["developer"], public=False)
    answer = town.browser(town.person).get(app.address(code_challenge=None, code_challenge_method=None))
    assert query_of(answer)["error"] == "invalid_request"
    code = app.code(town, town.person)
    assert app.redeem(town, code, client_secret=None).json["error"] == "invalid_client"
    assert app.redeem(town, code, client_secret="wrong").json["error"] == "invalid_client"
    tokens = app.redeem(town, code).json
    assert town.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_id=app.client_id).json["error"] == "invalid_client"
    # an app that acts for people never acts for its organisation, nor the other way round
    assert town.token(grant_type="client_credentials", **app.proof).json["error"] == "unauthorized_client"
    with db.transaction() as session:
        row, secret = parties.create_client(session, town.city["developer"], name="program", scope="read")
    assert town.token(grant_type="authorization_code", code=code, client_id=row.client_id, client_secret=secret).json["error"] == "unauthorized_client"
    assert town.back.post("/oauth/device_authorization", data={"client_id": row.client_id, "client_secret": secret}).json["error"] == "unauthorized_client"


PORTS = {
    "http://127.0.0.1:49152/callback": True, "http://127.0.0.1/callback": True, "http://127.0.0.1:0/callback": False,
    "http://127.0.0.1:99999/callback": False, "http://127.0.0.1:49152/other": False, "http://localhost:49152/callback": False,
    "http://[::1]:49152/callback": False, "https://127.0.0.1:49152/callback": False, "http://127.0.0.1:49152@evil.org/callback": False,
    "http://127.0.0.1.evil.org:80/callback": False,
}


def test_an_app_on_a_persons_machine_chooses_its_port_and_nothing_else(town: Town) -> None:
    with db.transaction() as session:
        app = make_app(session, town.city["developer"], redirect_uri=LOOPBACK)
    for asked, good in PORTS.items():
        answer = town.browser(town.person).get(app.address(redirect_uri=asked))
        assert answer.status_code == (200 if good else 400), asked
        if good:
            app.redirect_uri = asked
            assert "an app on this computer" in answer.text
            assert app.tokens(town, town.person)["token_type"] == "Bearer"


@pytest.mark.parametrize("uri", [
    "http://app.example.org/", "https://", "https://x/#part", "https://user@x/", "https://x/ y", "https://x/\ny", "ftp://x/", "x", "",
    "https://x:99999/", "https://x:0/", "https://é.example/", "https://X.example/;a 'self'", "https://a;b/", "http://[::1/", "https://x/\\y",
    "http://127.0.0.2/", "http://localhost.evil.org/", "https://x/" + "y" * 500, "javascript:alert(1)"])
def test_addresses_that_cannot_be_registered(uri: str) -> None:
    with pytest.raises(ProblemError) as refused:
        rules.check_redirect(uri)
    assert refused.value.code == "invalid_redirect"


def test_scope_is_never_widened(town: Town) -> None:
    app = town.app_
    tokens = app.tokens(town, town.person, scope="read orders")
    assert app.refresh(town, tokens["refresh_token"], scope="read orders jobs").json["error"] == "invalid_scope"
    narrow = app.refresh(town, tokens["refresh_token"], scope="read").json
    assert narrow["scope"] == "read"
    refused = town.api(narrow["access_token"], "POST", "/orders", {"product_id": "x"})
    assert (refused.status_code, refused.json["code"]) == (403, "scope_missing")
    assert app.refresh(town, narrow["refresh_token"]).json["scope"] == "orders read"  # what the person allowed stays allowed
    everything = app.tokens(town, town.person, scope=None)
    assert everything["scope"] == "orders read"  # jobs are nothing a consumer has


def test_roles_limit_an_app_as_they_limit_its_person(town: Town) -> None:
    with db.transaction() as session:
        auditor = make_person(session, town.city["consumer"], roles=("auditor",))
        app = make_app(session, town.city["developer"], scope="read orders people")
    token = app.tokens(town, auditor, scope=None)["access_token"]
    assert town.me(token).json["roles"] == ["auditor"]
    for path, body in (("/orders", {"product_id": "prd_x"}), ("/clients", {"name": "x", "scope": "read"})):
        assert town.api(token, "POST", path, body).status_code in (400, 403, 404), path
    assert town.api(token, "POST", "/clients", {"name": "x", "scope": "read"}).json["code"] == "not_allowed"


def test_an_app_leaves_no_program_behind_unless_it_may_manage_people(town: Town) -> None:
    with db.transaction() as session:
        plain, trusted = (make_app(session, town.city["developer"], scope=scope) for scope in ("read", "read people"))
    refused = town.api(plain.tokens(town, town.person, scope=None)["access_token"], "POST", "/clients", {"name": "x", "scope": "read"})
    assert (refused.status_code, refused.json["code"]) == (403, "scope_missing")
    token = trusted.tokens(town, town.person, scope=None)["access_token"]
    made = town.api(token, "POST", "/clients", {"name": "x", "scope": "read"})
    assert made.status_code == 201
    assert town.api(token, "POST", "/clients", {"name": "y", "scope": "read orders"}).json["code"] == "scope_not_allowed"


def _end_membership(town: Town) -> None:
    with db.transaction() as session:
        make_person(session, town.city["consumer"])  # an administrator stays
        member = town.person.member
        memberships.end_membership(session, parties.actor_for_member(session, member), member.id)


def _revoke_app(town: Town) -> None:
    with db.transaction() as session:
        parties.revoke_client(session, town.city["developer"], town.app_.client_id)


def _suspend_owner(town: Town) -> None:
    with db.transaction() as session:
        parties.set_status(session, town.city["developer"].organisation_id or "", "suspended")


def _disconnect(town: Town) -> None:
    with db.transaction() as session:
        (found, _client), = connections.list_connections(session, town.person.account_id)
        connections.disconnect(session, town.person.signed_in(), found.id)


@pytest.mark.parametrize("end", [_end_membership, _revoke_app, _suspend_owner, _disconnect])
def test_an_apps_tokens_end_with_what_they_stand_for(town: Town, end: Any) -> None:
    tokens = town.app_.tokens(town, town.person)
    code = town.app_.code(town, town.person) if end is not _disconnect else None
    assert town.me(tokens["access_token"]).status_code == 200
    end(town)
    assert town.me(tokens["access_token"]).json["code"] == "token_invalid"
    assert town.app_.refresh(town, tokens["refresh_token"]).json["error"] in ("invalid_grant", "invalid_client")
    if code:
        assert town.app_.redeem(town, code).json["error"] in ("invalid_grant", "invalid_client")


def test_in_a_suspended_organisation_nothing_is_read_but_its_own_registration(town: Town) -> None:
    token = town.app_.tokens(town, town.person)["access_token"]
    program = make_token(town.city["consumer"], "read")
    with db.transaction() as session:
        parties.set_status(session, town.city["consumer"].organisation_id or "", "suspended")
    for held in (token, program):
        me = town.me(held)
        assert (me.status_code, me.json["standing"]) == (200, False)
        for path in ("/orders", "/entitlements", "/quality-objections", "/jobs"):
            refused = town.api(held, "GET", path)
            assert (refused.status_code, refused.json["code"]) == (403, "standing_required"), path
        assert town.api(held, "GET", "/products").status_code == 200  # what everybody may read


def test_a_consumers_program_may_object_to_the_quality_of_data(town: Town) -> None:
    held = make_token(town.city["consumer"], "read objections")
    refused = town.api(held, "POST", "/quality-objections", {"resource_id": "res_x", "text": "x"})
    assert refused.json["code"] not in ("scope_missing", "not_allowed"), refused.text
    reading = make_token(town.city["consumer"], "read")
    assert town.api(reading, "POST", "/quality-objections", {"resource_id": "res_x", "text": "x"}).json["code"] == "scope_missing"


def test_introspection_and_revocation_are_for_the_app_whose_token_it_is(town: Town) -> None:
    with db.transaction() as session:
        mine, other = (make_app(session, town.city["developer"], public=False) for _ in range(2))
    tokens = mine.tokens(town, town.person)
    for kind in ("access_token", "refresh_token"):
        for app, active in ((mine, True), (other, False)):
            answer = town.back.post("/oauth/introspect", data={"token": tokens[kind], **app.proof})
            assert (answer.status_code, answer.json["active"]) == (200, active)
    assert town.back.post("/oauth/introspect", data={"token": tokens["access_token"], "client_id": mine.client_id}).json["error"] == "invalid_client"
    assert town.back.post("/oauth/introspect", data={"token": "x", "client_id": town.app_.client_id}).json["error"] == "invalid_client"
    assert town.back.post("/oauth/introspect", data=mine.proof).json["error"] == "invalid_request"
    assert town.back.post("/oauth/introspect", data={"token": "nonsense", **mine.proof}).json == {"active": False}
    for token in (*tokens.values(), "nonsense"):
        assert town.back.post("/oauth/revoke", data={"token": str(token), **other.proof}).status_code == 200
    assert town.me(tokens["access_token"]).status_code == 200  # it was not the other's to end
    assert town.back.post("/oauth/revoke", data={"token": tokens["access_token"], **mine.proof}).status_code == 200
    assert town.me(tokens["access_token"]).status_code == 401
    renewed = mine.refresh(town, tokens["refresh_token"]).json
    assert town.back.post("/oauth/revoke", data={"token": renewed["refresh_token"], **mine.proof}).status_code == 200
    assert town.me(renewed["access_token"]).status_code == 401


def test_a_new_secret_ends_the_old_one_and_what_was_got_with_it(town: Town) -> None:
    held = make_token(town.city["developer"], "read")
    client_id = town.me(held).json["client_id"]
    with db.transaction() as session:
        row, secret = parties.create_client(session, town.city["developer"], name="program", scope="read")
    ours = town.token(grant_type="client_credentials", client_id=row.client_id, client_secret=secret).json["access_token"]
    answer = town.api(held, "POST", f"/clients/{row.client_id}/secret")
    assert answer.status_code == 200
    assert town.me(ours).status_code == 401
    assert town.token(grant_type="client_credentials", client_id=row.client_id, client_secret=secret).status_code == 401
    assert town.token(grant_type="client_credentials", client_id=row.client_id, client_secret=answer.json["client_secret"]).status_code == 200
    assert town.api(held, "POST", f"/clients/{town.app_.client_id}/secret").json["code"] == "scope_not_allowed"  # it can do more
    foreign = make_token(town.city["consumer"], "read")
    assert town.api(foreign, "POST", f"/clients/{client_id}/secret").status_code == 404


def test_a_device_is_let_in_by_its_person_who_sees_what_asks(town: Town) -> None:
    shown = town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE, "scope": "read orders"}).json
    assert shown["verification_uri"] == f"{settings().public_url}/device"
    poll = {"grant_type": rules.DEVICE, "device_code": shown["device_code"], "client_id": connections.COMMAND_LINE}
    assert town.token(**poll).json["error"] == "authorization_pending"
    browser = town.browser(town.person)
    assert "Enter the code" in browser.get("/device").text
    typed = shown["user_code"].replace("-", " ").lower()
    page = browser.get(f"/device?user_code={typed}").text
    for text in (shown["user_code"], "The consumer", "place and cancel orders"):
        assert text in page
    answer = town.send(browser, f"/device?user_code={shown['user_code']}", user_code=shown["user_code"], decision="allow")
    assert "Go back to where the code was shown" in browser.get(answer.headers["Location"]).text
    tokens = town.token(**poll).json
    assert tokens["scope"] == "orders read"
    assert town.me(tokens["access_token"]).json["member_id"] == town.person.member.id
    assert town.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_id=connections.COMMAND_LINE).status_code == 200


def test_a_device_that_is_refused_is_told_so(town: Town) -> None:
    shown = town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE}).json
    browser = town.browser(town.person)
    town.send(browser, f"/device?user_code={shown['user_code']}", user_code=shown["user_code"], decision="deny")
    poll = {"grant_type": rules.DEVICE, "device_code": shown["device_code"]}
    assert town.token(**poll, client_id=connections.COMMAND_LINE).json["error"] == "access_denied"
    assert town.token(**poll, client_id=town.app_.client_id).json["error"] == "unauthorized_client"
    assert town.token(grant_type=rules.DEVICE, device_code="é", client_id=connections.COMMAND_LINE).json["error"] == "invalid_grant"
    assert town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE, "scope": "all"}).json["error"] == "invalid_scope"
    assert town.back.post("/oauth/device_authorization", data={"client_id": "nobody"}).json["error"] == "invalid_client"


def test_guessing_device_codes_is_slowed_down(town: Town) -> None:
    browser = town.browser(town.person)
    own = town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE}).json["user_code"]
    assert [browser.get(f"/device?user_code={code}").status_code for code in ("BBBBBBBZ", "BBBBBBBX", own)] == [404, 404, 200]
    answers = [browser.get(f"/device?user_code=BBBB-BB{first}{second}").status_code for first in "BCDFG" for second in "BCDFG"]
    assert answers[0] == 404
    assert answers.count(404) == 18  # a right one in between gives back no more than itself
    assert answers[-1] == 429
    shown = town.back.post("/oauth/device_authorization", data={"client_id": connections.COMMAND_LINE}).json
    assert browser.get(f"/device?user_code={shown['user_code']}").status_code == 429
    for code in ("", "%00", "é" * 40, "<script>", "' OR 1=1"):
        assert browser.get(f"/device?user_code={code}").status_code in (200, 400, 404, 429)


def test_hostile_credentials_at_the_token_endpoint(town: Town) -> None:
    for header in ("Basic é", "Basic ////", "Basic YQ==", "Basic " + "x" * 5000, "Bearer x", "Basic"):
        for path in ("/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/device_authorization"):
            answer = town.back.post(path, data={"grant_type": "client_credentials", "token": "x"}, headers={"Authorization": header.encode()})
            assert answer.status_code in (400, 401), (path, header, answer.text)
            assert "error" in answer.json or answer.json["code"]
