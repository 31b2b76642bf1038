"""The ledger of privacy budgets: never overspent, whatever comes in between, and always what the journal says."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from node_harness import World, patients
from typer.testing import CliRunner

from node_agent.admin import Admin
from node_agent.budget import Budgets, period
from node_agent.cli.main import app as cli
from node_agent.config import BudgetConfig
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation.privacy.accounting import NANO
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, PrivacyTerms
from shuyan_protos.local.v1 import local_pb2

RESOURCES = ("visits", "stays")
CAP = 1000
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC).timestamp()


def grant(number: int = 0, *, grantee: str = "org_0", rho_nano: int = 700) -> Grant:
    """A grant as the ledger sees it; the rest of its claims makes no difference to it."""
    terms = PrivacyTerms(unit="person", unit_columns=dict.fromkeys(RESOURCES, "pid"), max_rows_per_unit=1,
                         max_groups_per_unit=1, delta=1e-6, rho_nano=rho_nano, honest_fraction=1.0)
    return Grant.model_construct(jti=f"grt_{number}", grantee=grantee, grantee_name=grantee.upper(), exp=int(NOW) + 10**6,
                                 release="dp", privacy=terms)


def ledger(path: Path, now: float = NOW, cap: int = CAP, renewal: str = "monthly") -> Budgets:
    state = State(path)
    with state.transaction():
        for name in RESOURCES:
            state.execute("INSERT OR IGNORE INTO source VALUES (?, 'csv', '/x', 1, '[]')", (name,))
            state.execute("INSERT OR IGNORE INTO resource (name, source, resource) VALUES (?, ?, x'00')", (name, name))
    return Budgets(state, Journal(state), lambda: BudgetConfig(rho=cap / NANO, renewal=renewal), lambda: now)


# Every charge is on the disk before it returns; where there is one, the disk is memory here.
_QUICK = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Crashed(BaseException):
    """The process died here."""


class LedgerMachine(RuleBasedStateMachine):
    """Charges, repeats, caps, other grants, restarts, clocks that jump and deaths at any moment, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=_QUICK)
        self.path = Path(self.folder.name) / "state.sqlite"
        self.now = NOW
        self.caps = dict.fromkeys(((name, "") for name in RESOURCES), CAP)
        self.paid: dict[str, tuple[str, str, tuple[str, ...], int, float]] = {}
        self.answers: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        self.ledger = ledger(self.path)
        self.ledger._clock = lambda: self.now

    def spent(self, **by: str) -> int:
        """By the model: what was paid since the month began."""
        begin = period("monthly", dt.datetime.fromtimestamp(self.now, dt.UTC))[0] / 1000
        return sum(rho for jti, org, names, rho, at in self.paid.values()
                   if at >= (0 if "grant" in by else begin) and by.get("grant", jti) == jti and by.get("org", org) == org
                   and (not by.get("resource") or by["resource"] in names))

    @rule(question=st.integers(0, 40), number=st.integers(0, 3), rho=st.integers(1, 400),
          names=st.sampled_from([("visits",), ("stays",), RESOURCES]),
          crash=st.sampled_from(["", "", "", "before the commit", "after the commit"]))
    def charge(self, question: int, number: int, rho: int, names: tuple[str, ...], crash: str) -> None:
        asked, org = f"q{question}", f"org_{number % 2}"
        if asked in self.paid:
            rho, names = self.paid[asked][3], self.paid[asked][2]
            number = int(self.paid[asked][0][-1])
            org = self.paid[asked][1]
        fits = asked in self.paid or (
            self.spent(grant=f"grt_{number}") + rho <= 700 and all(
                self.spent(resource=name) + rho <= self.caps[name, ""]
                and self.spent(resource=name, org=org) + rho <= self.caps.get((name, org), 10**9) for name in names))
        journal = self.ledger._journal
        if crash == "before the commit":
            journal.append = lambda *_args, **_data: (_ for _ in ()).throw(Crashed())  # type: ignore[method-assign]
        if crash == "after the commit":
            self.ledger.on_change = lambda: (_ for _ in ()).throw(Crashed())
        try:
            charged = self.ledger.charge(asked, grant(number, grantee=org), names, rho)
        except ProblemError as problem:
            assert (problem.code, fits) == ("budget_exhausted", False)  # noqa: PT017
        except Crashed:
            assert fits
            if crash == "after the commit":
                self.paid[asked] = (f"grt_{number}", org, names, rho, self.now)
        else:
            assert fits
            assert charged == (0 if asked in self.paid else rho)
            self.paid.setdefault(asked, (f"grt_{number}", org, names, rho, self.now))
        if crash:
            self.restart()

    @rule()
    def restart(self) -> None:
        self.ledger._state.close()
        self.open()

    @rule(name=st.sampled_from(RESOURCES), org=st.sampled_from(["", "org_0", "org_1"]), nano=st.integers(0, 1500))
    def set_cap(self, name: str, org: str, nano: int) -> None:
        self.ledger.set(name, org, cap_nano=nano)
        self.caps[name, org] = nano

    @rule(name=st.sampled_from(RESOURCES), org=st.sampled_from(["org_0", "org_1"]))
    def unset_cap(self, name: str, org: str) -> None:
        self.ledger.set(name, org, remove=True)
        self.caps.pop((name, org), None)

    @rule(days=st.integers(-40, 40))
    def wait(self, days: int) -> None:
        self.now = max(self.now + 86_400 * days, NOW - 86_400 * 60)

    @precondition(lambda self: self.paid)
    @rule(data=st.data(), value=st.integers(0, 2**63))
    def answer(self, data: st.DataObject, value: int) -> None:
        asked = data.draw(st.sampled_from(sorted(self.paid)))
        given = self.ledger.keep(asked, ("a", "b"), {"rows": np.array([[value]], dtype=np.uint64)}, int(NOW) + 10**6)
        assert int(given["rows"][0, 0]) == self.answers.setdefault(asked, value)
        assert self.ledger.stored(asked, ("a", "b", "c")) is None

    @invariant()
    def never_overspent(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for row in self.ledger.overview():
            if row.scope == "grant":
                assert row.spent_nano == self.spent(grant=row.grant_id) <= 700
            else:
                assert row.spent_nano == self.spent(resource=row.resource, **({"org": row.grantee} if row.grantee else {}))

    @invariant()
    def the_journal_agrees(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.check()["charges"] == len(self.paid)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger._journal.verify()
            self.ledger._state.close()
            self.folder.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


_RACER = """
    import sys
    sys.path.insert(0, {here!r})
    from pathlib import Path
    from test_node_budget import grant, ledger
    from shuyan.problems import ProblemError
    book = ledger(Path(sys.argv[1]), renewal="never")
    print("ready", flush=True)
    for number in range(10_000):
        try:
            # Half of the questions are the same for all, half are this process's own.
            name = f"shared-{{number}}" if number % 2 else f"{{sys.argv[2]}}-{{number}}"
            book.charge(name, grant(int(sys.argv[2]), grantee="org_" + sys.argv[2], rho_nano=600), ("visits",), 17)
        except ProblemError:
            break
"""


def test_processes_that_race_and_are_killed_never_overspend(tmp_path: Path) -> None:
    path, here = tmp_path / "state.sqlite", str(Path(__file__).parent)
    ledger(path)._state.close()
    racers = [subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_RACER.format(here=here)), str(path), str(number)], stdout=subprocess.PIPE)
        for number in range(3)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"ready\n"
    racers[0].send_signal(signal.SIGKILL)
    for racer in racers:
        racer.communicate()
    book = ledger(path, renewal="never")
    (whole, *_) = book.overview("visits")
    assert CAP - 17 < whole.spent_nano <= CAP
    assert book.check()["rho_nano"] == whole.spent_nano
    assert all(row.spent_nano <= 600 for row in book.overview() if row.scope == "grant")


@pytest.mark.parametrize(("renewal", "begin", "end"), [
    ("never", None, None), ("monthly", "2026-11-01", "2026-12-01"), ("quarterly", "2026-10-01", "2027-01-01"),
    ("yearly", "2026-01-01", "2027-01-01")])
def test_periods_are_the_calendars(renewal: str, begin: str | None, end: str | None) -> None:
    def ms(day: str | None) -> int:
        return 0 if day is None else int(dt.datetime.fromisoformat(day + "T00:00:00+08:00").timestamp() * 1000)

    assert period(renewal, dt.datetime.fromtimestamp(NOW, dt.UTC)) == (ms(begin), ms(end))
    # Midnight is Beijing's.
    assert period("monthly", dt.datetime(2026, 11, 30, 16, tzinfo=dt.UTC))[0] == ms("2026-12-01")


def test_a_refusal_says_what_is_left_and_when_it_renews(tmp_path: Path) -> None:
    book = ledger(tmp_path / "state.sqlite")
    book.charge("q", grant(), ("visits",), 600)
    with pytest.raises(ProblemError) as refused:
        book.charge("r", grant(1), ("visits",), 401)
    assert refused.value.args_ == {"what": "visits", "asked": "0.000000401", "left": "0.0000004",
                                   "renews": "2026-12-01T00:00:00+08:00"}
    with pytest.raises(ProblemError) as refused:
        book.charge("r", grant(), ("visits",), 101)
    assert refused.value.args_["what"] == "grt_0"
    assert refused.value.args_["renews"] == "—"
    assert book.charge("q", grant(), ("visits",), 600) == 0


def test_a_grant_does_not_renew_and_a_resource_does(tmp_path: Path) -> None:
    book = ledger(tmp_path / "state.sqlite")
    book.charge("q", grant(rho_nano=900), ("visits",), 800)
    book._clock = lambda: NOW + 86_400 * 15
    with pytest.raises(ProblemError, match="grt_0"):
        book.charge("r", grant(rho_nano=900), ("visits",), 200)
    book.charge("s", grant(1), ("visits",), 300)
    assert [row.spent_nano for row in book.overview("visits") if row.scope == "resource"] == [300]


def test_answers_outlive_restarts_but_not_their_grant(tmp_path: Path) -> None:
    book = ledger(tmp_path / "state.sqlite")
    words = {"rows": np.array([[7]], dtype=np.uint64), "cohort#": np.array([[2**64 - 3]], dtype=np.uint64)}
    book.keep("q", ("a", "b", "c"), words, int(NOW) + 5)
    book._state.close()
    book = ledger(tmp_path / "state.sqlite")
    found = book.stored("q", ("a", "b", "c"))
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"rows": [[7]], "cohort#": [[2**64 - 3]]}
    book._clock = lambda: NOW + 10
    book.prune()
    assert book.stored("q", ("a", "b", "c")) is None


def test_a_ledger_that_was_changed_shows(tmp_path: Path) -> None:
    book = ledger(tmp_path / "state.sqlite")
    book.charge("q", grant(), ("visits",), 600)
    with book._state.transaction():
        book._state.execute("UPDATE budget_charge SET rho_nano = 1")
    with pytest.raises(ProblemError, match="budget_ledger_differs"):
        book.check()


def test_the_command_line(place: Path) -> None:
    node_dir = World(place).make_node("node0", 1, patients())
    run = CliRunner()

    def call(*args: str) -> str:
        result = run.invoke(cli, ["--dir", str(node_dir.path), "--lang", "en", "budget", *args])
        assert result.exit_code == 0, result.output
        return result.output

    (row,) = json.loads(call("list", "--json"))
    assert (row["cap_nano"], row["spent_nano"], row["renewal"]) == (NANO, 0, "yearly")
    (row,) = json.loads(call("set", "patients", "--cap-epsilon", "1", "--delta", "1e-6", "--renew", "monthly", "--json"))
    assert row["epsilon_cap"] == pytest.approx(1.0, abs=1e-3)
    assert row["epsilon_cap"] <= 1.0
    admin = Admin(node_dir)
    admin.budgets.charge("sha256:q", grant(rho_nano=10**8), ("patients",), 10**7, "statistics")
    admin.close()
    assert "0.01" in call("show", "patients")
    rows = json.loads(call("list", "--json"))
    assert [(row["scope"], row["spent_nano"]) for row in rows] == [
        ("resource", 10**7), ("grantee", 10**7), ("grant", 10**7)]
    (charge,) = json.loads(call("history", "--json"))
    assert (charge["app"], charge["rho"], charge["grantee_name"]) == ("statistics", 0.01, "ORG_0")
    assert "ORG_0" in call("history")
    verified = run.invoke(cli, ["--dir", str(node_dir.path), "--lang", "en", "journal", "--verify"])
    assert verified.exit_code == 0
    (row,) = json.loads(call("set", "patients", "--grantee", "org_0", "--cap-rho", "0.02", "--json"))
    assert (row["scope"], row["cap_nano"], row["renewal"]) == ("grantee", 2 * 10**7, "monthly")
    call("set", "patients", "--grantee", "org_0", "--remove")
    for wrong in (("set", "patients"), ("set", "patients", "--cap-rho", "1", "--cap-epsilon", "1"),
                  ("set", "patients", "--renew", "weekly")):
        assert run.invoke(cli, ["--dir", str(node_dir.path), "budget", *wrong]).exit_code == 2
    assert run.invoke(cli, ["--dir", str(node_dir.path), "budget", "show", "nothing"]).exit_code == 1


def test_the_administrators_service(place: Path) -> None:
    admin = Admin(World(place).make_node("node0", 1, patients()))
    told = []
    admin.on_change = told.append
    assert not admin.budgets.used()
    admin.SetBudget(local_pb2.SetBudgetRequest(resource="patients", cap_nano=5))
    assert told == ["budgets"]
    assert admin.budgets.used()
    assert [row.cap_nano for row in admin.ListBudgets(local_pb2.ListBudgetsRequest()).budgets] == [5]
    assert admin.budgets.frame().budgets[0].resource == "patients"
    for wrong in ({"resource": "nothing"}, {"resource": "patients", "renewal": "weekly"},
                  {"resource": "patients", "cap_nano": -1}):
        with pytest.raises(ProblemError):
            admin.SetBudget(local_pb2.SetBudgetRequest(**wrong))
    assert admin.budgets.bounding_salt() == admin.budgets.bounding_salt()
    admin.close()
