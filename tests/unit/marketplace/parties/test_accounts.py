"""Signing in, second factors, guessing, forgotten passwords, members and invitations, through their use cases."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlmodel import select

from marketplace import db
from marketplace.actor import SYSTEM, Actor
from marketplace.clock import shifted, utc_now
from marketplace.notices import mail
from marketplace.notices.models import OutgoingMail
from marketplace.parties import (
    accounts,
    addresses,
    connections,
    external,
    guessing,
    invitations,
    memberships,
    operating,
    resets,
    rules,
    second_factor,
    service,
    sessions,
    sign_in,
    totp,
)
from marketplace.parties.external import Vouched
from marketplace.parties.models import Account, EmailChange, GuessCounter, MemberInvitation, ResetLink
from marketplace.parties.sessions import SignedIn
from marketplace.parties.sign_in import Place
from marketplace.settings import settings
from marketplace.trust import service as trust
from shuyan.problems import ProblemError

PASSWORD, ANOTHER = "correct horse battery", "staple under the bridge"
HERE, THERE = Place("192.0.2.1", "Firefox"), Place("198.51.100.7", "curl")


@dataclass
class People:
    admin: Actor
    handler: Actor
    organisation: str

    def account(self, email: str) -> Account:
        with db.reading() as session:
            found = accounts.account_by_email(session, email)
        assert found is not None
        return found


def _people() -> People:
    with db.transaction() as session:
        organisation = service.register_organisation(session, SYSTEM, kind="developer", name_zh="清源公司", name_en="Qingyuan").id
        made = [service.add_member(session, SYSTEM, organisation_id=organisation, email=f"{role}@example.cn", display_name=f"某{role}",
                                   password=PASSWORD, roles=[role]) for role in ("admin", "handler")]
        admin, handler = (service.actor_for_member(session, row) for row in made)
    return People(admin, handler, organisation)


@pytest.fixture
def people(sqlite_database: Any) -> People:
    return _people()


def code_of(act: Callable[[], object]) -> str:
    """The problem's code, "" where there was none."""
    try:
        act()
    except ProblemError as error:
        return error.code
    return ""


def within(act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with db.transaction() as session:
        return act(session, *args, **kwargs)


def signed_in(email: str = "admin@example.cn", password: str = PASSWORD, place: Place = HERE) -> SignedIn:
    step = sign_in.with_password(email, password, place)
    with db.reading() as session:
        found = sessions.find(session, step.token)
    assert found is not None
    return found


def enrolled(who: SignedIn) -> tuple[str, list[str]]:
    """A second factor for this person: its key, and the recovery codes."""
    key = within(second_factor.begin, who.account.id)
    return key, within(second_factor.confirm, who, now_code(key))


def now_code(key: str, steps: int = 0) -> str:
    return totp.code(key, int(utc_now().timestamp()) // totp.STEP + steps)


def together(*acts: Callable[[], object]) -> list[str]:
    """What comes of acts that begin at the same moment: problems' codes, "" for what was done."""
    ready = Barrier(len(acts))

    def run(act: Callable[[], object]) -> str:
        ready.wait()
        return code_of(act)

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def mails() -> list[tuple[str, str, str]]:
    """Recipient, title and body, as they would go out."""
    with db.reading() as session:
        rows = session.exec(select(OutgoingMail).order_by(OutgoingMail.id)).all()
        return [(row.recipient, row.title, mail.compose(row).get_content()) for row in rows]


def token_in(text: str) -> str:
    found = re.search(r"token=([\w-]+)", text)
    assert found
    return found.group(1)


# --- RFC 6238, appendix B, in the six digits that apps show ---


def test_passwords_are_kept_by_argon2id_at_what_owasp_asks(full_strength: PasswordHasher) -> None:
    assert full_strength.hash(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(("seconds", "shown"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")])
def test_codes_are_those_of_the_standard(seconds: int, shown: str) -> None:
    key = base64.b32encode(b"12345678901234567890").decode()
    assert totp.code(key, seconds // totp.STEP) == shown


def test_the_address_in_the_qr_code_names_person_and_market() -> None:
    address = totp.address("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "a@example.cn")
    assert address.startswith("otpauth://totp/Shuyan:a%40example.cn?")
    assert "issuer=Shuyan" in address


# --- second factor ---


def test_a_second_factor_is_asked_for_and_no_code_is_taken_twice(people: People) -> None:
    key, recovery = enrolled(signed_in())
    assert len(set(recovery)) == second_factor.RECOVERY_CODES
    with shifted(dt.timedelta(seconds=totp.STEP)):
        step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
        assert step.stage == "second_factor"
        assert code_of(lambda: sign_in.with_code(step.token, now_code(key, 9), HERE)) == "wrong_code"
        code = now_code(key)
        full = sign_in.with_code(step.token, f"{code[:3]} {code[3:]}", HERE)
        assert full.stage == "full"
        assert full.token != step.token
        assert code_of(lambda: sign_in.with_code(step.token, now_code(key, 1), HERE)) == "sign_in_expired"
        again = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
        assert code_of(lambda: sign_in.with_code(again.token, code, HERE)) == "wrong_code"


def test_a_recovery_code_stands_in_for_the_phone_once(people: People) -> None:
    _key, recovery = enrolled(signed_in())
    for expected in ("full", "wrong_code"):
        step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
        said = code_of(lambda step=step: sign_in.with_code(step.token, recovery[0].upper(), HERE))  # type: ignore[misc]
        assert said == ("" if expected == "full" else expected)
    with db.reading() as session:
        assert second_factor.recovery_codes_left(session, people.account("admin@example.cn").id) == second_factor.RECOVERY_CODES - 1


def test_half_of_signing_in_lasts_ten_minutes_and_opens_nothing(people: People) -> None:
    key, _recovery = enrolled(signed_in())
    step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
    with db.reading() as session:
        assert len(sessions.list_sessions(session, step.account.id)) == 1  # the half-way one is none
    with shifted(dt.timedelta(minutes=11)):
        assert code_of(lambda: sign_in.with_code(step.token, now_code(key), HERE)) == "sign_in_expired"


def test_a_key_counts_only_once_a_phone_has_it_and_is_kept_sealed(people: People) -> None:
    who = signed_in()
    assert code_of(lambda: within(second_factor.confirm, who, "123456")) == "no_enrolment"
    key = within(second_factor.begin, who.account.id)
    assert within(second_factor.begin, who.account.id) == key  # a reloaded page shows the same
    assert code_of(lambda: within(second_factor.confirm, who, now_code(key, 50))) == "wrong_code"
    assert sign_in.with_password("admin@example.cn", PASSWORD, HERE).stage == "full"
    within(second_factor.confirm, who, now_code(key))
    account = people.account("admin@example.cn")
    assert account.totp_sealed
    assert key not in account.totp_sealed


def test_without_the_key_file_codes_cannot_be_checked_but_are_not_lost(people: People) -> None:
    key, _recovery = enrolled(signed_in())
    path = settings().keys_dir / "accounts.key"
    kept = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    with shifted(dt.timedelta(seconds=totp.STEP)):
        step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
        assert code_of(lambda: sign_in.with_code(step.token, now_code(key), HERE)) == "sealed_by_another_key"
        path.write_bytes(kept)
        assert sign_in.with_code(step.token, now_code(key), HERE).stage == "full"


def test_a_second_factor_can_be_demanded(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "second_factor_for", "admins")
    assert sign_in.with_password("handler@example.cn", PASSWORD, HERE).stage == "full"
    step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
    assert step.stage == "enrol"
    key = within(second_factor.begin, step.account.id)
    full, recovery = sign_in.with_new_factor(step.token, now_code(key), HERE)
    assert (full.stage, len(recovery)) == ("full", 10)
    with db.reading() as session:
        who = sessions.find(session, full.token)
    assert who is not None
    assert code_of(lambda: within(second_factor.remove, who)) == "second_factor_required"
    monkeypatch.setattr(settings(), "second_factor_for", "nobody")
    within(second_factor.remove, who)
    assert sign_in.with_password("admin@example.cn", PASSWORD, HERE).stage == "full"


def test_one_code_at_several_doors_at_once_opens_one(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guessing.FREE, "code", 100)  # that guesses are counted is another test
    _people()
    key, recovery = enrolled(signed_in())
    with shifted(dt.timedelta(seconds=totp.STEP)):
        for make in (lambda: now_code(key), lambda: recovery[3]):
            steps = [sign_in.with_password("admin@example.cn", PASSWORD, HERE) for _ in range(4)]
            code = make()  # last of all: a busy machine takes its time over passwords, and a code holds half a minute
            said = together(*(lambda step=step, code=code: sign_in.with_code(step.token, code, HERE) for step in steps))  # type: ignore[misc]
            assert sorted(said) == ["", "wrong_code", "wrong_code", "wrong_code"]


# --- guessing ---


def test_guessing_is_slowed_down_evenly_for_known_and_unknown_addresses(people: People) -> None:
    for email in ("admin@example.cn", "nobody@example.cn"):
        said = [code_of(lambda email=email: sign_in.with_password(email, "guess", THERE)) for _ in range(12)]  # type: ignore[misc]
        assert said == ["wrong_credentials"] * 10 + ["too_many_attempts"] * 2
    # the right password is not even looked at during the pause
    assert code_of(lambda: sign_in.with_password("admin@example.cn", PASSWORD, THERE)) == "too_many_attempts"
    # but a browser known to the person is another counter, and so is another person
    assert sign_in.with_password("admin@example.cn", PASSWORD, Place("198.51.100.7", "Firefox", known="mark")).stage == "full"
    assert sign_in.with_password("handler@example.cn", PASSWORD, THERE).stage == "full"
    with shifted(dt.timedelta(minutes=16)):
        assert sign_in.with_password("admin@example.cn", PASSWORD, THERE).stage == "full"


def test_one_address_cannot_try_many_people(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guessing.FREE, "address", 20)  # type: ignore[arg-type]
    said = [code_of(lambda number=number: sign_in.with_password(f"p{number}@example.cn", "Spring2026!", THERE)) for number in range(22)]  # type: ignore[misc]
    assert said[19:] == ["wrong_credentials", "too_many_attempts", "too_many_attempts"]
    assert code_of(lambda: sign_in.with_password("admin@example.cn", PASSWORD, HERE)) == ""


def test_neighbours_in_one_ipv6_network_are_one_address(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(guessing.FREE, "address", 3)  # type: ignore[arg-type]
    places = [Place(f"2001:db8:1:2::{number}") for number in range(4)]
    said = [code_of(lambda place=place: sign_in.with_password(f"{place.address}@x.cn", "x", place)) for place in places]  # type: ignore[misc]
    assert said[-1] == "too_many_attempts"
    assert code_of(lambda: sign_in.with_password("admin@example.cn", PASSWORD, Place("2001:db8:1:3::1"))) == ""


def test_guesses_at_once_are_all_counted(database: Any) -> None:
    _people()
    said = together(*[lambda: sign_in.with_password("admin@example.cn", "guess", THERE)] * 14)
    assert said.count("wrong_credentials") == 10
    assert said.count("too_many_attempts") == 4


def test_codes_are_guessed_at_five_times(people: People) -> None:
    enrolled(signed_in())
    step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
    said = [code_of(lambda: sign_in.with_code(step.token, "000000", HERE)) for _ in range(7)]
    assert said == ["wrong_code"] * 5 + ["too_many_attempts"] * 2
    within(operating.unlock, SYSTEM, "admin@example.cn")
    assert code_of(lambda: sign_in.with_code(step.token, "000000", HERE)) == "wrong_code"


def test_counters_name_nobody_and_are_forgotten(people: People) -> None:
    code_of(lambda: sign_in.with_password("admin@example.cn", "guess", THERE))
    with db.reading() as session:
        keys = " ".join(session.exec(select(GuessCounter.key)).all())
    assert "example" not in keys
    with shifted(dt.timedelta(hours=25)):
        code_of(lambda: sign_in.with_password("other@example.cn", "guess", HERE))
        with db.reading() as session:
            assert len(session.exec(select(GuessCounter.key)).all()) == 2


# --- sessions ---


def test_sessions_are_listed_and_ended_by_their_person_only(people: People) -> None:
    first, second, other = signed_in(), signed_in(place=THERE), signed_in("handler@example.cn")
    with db.reading() as session:
        rows = sessions.list_sessions(session, first.account.id)
    assert {(row.id, row.address, row.device) for row in rows} == {
        (first.session_id, "192.0.2.1", "Firefox"), (second.session_id, "198.51.100.7", "curl")}
    assert code_of(lambda: within(sessions.end, first.account.id, other.session_id)) == "not_found"
    assert within(sessions.end_all, first.account.id, but=first.session_id) == 1
    with db.reading() as session:
        assert [row.id for row in sessions.list_sessions(session, first.account.id)] == [first.session_id]
        assert len(sessions.list_sessions(session, other.account.id)) == 1


def test_a_session_ends_when_idle_and_after_twelve_hours_whatever_is_done(people: People) -> None:
    step = sign_in.with_password("admin@example.cn", PASSWORD, HERE)

    def alive() -> bool:
        with db.reading() as session:
            return sessions.find(session, step.token) is not None

    for minutes in range(0, 12 * 60, 50):
        with shifted(dt.timedelta(minutes=minutes)):
            assert alive()
            with db.reading() as session:
                found = sessions.find(session, step.token)
            assert found is not None
            within(sessions.note, found.session_id, "192.0.2.9")
    with shifted(dt.timedelta(hours=12, minutes=1)):
        assert not alive()
    idle = sign_in.with_password("admin@example.cn", PASSWORD, HERE)
    with shifted(dt.timedelta(minutes=61)), db.reading() as session:
        assert sessions.find(session, idle.token) is None


# --- passwords ---


def test_changing_the_password_asks_for_the_old_one_and_ends_other_sessions(people: People) -> None:
    who, elsewhere = signed_in(), sign_in.with_password("admin@example.cn", PASSWORD, THERE)
    assert code_of(lambda: sign_in.confirm_password(who.account, "wrong", HERE)) == "wrong_password"
    sign_in.confirm_password(who.account, PASSWORD, HERE)
    for bad, code in (("short", "weak_password"), ("12345678", "common_password"), ("x" * 300, "long_password"),
                      ("admin@example.cn", "common_password")):
        assert code_of(lambda bad=bad: within(resets.change_password, who, bad)) == code  # type: ignore[misc]
    within(resets.change_password, who, ANOTHER)
    with db.reading() as session:
        assert sessions.find(session, elsewhere.token) is None
        assert len(sessions.list_sessions(session, who.account.id)) == 1
    assert code_of(lambda: sign_in.with_password("admin@example.cn", PASSWORD, HERE)) == "wrong_credentials"
    assert signed_in(password=ANOTHER).account.id == who.account.id


def test_a_forgotten_password_is_replaced_by_a_mailed_link_once(people: People) -> None:
    key, _recovery = enrolled(signed_in())
    live = signed_in("admin@example.cn")
    resets.ask(" Admin@Example.cn ", "192.0.2.1", "en")
    ((recipient, title, body),) = mails()
    assert (recipient, title) == ("admin@example.cn", "[Shuyan] Reset your password")
    token = token_in(body)
    assert code_of(lambda: resets.use(token, "short", "192.0.2.1")) == "weak_password"  # the link still works
    resets.use(token, ANOTHER, "192.0.2.1")
    assert code_of(lambda: resets.use(token, PASSWORD, "192.0.2.1")) == "link_void"
    with db.reading() as session:
        assert sessions.list_sessions(session, live.account.id) == []
    step = sign_in.with_password("admin@example.cn", ANOTHER, HERE)
    assert step.stage == "second_factor"  # a mailbox alone does not take the phone's place
    assert key


def test_nobody_is_told_whether_an_address_is_known(people: People) -> None:
    resets.ask("nobody@example.cn", "192.0.2.1", "zh")
    assert mails() == []
    for _ in range(6):
        resets.ask("admin@example.cn", "192.0.2.1", "zh")  # no flood, and no word about it
    assert len(mails()) == 3
    assert code_of(lambda: [resets.ask(f"{n}@example.cn", "192.0.2.1", "zh") for n in range(20)]) == "too_many_attempts"


def test_a_reset_link_expires_and_only_the_last_one_counts(people: People) -> None:
    resets.ask("admin@example.cn", "192.0.2.1", "zh")
    resets.ask("admin@example.cn", "192.0.2.1", "zh")
    first, last = (token_in(body) for _to, _title, body in mails())
    assert code_of(lambda: resets.use(first, ANOTHER, "192.0.2.1")) == "link_void"
    with shifted(dt.timedelta(minutes=31)):
        assert code_of(lambda: resets.use(last, ANOTHER, "192.0.2.1")) == "link_void"
    assert code_of(lambda: resets.use("made up", ANOTHER, "192.0.2.1")) == "link_void"


def test_a_reset_link_used_at_once_works_once(database: Any) -> None:
    _people()
    resets.ask("admin@example.cn", "192.0.2.1", "zh")
    token = token_in(mails()[0][2])
    said = together(*(lambda n=n: resets.use(token, f"{ANOTHER} {n}", "192.0.2.1") for n in range(4)))  # type: ignore[misc]
    assert sorted(said) == ["", "link_void", "link_void", "link_void"]


def test_tokens_are_kept_as_hashes_and_mail_with_one_is_sealed_until_sent(people: People) -> None:
    resets.ask("admin@example.cn", "192.0.2.1", "zh")
    made = within(invitations.invite, people.admin, email="guest@example.cn", roles=["handler"])
    shown = token_in(made.link)
    sent = [token_in(body) for _to, _title, body in mails()]
    with db.reading() as session:
        kept = " ".join(str(row.model_dump()) for table in (OutgoingMail, ResetLink, MemberInvitation) for row in session.exec(select(table)))
        first = session.exec(select(OutgoingMail)).first()
    assert first is not None
    assert not any(token in kept for token in [*sent, shown])
    within(mail.mark, first.id, "sending")
    within(mail.mark, first.id, "sent")
    with db.reading() as session:
        assert session.get_one(OutgoingMail, first.id).body == ""


def test_a_person_is_told_of_changes_to_how_one_signs_in(people: People) -> None:
    who = signed_in()
    enrolled(who)
    within(second_factor.remove, who)
    within(resets.change_password, who, ANOTHER)
    within(external.link, who, Vouched("https://id.example", "42"))
    assert [title for _to, title, _body in mails()] == [
        "【数堰】账户安全提醒：两步验证已停用", "【数堰】账户安全提醒：密码已修改", "【数堰】账户安全提醒：已关联统一身份认证账号"]
    assert all(to == "admin@example.cn" and "/reset" in body for to, _title, body in mails())


# --- another address ---

NEW = "new@example.cn"


def ask(who: SignedIn, email: str = NEW, password: str = PASSWORD, code: str = "") -> str:
    """Ask for another address; the link's token, "" if none was mailed to it."""
    before = len(mails())
    addresses.ask(who, email, password=password, code=code, place=HERE, locale="zh")
    found = [re.search(r"token=([\w-]+)", body) for to, _title, body in mails()[before:] if to == rules.normal_email(email)]
    return found[0].group(1) if found and found[0] else ""


def test_an_address_changes_once_its_mail_is_read_and_the_old_one_is_told(people: People) -> None:
    who = signed_in()
    key, _recovery = enrolled(who)
    with shifted(dt.timedelta(minutes=2)):
        who = signed_in()
        assert code_of(lambda: ask(who, code="000000")) == "wrong_code"
        assert code_of(lambda: ask(who, password="wrong")) == "wrong_password"
        assert code_of(lambda: ask(who, "nonsense")) == "invalid_email"
        assert code_of(lambda: ask(who, " Admin@Example.cn")) == "same_address"
        assert mails() == []
        resets.ask("admin@example.cn", "192.0.2.1", "zh")
        reset = token_in(mails()[0][2])
        token = ask(who, " New@Example.cn ", code=now_code(key))
        assert [title for to, title, _body in mails() if to == "admin@example.cn"][1:] == ["【数堰】账户安全提醒：有人申请更改邮箱"]
        assert people.account("admin@example.cn").id == who.account.id  # nothing has changed yet
        assert addresses.confirm(who, token, "192.0.2.1") == NEW
        assert [title for to, title, _body in mails() if to == "admin@example.cn"][2:] == ["【数堰】账户安全提醒：邮箱已更改"]
        assert people.account(NEW).email_verified_at is not None
        assert code_of(lambda: sign_in.with_password("admin@example.cn", PASSWORD, THERE)) == "wrong_credentials"
        assert sign_in.with_password(NEW, PASSWORD, HERE).stage == "second_factor"
        assert code_of(lambda: resets.use(reset, ANOTHER, "192.0.2.1")) == "link_void"  # it went to the old address
        assert code_of(lambda: addresses.confirm(who, token, "192.0.2.1")) == "link_void"
    with db.reading() as session:
        assert trust.check_database(session).ok
        assert token not in str([row.model_dump() for row in session.exec(select(OutgoingMail))])


def test_a_link_for_an_address_is_for_its_asker_expires_and_only_the_last_one_counts(people: People) -> None:
    who, stranger = signed_in(), signed_in("handler@example.cn")
    first, last = ask(who), ask(who, "newer@example.cn")
    assert code_of(lambda: addresses.confirm(who, first, "192.0.2.1")) == "link_void"
    assert code_of(lambda: addresses.confirm(stranger, last, "192.0.2.1")) == "link_for_another"
    with shifted(dt.timedelta(minutes=31)):
        assert code_of(lambda: addresses.confirm(who, last, "192.0.2.1")) == "link_void"
    assert code_of(lambda: [addresses.confirm(who, f"guess {n}", "198.51.100.9") for n in range(9)]) == "link_void"
    assert code_of(lambda: [code_of(lambda: addresses.confirm(who, "guess", "198.51.100.9")) for _ in range(9)]
                   and addresses.confirm(who, "guess", "198.51.100.9")) == "too_many_attempts"
    within(resets.change_password, who, ANOTHER)  # whoever fears for the account makes what was asked for void
    assert code_of(lambda: addresses.confirm(who, last, "192.0.2.1")) == "link_void"


def test_whether_an_address_is_taken_is_told_to_its_reader_only(people: People) -> None:
    who = signed_in()
    assert ask(who, "handler@example.cn") == ""
    assert [title for to, title, _body in mails() if to == "handler@example.cn"] == ["【数堰】您的邮箱已有账户"]
    token = ask(who)
    within(accounts.open_account, email=NEW, display_name="后来者", password=PASSWORD)
    assert code_of(lambda: addresses.confirm(who, token, "192.0.2.1")) == "already_taken"
    assert people.account("admin@example.cn").id == who.account.id
    assert code_of(lambda: [ask(who, f"{n}@example.cn") for n in range(6)]) == "too_many_attempts"  # no flood of mail


def test_links_for_one_address_used_at_once_give_it_to_one(database: Any) -> None:
    _people()
    one, other = signed_in(), signed_in("handler@example.cn")
    tokens = ask(one), ask(other)
    said = together(lambda: addresses.confirm(one, tokens[0], "192.0.2.1"), lambda: addresses.confirm(one, tokens[0], "192.0.2.1"),
                    lambda: addresses.confirm(other, tokens[1], "192.0.2.1"))
    assert said.count("") == 1
    assert set(said) <= {"", "already_taken", "link_void"}
    with db.reading() as session:
        assert len(session.exec(select(EmailChange).where(EmailChange.used_at != None)).all()) == 1  # noqa: E711


# --- members and invitations ---


def test_an_invitation_makes_a_member_once(people: People) -> None:
    within(invitations.invite, people.admin, email=" Guest@Example.cn", roles=["handler", "reviewer"], locale="en")
    ((recipient, title, body),) = mails()
    assert (recipient, title) == ("guest@example.cn", "[Shuyan] Qingyuan invites you")
    token = token_in(body)
    account, member = within(invitations.accept_new, token, display_name="来宾", password=ANOTHER, locale="zh")
    assert (member.roles, member.organisation_id, account.email) == (["handler", "reviewer"], people.organisation, "guest@example.cn")
    assert account.email_verified_at is not None
    assert code_of(lambda: within(invitations.accept_new, token, display_name="x", password=ANOTHER, locale=None)) == "link_void"
    assert signed_in("guest@example.cn", ANOTHER).member is not None
    with db.reading() as session:
        leaves = " ".join(event.leaf for event in trust.events_for(session, None, -1, 100))
    assert "parties:member:joined" in leaves
    assert "guest" not in leaves


def test_only_who_is_invited_can_accept(people: People) -> None:
    made = within(invitations.invite, people.admin, email="guest@example.cn", roles=["handler"])
    wrong = signed_in("handler@example.cn")
    assert code_of(lambda: within(invitations.accept, token_in(made.link), wrong)) == "invitation_for_another"
    with db.transaction() as session:
        other = service.register_organisation(session, SYSTEM, kind="consumer", name_zh="惠民", name_en="Huimin").id
        service.add_member(session, SYSTEM, organisation_id=other, email="guest@example.cn", display_name="来宾", password=PASSWORD)
    token = token_in(made.link)
    assert code_of(lambda: within(invitations.accept_new, token, display_name="x", password=ANOTHER, locale=None)) == "account_exists"
    who = signed_in("guest@example.cn")
    member = within(invitations.accept, token, who)
    with db.reading() as session:
        both = service.memberships_of(session, who.account.id)
    assert {row.organisation_id for row, _organisation in both} == {people.organisation, other}
    assert within(sessions.switch, who, member.id).organisation_id == people.organisation
    again = signed_in("guest@example.cn").member
    assert again is not None
    assert again.id == member.id  # one goes on as one acted last
    handler = signed_in("handler@example.cn")
    assert code_of(lambda: within(sessions.switch, handler, member.id)) == "not_found"


def test_the_link_shown_to_the_administrator_proves_no_address(people: People) -> None:
    made = within(invitations.invite, people.admin, email="guest@example.cn", roles=["handler"])
    account, _member = within(invitations.accept_new, token_in(made.link), display_name="冒名", password=ANOTHER, locale=None)
    assert account.email_verified_at is None
    planted = signed_in("guest@example.cn", ANOTHER)
    enrolled(planted)
    within(external.link, planted, Vouched("https://id.example", "planted"))
    # the provider's word for the address links nothing with an account that never proved it
    assert code_of(lambda: external.enter(Vouched("https://id.example", "7", "guest@example.cn", True), HERE)) == "external_unknown"
    # whose mailbox it is gets the account back, and nothing that was set up before
    resets.ask("guest@example.cn", "192.0.2.1", "zh")
    resets.use(token_in(mails()[-1][2]), PASSWORD, "192.0.2.1")
    assert sign_in.with_password("guest@example.cn", PASSWORD, HERE).stage == "full"
    assert code_of(lambda: external.enter(Vouched("https://id.example", "planted"), HERE)) == "external_unknown"
    assert external.enter(Vouched("https://id.example", "7", "guest@example.cn", True), HERE).stage == "full"


def test_invitations_end(people: People) -> None:
    first = within(invitations.invite, people.admin, email="guest@example.cn", roles=["handler"])
    second = within(invitations.invite, people.admin, email="guest@example.cn", roles=["finance"])
    with db.reading() as session:
        assert [row.id for row in invitations.open_invitations(session, people.admin)] == [second.invitation.id]
        assert code_of(lambda: invitations.show(session, token_in(first.link))) == "link_void"
        with shifted(dt.timedelta(days=8)):
            assert code_of(lambda: invitations.show(session, token_in(second.link))) == "link_void"
            assert invitations.open_invitations(session, people.admin) == []
    within(invitations.withdraw, people.admin, second.invitation.id)
    with db.reading() as session:
        assert code_of(lambda: invitations.show(session, token_in(second.link))) == "link_void"
    assert code_of(lambda: within(invitations.withdraw, people.admin, second.invitation.id)) == "wrong_state"


@pytest.mark.parametrize(("email", "roles", "code"), [
    ("nonsense", ["handler"], "invalid_email"), ("a@b.cn\nBcc: x@y.cn", ["handler"], "invalid_email"), ("x" * 300 + "@b.cn", ["handler"], "invalid_email"),
    ("a@b.cn", [], "unknown_role"), ("a@b.cn", ["king"], "unknown_role"), ("handler@example.cn", ["handler"], "already_member")])
def test_bad_invitations_are_refused(people: People, email: str, roles: list[str], code: str) -> None:
    assert code_of(lambda: within(invitations.invite, people.admin, email=email, roles=roles)) == code


def test_an_invitation_accepted_at_once_makes_one_member(database: Any) -> None:
    people = _people()
    made = within(invitations.invite, people.admin, email="guest@example.cn", roles=["handler"])
    token = token_in(made.link)
    said = together(*(lambda n=n: within(invitations.accept_new, token, display_name=f"来宾{n}", password=f"{ANOTHER} {n}", locale=None)  # type: ignore[misc]
                      for n in range(4)))
    assert said.count("") == 1
    assert set(said) <= {"", "link_void", "account_exists", "already_taken"}
    with db.reading() as session:
        assert len(memberships.members(session, people.organisation)) == 3


def test_suspended_and_ended_members_act_no_more(people: People) -> None:
    who = signed_in("handler@example.cn")
    member_id = people.handler.member_id or ""
    within(memberships.suspend, people.admin, member_id)
    with db.reading() as session:
        assert service.memberships_of(session, who.account.id) == []
        assert [account.email for _row, account in memberships.members(session, people.organisation)] == ["admin@example.cn"]
        assert len(memberships.colleagues(session, people.admin)) == 2
    within(memberships.resume, people.admin, member_id)
    assert signed_in("handler@example.cn").member is not None
    within(memberships.end_membership, people.admin, member_id)
    assert signed_in("handler@example.cn").member is None
    assert code_of(lambda: within(memberships.resume, people.admin, member_id)) == "wrong_state"
    # invited anew they come back under the membership that what they did names
    made = within(invitations.invite, people.admin, email="handler@example.cn", roles=["reviewer"])
    back = within(invitations.accept, token_in(made.link), signed_in("handler@example.cn"))
    assert (back.id, back.roles, back.status) == (member_id, ["reviewer"], "active")


def test_an_organisation_keeps_an_administrator(people: People) -> None:
    admin = people.admin.member_id or ""
    for act in (lambda s: memberships.change_roles(s, people.admin, admin, ["handler"]), lambda s: memberships.suspend(s, people.admin, admin),
                lambda s: memberships.end_membership(s, people.admin, admin)):
        assert code_of(lambda act=act: within(act)) == "last_admin"  # type: ignore[misc]
    within(memberships.change_roles, people.admin, people.handler.member_id or "", ["admin", "handler"])
    within(memberships.change_roles, people.admin, admin, ["handler"])


def test_two_last_administrators_cannot_both_leave(database: Any) -> None:
    people = _people()
    ids = [people.admin.member_id or "", people.handler.member_id or ""]
    within(memberships.change_roles, people.admin, ids[1], ["admin"])
    with db.reading() as session:
        actors = [service.actor_for_member(session, row) for row, _account in memberships.members(session, people.organisation)]
    said = together(*(lambda a=a: within(memberships.end_membership, a, a.member_id or "") for a in actors))  # type: ignore[misc]
    assert sorted(said) == ["", "last_admin"]


# --- the external provider, as far as it is decided here ---


def test_an_identity_is_linked_by_its_person_or_by_a_proven_address(people: People) -> None:
    known = Vouched("https://id.example", "42", "admin@example.cn", True)
    for not_enough in (Vouched("https://id.example", "42"), Vouched("https://id.example", "42", "admin@example.cn"),
                       Vouched("https://id.example", "42", "nobody@example.cn", True)):
        assert code_of(lambda who=not_enough: external.enter(who, HERE)) == "external_unknown"  # type: ignore[misc]
    assert external.enter(known, HERE).account.email == "admin@example.cn"
    # linked once, the subject counts, whatever the address says later
    assert external.enter(Vouched("https://id.example", "42", "changed@example.cn"), HERE).account.email == "admin@example.cn"
    handler = signed_in("handler@example.cn")
    assert code_of(lambda: within(external.link, handler, known)) == "already_taken"
    row = within(external.link, handler, Vouched("https://id.example", "43"))
    assert external.enter(Vouched("https://id.example", "43"), HERE).account.email == "handler@example.cn"
    assert code_of(lambda: within(external.unlink, signed_in(), row.id)) == "not_found"
    within(external.unlink, handler, row.id)
    assert code_of(lambda: external.enter(Vouched("https://id.example", "43"), HERE)) == "external_unknown"


def test_the_provider_does_not_take_the_second_factors_place_unless_it_is_trusted_to(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled(signed_in())
    known = Vouched("https://id.example", "42", "admin@example.cn", True)
    assert external.enter(known, HERE).stage == "second_factor"
    monkeypatch.setattr(settings(), "oidc_trusts_second_factor", True)
    assert external.enter(known, HERE).stage == "full"


# --- the market's operator ---


def test_the_operator_of_the_market_begins_an_organisation_and_helps_who_is_locked_out(people: People) -> None:
    with db.transaction() as session:
        office = service.register_organisation(session, SYSTEM, kind="data_authority", name_zh="数据局", name_en="Bureau").id
        link = operating.invite_admin(session, SYSTEM, office, "first@example.cn").link
    account, member = within(invitations.accept_new, token_in(link), display_name="局长", password=ANOTHER, locale=None)
    assert member.roles == sorted(rules.EVERYTHING)
    assert account.email_verified_at is not None  # whoever runs the market vouches for whom it begins with
    who = signed_in()
    enrolled(who)
    within(operating.reset_second_factor, SYSTEM, "admin@example.cn")
    assert sign_in.with_password("admin@example.cn", PASSWORD, HERE).stage == "full"
    with db.reading() as session:
        assert all(row.id != who.session_id for row in sessions.list_sessions(session, who.account.id))
    resets.use(token_in(within(operating.reset_link, SYSTEM, "admin@example.cn")), ANOTHER, "192.0.2.1")
    assert signed_in(password=ANOTHER)
    for act in (operating.unlock, operating.reset_second_factor, operating.sign_out, operating.reset_link):
        assert code_of(lambda act=act: within(act, people.admin, "admin@example.cn")) == "not_allowed"  # type: ignore[misc]
        assert code_of(lambda act=act: within(act, SYSTEM, "nobody@example.cn")) == "not_found"  # type: ignore[misc]


def test_ending_a_membership_and_resetting_a_password_end_what_apps_may_do(people: People) -> None:
    with db.transaction() as session:
        service.create_client(session, SYSTEM, name="app", scope="read", organisation_id=people.organisation, client_id="client_app",
                              redirect_uris=["https://app.example/back"])
    ends: dict[str, Callable[[], object]] = {
        "handler@example.cn": lambda: within(memberships.end_membership, people.admin, people.handler.member_id or ""),
        "admin@example.cn": lambda: within(operating.sign_out, SYSTEM, "admin@example.cn")}
    for email, end in ends.items():
        within(connections.new_code, signed_in(email), "client_app", f"code {email}", redirect_uri="https://app.example/back", scope="read",
               challenge="c")
        with db.transaction() as session:
            given = connections.peek_code(session, f"code {email}")
            assert given is not None
            assert connections.redeem_code(session, given, connections.Tokens(f"at {email}", "read", 60, f"rt {email}"))
        with db.reading() as session:
            assert service.bearer(session, f"at {email}") is not None
        end()
        with db.reading() as session:
            assert service.bearer(session, f"at {email}") is None
