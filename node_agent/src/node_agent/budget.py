"""The ledger of privacy budgets: what answers with differential privacy have cost, and what they may still cost.

Everything is in nano-ρ, whole numbers of 1e-9 of zCDP's ρ (:mod:`shuyan.federation.privacy.accounting`). A charge has to fit
up to three accounts at once: the grant's own budget, which the data authority signed; the resource's cap; and the
grantee's cap on the resource, where the department sets one. Caps of the department renew by the calendar (Beijing time); a
grant's budget never does.

A charge is one commit with its journal entry, before anything is computed. What it pays for is a *question*, once and for
good (see :mod:`shuyan.federation.privacy.ledger`): the answer's noisy elements are kept as long as the grant can be
used, and given again to whoever asks the same with the same departments.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from node_agent import errors
from node_agent.config import BudgetConfig
from node_agent.journal import Journal
from node_agent.state import State
from shuyan.federation.privacy.accounting import MAX_NANO, NANO
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2

if TYPE_CHECKING:
    from shuyan.federation.privacy.ledger import Account
    from shuyan.federation.ring import Words

Renewal = Literal["never", "monthly", "quarterly", "yearly"]
RENEWALS: Final[tuple[str, ...]] = get_args(Renewal)
SHOWN_DELTA: Final = 1e-6
"""δ at which ε is shown where no grant says another."""

_BEIJING: Final = dt.timezone(dt.timedelta(hours=8))
_MAX_HISTORY: Final = 1000


@dataclass(frozen=True)
class Spending:
    """What answering costs.

    Attributes:
        mode: "exact": the sum leaves without noise, guarded by secure aggregation, the minimum cohort and the egress
            review only. "dp": it leaves with noise.
        charged_nano: what was charged now; nought if the question was paid for before.
        stored: the noisy elements given before, if they were.
    """

    mode: Literal["exact", "dp"]
    charged_nano: int = 0
    stored: Mapping[str, Words] | None = field(default=None, repr=False)


def period(renewal: str, now: dt.datetime) -> tuple[int, int]:
    """When the period that ``now`` lies in began and when it ends, Unix milliseconds; (0, 0) if it never does."""
    local = now.astimezone(_BEIJING)
    months = {"monthly": 1, "quarterly": 3, "yearly": 12}.get(renewal, 0)
    if not months:
        return 0, 0
    first = (local.month - 1) // months * months
    begin = dt.datetime(local.year, first + 1, 1, tzinfo=_BEIJING)
    after = first + months
    end = dt.datetime(local.year + after // 12, after % 12 + 1, 1, tzinfo=_BEIJING)
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)


@dataclass(frozen=True)
class _Cap:
    """A department's cap; ``begin`` and ``end`` of its present period, Unix milliseconds."""

    nano: int
    renewal: str
    begin: int
    end: int

    @property
    def renews(self) -> str:
        from shuyan.federation.privacy.ledger import NEVER

        return dt.datetime.fromtimestamp(self.end / 1000, _BEIJING).isoformat() if self.end else NEVER


class Budgets:
    """The ledger of one node, in its database.

    Args:
        defaults: the cap of a resource for which none is set.
        now: the clock; only tests set one.
    """

    def __init__(self, state: State, journal: Journal, defaults: Callable[[], BudgetConfig] = BudgetConfig,
                 now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._journal = journal
        self._defaults = defaults
        self._clock = now
        self.on_change: Callable[[], None] = lambda: None

    # --- the pipeline's side ---

    def charge(self, question: str, grant: Grant, resources: Sequence[str], rho_nano: int, app: str = "") -> int:
        """Charge a question, unless it was charged before; returns what was charged now.

        Raises:
            ProblemError: ``budget_exhausted``; nothing is charged then.
        """
        from shuyan.federation.privacy import ledger

        assert grant.privacy is not None
        if rho_nano < 1 or not resources:
            raise ValueError("a charge is at least one nano-ρ, to at least one resource")
        with self._state.transaction():
            if self._state.one("SELECT 1 FROM budget_charge WHERE question = ?", (question,)):
                self._state.execute("UPDATE budget_charge SET repeats = repeats + 1 WHERE question = ?", (question,))
                return 0
            accounts = [ledger.Account(grant.jti, grant.privacy.rho_nano, self._spent_by_grant(grant.jti))]
            for resource in resources:
                accounts += self._accounts(resource, grant)
            ledger.check(accounts, rho_nano)
            at_ms = int(self._clock() * 1000)
            self._state.execute(
                "INSERT INTO budget_grant VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (grant_id) DO UPDATE SET"
                " cap_nano = excluded.cap_nano, until = excluded.until",
                (grant.jti, grant.grantee, grant.grantee_name, grant.privacy.rho_nano, grant.privacy.delta, grant.exp))
            for resource in sorted(set(resources)):
                self._state.execute("INSERT INTO budget_charge VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                                    (question, resource, grant.jti, grant.grantee, app, rho_nano, at_ms))
            self._journal.append("budget:charged", question=question, grant=grant.jti, grantee=grant.grantee, app=app,
                                 resources=sorted(set(resources)), rho_nano=rho_nano)
        self.on_change()
        return rho_nano

    def stored(self, question: str, participants: tuple[str, ...]) -> dict[str, Words] | None:
        """The noisy elements with which this was answered before; the caller's own copy."""
        from shuyan.federation.rounds import StoredRound

        row = self._state.one("SELECT words FROM noisy_answer WHERE question = ? AND participants = ?",
                              (question, json.dumps(participants)))
        if row is None:
            return None
        return {name: words.copy() for name, words in StoredRound.from_bytes(row["words"]).words.items()}

    def keep(self, question: str, participants: tuple[str, ...], words: Mapping[str, Words], until: int) -> dict[str, Words]:
        """Remember an answer durably and return what is to be given: the first one remembered.

        Args:
            until: the end of the grant, Unix seconds; nobody can ask for it after that.
        """
        from shuyan.federation.rounds import StoredRound

        with self._state.transaction():
            self._state.execute(
                "INSERT OR IGNORE INTO noisy_answer VALUES (?, ?, ?, ?)",
                (question, json.dumps(participants), StoredRound(question, participants, 0, words).to_bytes(), until))
        found = self.stored(question, participants)
        assert found is not None
        return found

    def bounding_salt(self) -> str:
        """What decides which rows of a unit are left out; made when first needed, and then always the same."""
        with self._state.transaction():
            if not self._state.get("bounding_salt"):
                self._state.put("bounding_salt", secrets.token_hex(16))
        return self._state.get("bounding_salt")

    def prune(self) -> None:
        """Drop the answers of grants that ended; charges stay for good."""
        with self._state.transaction():
            self._state.execute("DELETE FROM noisy_answer WHERE until < ?", (int(self._clock()),))

    # --- the accounts ---

    def charge_own(self, question: str, resource: str, rho_nano: int, app: str) -> None:
        """Charge a resource's own budget for what the department itself has measured for release.

        Raises:
            ProblemError: ``budget_exhausted``; nothing is charged then.
        """
        from shuyan.federation.privacy import ledger

        with self._state.transaction():
            whole = self._cap(resource, "")
            assert whole is not None
            ledger.check([ledger.Account(resource, whole.nano, self._spent(resource, "", whole.begin), whole.renews)], rho_nano)
            self._state.execute("INSERT INTO budget_charge VALUES (?, ?, '', '', ?, ?, ?, 0)",
                                (question, resource, app, rho_nano, int(self._clock() * 1000)))
            self._journal.append("budget:charged", question=question, grant="", grantee="", app=app, resources=[resource],
                                 rho_nano=rho_nano)
        self.on_change()

    def _accounts(self, resource: str, grant: Grant) -> list[Account]:
        from shuyan.federation.privacy.ledger import Account

        whole = self._cap(resource, "")
        assert whole is not None
        found = [Account(resource, whole.nano, self._spent(resource, "", whole.begin), whole.renews)]
        own = self._cap(resource, grant.grantee)
        if own is not None:
            found.append(Account(f"{resource} / {grant.grantee_name}", own.nano,
                                 self._spent(resource, grant.grantee, own.begin), own.renews))
        return found

    def _cap(self, resource: str, grantee: str) -> _Cap | None:
        """A resource's cap, set or by default; a grantee's only where it is set."""
        row = self._state.one("SELECT * FROM budget_cap WHERE resource = ? AND grantee = ?", (resource, grantee))
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        if row is not None:
            return _Cap(row["cap_nano"], row["renewal"], *period(row["renewal"], now))
        if grantee:
            return None
        defaults = self._defaults()
        return _Cap(int(defaults.rho * NANO), defaults.renewal, *period(defaults.renewal, now))

    def _spent(self, resource: str, grantee: str, since_ms: int) -> int:
        """What was charged since; what a clock put ahead of now counts as well."""
        row = self._state.one(
            "SELECT coalesce(sum(rho_nano), 0) AS n FROM budget_charge WHERE resource = ? AND at_ms >= ?"
            " AND (? = '' OR grantee = ?)", (resource, since_ms, grantee, grantee))
        return int(row["n"]) if row else 0

    def _spent_by_grant(self, grant_id: str) -> int:
        row = self._state.one(
            "SELECT coalesce(sum(n), 0) AS n FROM (SELECT max(rho_nano) AS n FROM budget_charge WHERE grant_id = ?"
            " GROUP BY question)", (grant_id,))
        return int(row["n"]) if row else 0

    # --- the administrator's side ---

    def set(self, resource: str, grantee: str = "", *, cap_nano: int | None = None, renewal: str = "",
            remove: bool = False) -> link_pb2.Budget:
        """Set a cap, of a resource or of one grantee on it; it holds from the next charge on.

        Args:
            cap_nano: None: as it is. Below what is spent: nothing more is answered in this period.
            renewal: empty: as it is; a grantee's begins like its resource's.
            remove: back to the default, or to no cap of the grantee's own.

        Raises:
            ProblemError: ``resource_not_found``, ``budget_invalid``.
        """
        if self._state.one("SELECT 1 FROM resource WHERE name = ?", (resource,)) is None:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, name=resource)
        if renewal not in ("", *RENEWALS) or (cap_nano is not None and not 0 <= cap_nano <= MAX_NANO):
            raise ProblemError(errors.BUDGET_INVALID)
        with self._state.transaction():
            if remove:
                self._state.execute("DELETE FROM budget_cap WHERE resource = ? AND grantee = ?", (resource, grantee))
                self._journal.append("budget:unset", resource=resource, grantee=grantee)
            else:
                before = self._cap(resource, grantee) or self._cap(resource, "")
                assert before is not None
                nano = before.nano if cap_nano is None else cap_nano
                often = renewal or before.renewal
                self._state.execute(
                    "INSERT INTO budget_cap VALUES (?, ?, ?, ?) ON CONFLICT (resource, grantee) DO UPDATE SET"
                    " cap_nano = excluded.cap_nano, renewal = excluded.renewal", (resource, grantee, nano, often))
                self._journal.append("budget:set", resource=resource, grantee=grantee, cap_nano=nano, renewal=often)
        self.on_change()
        return self._budget(resource, "" if remove else grantee)

    def overview(self, resource: str = "") -> list[link_pb2.Budget]:
        """All budgets: of each resource, of grantees with a cap or a charge on it, and of grants that were charged.

        Raises:
            ProblemError: ``resource_not_found``.
        """
        names = [row["name"] for row in self._state.all("SELECT name FROM resource ORDER BY name")]
        if resource and resource not in names:
            raise ProblemError(errors.RESOURCE_NOT_FOUND, name=resource)
        found = []
        for name in [resource] if resource else names:
            found.append(self._budget(name, ""))
            grantees = self._state.all(
                "SELECT grantee FROM budget_cap WHERE resource = ? AND grantee != '' UNION"
                " SELECT grantee FROM budget_charge WHERE resource = ? ORDER BY grantee", (name, name))
            found += [self._budget(name, row["grantee"]) for row in grantees]
        grants = self._state.all(
            "SELECT * FROM budget_grant g WHERE ? = '' OR EXISTS (SELECT 1 FROM budget_charge c"
            " WHERE c.grant_id = g.grant_id AND c.resource = ?) ORDER BY grant_id", (resource, resource))
        return found + [link_pb2.Budget(
            scope="grant", grantee=row["grantee"], grantee_name=row["grantee_name"], grant_id=row["grant_id"],
            cap_nano=row["cap_nano"], spent_nano=self._spent_by_grant(row["grant_id"]), renewal="never", delta=row["delta"],
        ) for row in grants]

    def _budget(self, resource: str, grantee: str) -> link_pb2.Budget:
        """One row; a grantee without a cap of its own is under the resource's."""
        cap = self._cap(resource, grantee) or self._cap(resource, "")
        assert cap is not None
        named = self._state.one("SELECT grantee_name FROM budget_grant WHERE grantee = ? LIMIT 1", (grantee,))
        delta = self._state.one(
            "SELECT max(delta) AS delta FROM budget_grant WHERE grant_id IN (SELECT grant_id FROM budget_charge"
            " WHERE resource = ? AND (? = '' OR grantee = ?))", (resource, grantee, grantee))
        return link_pb2.Budget(
            scope="grantee" if grantee else "resource", resource=resource, grantee=grantee,
            grantee_name=named["grantee_name"] if named else "", cap_nano=cap.nano,
            spent_nano=self._spent(resource, grantee, cap.begin), renewal=cap.renewal, renews_at_ms=cap.end,
            delta=(delta["delta"] if delta else None) or SHOWN_DELTA)

    def history(self, resource: str = "", grantee: str = "", limit: int = 100) -> list[local_pb2.Charge]:
        """Charges, newest first."""
        rows = self._state.all(
            "SELECT c.*, g.grantee_name, g.delta FROM budget_charge c JOIN budget_grant g ON g.grant_id = c.grant_id"
            " WHERE (? = '' OR c.resource = ?) AND (? = '' OR c.grantee = ?) ORDER BY c.at_ms DESC, c.rowid DESC LIMIT ?",
            (resource, resource, grantee, grantee, min(limit or 100, _MAX_HISTORY)))
        return [local_pb2.Charge(
            at_ms=row["at_ms"], resource=row["resource"], grantee=row["grantee"], grantee_name=row["grantee_name"],
            grant_id=row["grant_id"], app=row["app"], question=row["question"], rho_nano=row["rho_nano"], delta=row["delta"],
            repeats=row["repeats"]) for row in rows]

    def used(self) -> bool:
        """Whether anything was ever charged or set."""
        return self._state.one("SELECT 1 FROM budget_charge UNION ALL SELECT 1 FROM budget_cap LIMIT 1") is not None

    def frame(self) -> link_pb2.Budgets:
        """The complete list, for the coordinator."""
        return link_pb2.Budgets(budgets=self.overview())

    def check(self) -> dict[str, Any]:
        """The ledger against the journal: each charge once in both.

        Raises:
            ProblemError: ``budget_ledger_differs`` with the first question that differs.
        """
        journalled: dict[str, tuple[list[str], int]] = {}
        for row in self._state.execute("SELECT data FROM journal WHERE event = 'budget:charged' ORDER BY sequence"):
            data = json.loads(row["data"])
            if data["question"] in journalled:
                raise ProblemError(errors.BUDGET_LEDGER_DIFFERS, question=data["question"])
            journalled[data["question"]] = (data["resources"], data["rho_nano"])
        charged: dict[str, tuple[list[str], int]] = {}
        for row in self._state.execute("SELECT * FROM budget_charge ORDER BY question, resource"):
            charged.setdefault(row["question"], ([], row["rho_nano"]))[0].append(row["resource"])
        if different := sorted(name for name in {*journalled, *charged} if journalled.get(name) != charged.get(name)):
            raise ProblemError(errors.BUDGET_LEDGER_DIFFERS, question=different[0])
        return {"charges": len(charged), "rho_nano": sum(rho for _, rho in charged.values())}
