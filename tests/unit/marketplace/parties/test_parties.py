"""Organisations, members and programs: who they are, and what they may not become."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from marketplace.actor import PUBLIC, SYSTEM
from marketplace.parties import passwords, rules, service
from marketplace.parties.models import AccessToken, ApiClient, Member
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

SEED = {
    "organisations": [
        {"id": "org_operator", "kind": "operator", "name_zh": "运营机构", "name_en": "Operator",
         "credit_code": "91350211M000100Y46",
         "members": [{"email": "Op@Example.cn", "display_name": "王一", "password": "long enough", "roles": ["admin"]}],
         "clients": [{"client_id": "operator-app", "name": "app", "scope": "operate read"}]},
    ],
    "members": [{"organisation_id": "org_operator", "email": "b@example.cn", "display_name": "李二",
                 "password": "long enough"}],
}


def test_seeding_twice_adds_once(database: Any) -> None:
    with database.transaction() as session:
        first = service.seed(session, SEED)
    with database.transaction() as session:
        again = service.seed(session, SEED)
    assert (first.organisations, first.members, first.clients) == (1, 2, 1)
    assert (again.organisations, again.members, again.clients) == (0, 0, 0)
    assert set(first.secrets) == {"operator-app"}
    assert not again.secrets


@pytest.mark.parametrize("data", [
    {"organisation": []}, {"organisations": [{"id": "x"}]}, {"members": [{"email": "a@b.cn", "display_name": "x",
                                                                          "password": "long enough"}]}])
def test_a_bad_seed_says_where(sqlite_database: Any, data: dict[str, Any]) -> None:
    with pytest.raises(ProblemError) as caught, sqlite_database.transaction() as session:
        service.seed(session, data)
    assert caught.value.code == "bad_seed"


def test_signing_in(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        service.seed(session, SEED)
    with sqlite_database.reading() as session:
        account = service.authenticate(session, " op@example.CN ", "long enough")
        (member, organisation), = service.memberships_of(session, account.id)
        actor = service.actor_for_member(session, member)
        assert (actor.party, actor.organisation_id, actor.scopes) == ("operator", "org_operator", None)
        assert (actor.roles, organisation.name_en) == ({"admin"}, "Operator")
        assert (account.password_hash or "").startswith("$argon2id$")
        for email, password in (("op@example.cn", "wrong"), ("nobody@example.cn", "long enough")):
            with pytest.raises(ProblemError) as caught:
                service.authenticate(session, email, password)
            assert caught.value.code == "wrong_credentials"


def test_no_personal_data_in_the_log(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        service.seed(session, SEED)
        leaves = " ".join(event.leaf for event in trust.events_for(session, None, -1, 100))
    assert "org_operator" in leaves
    for personal in ("example.cn", "王一", "李二"):
        assert personal not in leaves


@pytest.mark.parametrize("code", ["91350211M000100Y43", "123", "91350211M000100YI6"])
def test_credit_codes_are_checked(sqlite_database: Any, code: str) -> None:
    with pytest.raises(ProblemError) as caught, sqlite_database.transaction() as session:
        service.register_organisation(session, SYSTEM, kind="developer", name_zh="x", name_en="x", credit_code=code)
    assert caught.value.code == "bad_credit_code"


def test_nobody_else_registers_organisations(sqlite_database: Any) -> None:
    with pytest.raises(ProblemError) as caught, sqlite_database.transaction() as session:
        service.register_organisation(session, PUBLIC, kind="developer", name_zh="x", name_en="x")
    assert caught.value.code == "not_allowed"


def test_a_taken_address_is_told_and_rolls_nothing_else_back(database: Any) -> None:
    with database.transaction() as session:
        service.seed(session, SEED)
        with pytest.raises(ProblemError) as caught:
            service.add_member(session, SYSTEM, organisation_id="org_operator", email="OP@example.cn",
                               display_name="x", password="long enough")
    assert caught.value.code == "already_taken"
    with database.reading() as session:
        assert service.get_organisation(session, "org_operator").name_en == "Operator"


def test_programs_hold_only_what_their_organisation_may(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        service.seed(session, SEED)
        with pytest.raises(ProblemError) as caught:
            service.create_client(session, SYSTEM, name="x", scope="grants", organisation_id="org_operator")
        assert caught.value.code == "scope_not_allowed"
        program = service.actor_for_client(session, session.get_one(ApiClient, "operator-app"), "read")
        with pytest.raises(ProblemError) as caught:
            service.create_client(session, program, name="x", scope="operate")
        assert caught.value.code == "scope_not_allowed"
        with pytest.raises(ProblemError) as caught:
            service.add_member(session, program, organisation_id="org_operator", email="x@y.cn", display_name="x",
                               password="long enough")
        assert caught.value.code == "not_allowed"


def test_tokens_end_with_their_time_and_their_program(database: Any) -> None:
    with database.transaction() as session:
        service.seed(session, SEED)
        service.issue_token(session, client_id="operator-app", token="t1", scope="read")
        service.issue_token(session, client_id="operator-app", token="t2", scope="read")
    with database.reading() as session:
        found = service.bearer(session, "t1")
        assert found is not None
        assert found.actor.scopes == {"read"}
        assert service.bearer(session, "t3") is None
        assert session.get(AccessToken, "t1") is None  # kept as a hash only
    with database.transaction() as session:
        row = session.get_one(AccessToken, rules.hash_secret("t1"))
        row.expires_at = dt.datetime.now(dt.UTC)
        session.add(row)
    with database.reading() as session:
        assert service.bearer(session, "t1") is None
        assert service.bearer(session, "t2") is not None
    with database.transaction() as session:
        service.revoke_client(session, SYSTEM, "operator-app")
        service.revoke_client(session, SYSTEM, "operator-app")
    with database.reading() as session:
        assert service.bearer(session, "t2") is None
        assert service.find_client(session, "operator-app") is None


def test_seeded_secrets_are_stored_hashed(sqlite_database: Any) -> None:
    with sqlite_database.transaction() as session:
        report = service.seed(session, SEED)
        row = session.get_one(ApiClient, "operator-app")
        secret = report.secrets["operator-app"]
        assert secret not in (row.secret_hash, row.name)
        assert rules.secret_matches(secret, row.secret_hash)
        assert session.get(Member, "none") is None


def test_one_person_in_two_organisations(database: Any) -> None:
    with database.transaction() as session:
        service.seed(session, SEED)
        service.seed(session, {"organisations": [
            {"id": "org_shop", "kind": "consumer", "name_zh": "商店", "name_en": "Shop", "members": [
                {"email": "op@example.cn", "display_name": "王一", "password": "never used", "roles": ["finance"]}]}]})
    with database.reading() as session:
        account = service.authenticate(session, "op@example.cn", "long enough")
        first, second = [member for member, _organisation in service.memberships_of(session, account.id)]
        assert service.same_person(session, first.id, second.id)
        other = service.account_by_email(session, "b@example.cn")
        assert other is not None
        (colleague, _organisation), = service.memberships_of(session, other.id)
        assert not service.same_person(session, first.id, colleague.id)
        assert not service.same_person(session, first.id, "operator-app")
        assert service.same_person(session, "operator-app", "operator-app")
        assert [one.email for one in service.recipients(session, "org_operator", None)] == ["op@example.cn", "b@example.cn"]
        assert [one.email for one in service.recipients(session, "org_operator", "finance")] == ["b@example.cn"]
        assert [one.email for one in service.recipients(session, "org_shop", "finance")] == ["op@example.cn"]


@pytest.mark.parametrize(("password", "code"), [
    ("short", "weak_password"), ("1234567", "weak_password"), ("password", "common_password"), ("qwertyuiop", "common_password"),
    ("aaaaaaaaaa", "common_password"), ("abababababab", "common_password"), ("123456789", "common_password"),
    ("lucky@example.cn", "common_password"), ("x" * 257, "long_password")])
def test_passwords_that_are_refused(password: str, code: str) -> None:
    with pytest.raises(ProblemError) as caught:
        passwords.check(password, "lucky@example.cn")
    assert caught.value.code == code


@pytest.mark.parametrize("password", ["long enough", "数据可用不可见原始不出域", "correct horse battery staple", "x7Kp-92q"])
def test_passwords_that_are_taken(password: str) -> None:
    assert passwords.check(password, "lucky@example.cn") == password
