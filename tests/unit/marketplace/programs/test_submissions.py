"""Developers' apps at the market: who may hand in, review, accept and fetch what, and what is believed afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, col, select, update
from tests.factories.market import City, make_city
from tests.factories.programs import Signer, make_package

from marketplace import db
from marketplace.actor import Actor
from marketplace.computing import service as computing
from marketplace.computing.models import Node
from marketplace.programs import rules
from marketplace.programs import service as programs
from marketplace.programs.examine import examine
from marketplace.programs.models import AppPackage, AppSubmission
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError


@pytest.fixture
def session(database: Any) -> Any:
    del database
    with db.transaction() as opened:
        yield opened


@pytest.fixture
def city(session: Session) -> City:
    return make_city(session)


@pytest.fixture
def signer(session: Session) -> Signer:
    del session
    return Signer(settings())


def refused(code: str, call: Any, *args: Any, **more: Any) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        call(*args, **more)
    assert raised.value.code == code
    return raised.value


def submitted(session: Session, city: City, version: str = "1.0.0", **more: Any) -> AppSubmission:
    return programs.submit(session, city["developer"], make_package(version, **more).data)


def accepted(session: Session, city: City, signer: Signer, version: str = "1.0.0", **more: Any) -> AppSubmission:
    row = submitted(session, city, version, **more)
    return programs.accept(session, city["operator"], row.id, signer.sign(make_package(version, **more)))


def department(city: City) -> Actor:
    return Actor("source_department", city.departments[0], member_id="mem_department")


def test_from_submission_to_the_gallery(session: Session, city: City, signer: Signer) -> None:
    package = make_package()
    row = programs.submit(session, city["developer"], package.data, note="首个版本")
    assert (row.digest, row.findings, row.status, row.note) == (package.digest, [], "submitted", "首个版本")
    assert programs.submit(session, city["developer"], package.data).id == row.id
    assert "visit_costs" not in programs.installed(session)

    detail = programs.get_submission(session, city["operator"], row.id)
    assert detail.actions == ["return", "reject", "accept"]
    assert detail.previous is None
    facts = programs.detail_facts(detail)
    assert {one["action"] for one in facts["outputs"]} == set(package.manifest.app.actions)

    signature = signer.sign(package)
    done = programs.accept(session, city["operator"], row.id, signature)
    assert (done.status, done.signer) == ("accepted", "运营公司")
    assert programs.accept(session, city["operator"], row.id, signature).id == row.id

    app = programs.installed(session)["visit_costs"]
    assert app.digest == package.digest
    assert programs.find(session, "visit_costs", package.digest) is app
    assert programs.find(session, "visit_costs", "sha256:" + "0" * 64) is None
    assert programs.download(session, department(city), row.id)[1] == package.data

    node = session.get_one(Node, city.nodes[0])
    node.apps = [{"name": "visit_costs", "digest": package.digest}]
    session.add(node)
    card = computing.get_app(session, city["developer"], "visit_costs")
    assert card.allowed_at == ("node-0",)
    assert card.developer == city["developer"].organisation_id
    assert [(one.version, one.digest) for one in card.versions] == [("1.0.0", package.digest)]

    assert [event.tag for event in trust.events_for(session, "visit_costs", limit=10)] == [
        "programs:app:submitted", "programs:app:accepted"]


def test_the_next_version_is_compared_with_the_last_accepted(session: Session, city: City, signer: Signer) -> None:
    first = accepted(session, city, signer)
    second = submitted(session, city, "1.1.0", bound=5e5)
    detail = programs.get_submission(session, city["operator"], second.id)
    assert detail.previous is not None
    assert detail.previous.id == first.id
    assert any(change.where.endswith(".bound") and change.new == 5e5 for change in detail.changes.declarations)
    programs.accept(session, city["operator"], second.id, signer.sign(make_package("1.1.0", bound=5e5)))
    assert programs.installed(session)["visit_costs"].version == "1.1.0"
    assert programs.find(session, "visit_costs", first.digest) is not None  # a grant may still name it
    assert [one.version for one in computing.get_app(session, city["developer"], "visit_costs").versions] == ["1.1.0", "1.0.0"]

    programs.retire(session, city["operator"], second.id, "发现缺陷")
    assert programs.installed(session)["visit_costs"].version == "1.0.0"
    assert programs.find(session, "visit_costs", second.digest) is None
    refused("wrong_state", programs.download, session, department(city), second.id)
    for version in ("1.1.0", "1.0.5", "1.1"):
        refused("app_version_not_higher", submitted, session, city, version, more="\n")


def test_who_may_do_what(session: Session, city: City, signer: Signer) -> None:
    row = submitted(session, city)
    developer, operator, other = city["developer"], city["operator"], city["consumer"]
    refused("not_allowed", programs.submit, session, other, make_package().data)
    refused("scope_missing", programs.submit, session, dataclasses.replace(developer, scopes=frozenset({"read"})),
            make_package().data)
    refused("not_signed_in", programs.list_submissions, session, Actor("public"))
    signature = signer.sign(make_package())
    for actor in (developer, city["data_authority"]):
        refused("not_allowed", programs.accept, session, actor, row.id, signature)
    for actor in (other, department(city)):  # not even that there is one
        refused("not_found", programs.get_submission, session, actor, row.id)
        assert programs.list_submissions(session, actor).items == []
    assert programs.get_submission(session, city["data_authority"], row.id).actions == []
    assert programs.get_submission(session, developer, row.id).actions == ["withdraw"]
    refused("comment_required", programs.return_, session, operator, row.id, "  ")
    refused("not_allowed", programs.withdraw, session, operator, row.id)
    programs.return_(session, operator, row.id, "请说明用途")
    refused("wrong_state", programs.accept, session, operator, row.id, signature)
    refused("app_unchanged", submitted, session, city)
    again = submitted(session, city, more="\n# clearer\n")  # the same version, another package
    programs.withdraw(session, developer, again.id)
    assert submitted(session, city, more="\n# clearer\n").id != again.id


def test_nobody_reviews_an_app_of_their_own(session: Session, city: City, signer: Signer) -> None:
    operator = city["operator"]
    row = programs.submit(session, operator, make_package().data)
    assert programs.get_submission(session, operator, row.id).actions == ["withdraw"]
    for call in (programs.reject, programs.return_):
        refused("own_submission", call, session, operator, row.id, "no")
    refused("own_submission", programs.accept, session, operator, row.id, signer.sign(make_package()))
    colleague = dataclasses.replace(operator, member_id="mem_colleague")
    assert programs.accept(session, colleague, row.id, signer.sign(make_package())).status == "accepted"


def test_a_name_belongs_to_one_developer_for_good(session: Session, city: City) -> None:
    row = submitted(session, city)
    programs.withdraw(session, city["developer"], row.id)
    refused("app_name_of_others", programs.submit, session, city["operator"], make_package("9.0").data)
    refused("app_name_built_in", programs.submit, session, city["developer"], make_package(name="boosting").data)


def test_one_review_at_a_time_and_versions_only_grow(session: Session, city: City) -> None:
    row = submitted(session, city, "1.2")
    refused("app_in_review", submitted, session, city, "1.3")
    programs.reject(session, city["operator"], row.id, "不符合规范")
    refused("app_version_lower", submitted, session, city, "1.1.9")
    assert submitted(session, city, "1.10").status == "submitted"


def test_what_the_rules_find_keeps_it_from_being_accepted(session: Session, city: City, signer: Signer) -> None:
    more = "\nimport socket\n"
    row = submitted(session, city, more=more)
    assert {one["rule"] for one in row.findings} >= {"import"}
    assert "accept" not in programs.get_submission(session, city["operator"], row.id).actions
    refused("app_findings_open", programs.accept, session, city["operator"], row.id, signer.sign(make_package(more=more)))


def test_wrong_signatures(session: Session, city: City, signer: Signer) -> None:
    row = submitted(session, city)
    package, operator = make_package(), city["operator"]
    for signature in (Signer().sign(package), signer.sign(make_package("1.0.1")), "", "a.b.c"):
        refused("app_signature_invalid", programs.accept, session, operator, row.id, signature)
    (settings().keys_dir / "apps.pub").unlink()
    refused("apps_key_missing", programs.accept, session, operator, row.id, signer.sign(package))


def test_keys_are_replaced_one_by_the_other(session: Session, city: City, signer: Signer) -> None:
    accepted(session, city, signer)
    path = settings().keys_dir / "apps.pub"
    old = path.read_bytes()
    fresh = Signer(settings())
    assert "visit_costs" not in programs.installed(session)  # signed by a key that is no longer there
    path.write_bytes(path.read_bytes() + old)
    assert programs.installed(session)["visit_costs"].version == "1.0.0"
    accepted(session, city, fresh, "1.1.0")
    assert programs.installed(session)["visit_costs"].version == "1.1.0"


def test_a_package_changed_in_the_database_is_neither_run_nor_given_out(session: Session, city: City, signer: Signer) -> None:
    row = accepted(session, city, signer)
    evil = make_package(more="\n# evil\n")
    assert programs.altered_records(session) == []
    session.execute(update(AppPackage).where(col(AppPackage.submission_id) == row.id).values(data=evil.data))
    session.expire_all()
    for actor in (department(city), city["developer"]):
        refused("app_package_altered", programs.download, session, actor, row.id)
    refused("app_package_altered", programs.get_submission, session, city["operator"], row.id)
    assert programs.altered_records(session) == [row.id]
    programs.forget()  # another process, or the same after a start
    assert "visit_costs" not in programs.installed(session)
    # with the digest in the table changed as well, it is the signature that does not hold
    session.execute(update(AppSubmission).where(col(AppSubmission.id) == row.id).values(digest=evil.digest))
    session.expire_all()
    assert "visit_costs" not in programs.installed(session)
    assert programs.find(session, "visit_costs", evil.digest) is None
    refused("app_package_altered", programs.download, session, department(city), row.id)


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data.replace(b"rows", b"r0ws", 1),
                                   lambda _: b"", lambda _: b"PK", lambda data: data + bytes(3 * 1024 * 1024)])
def test_no_package(session: Session, city: City, spoil: Any) -> None:
    refused("package_invalid", programs.submit, session, city["developer"], spoil(make_package().data))
    assert session.exec(select(AppSubmission)).all() == []


@pytest.mark.parametrize("more", ["\nx = a" + ".b" * 10_000, "\nx = " + "+".join("1" * 10_000), "\n#" + "x" * 600_000])
def test_source_that_nobody_can_read(more: str) -> None:
    refused("package_invalid", lambda: examine(make_package(more=more).data))


def test_a_developer_retires(session: Session, city: City, signer: Signer) -> None:
    row = accepted(session, city, signer)
    refused("comment_required", programs.retire, session, city["developer"], row.id, "")
    assert programs.retire(session, city["developer"], row.id, "不再维护").status == "retired"
    assert "visit_costs" not in programs.installed(session)


versions = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(st.lists(st.tuples(versions, st.sampled_from(["accepted", "retired", "returned", "rejected", "withdrawn"])), max_size=6), versions)
def test_no_accepted_version_is_ever_reached_again(earlier: list[tuple[str, str]], version: str) -> None:
    known = [rules.Earlier(one, f"sha256:{number}", status) for number, (one, status) in enumerate(earlier)]
    with contextlib.suppress(ProblemError):
        rules.check_next("app", version, "sha256:new", known)
        assert all(rules.version_key(version) > rules.version_key(one) for one, status in earlier if status in rules.EVER_ACCEPTED)
        assert all(rules.version_key(version) >= rules.version_key(one) for one, _ in earlier)
