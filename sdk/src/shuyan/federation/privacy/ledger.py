"""What every ledger of privacy budgets keeps to, and one in memory for local federations.

A question is charged once, before anything is computed for it, whatever becomes of the run: it is the same question whoever
asks it again, in whatever run, attempt or task, and with whatever departments. That one charge is enough, because a node
opens one question among one set of departments only (:mod:`shuyan.federation.opening`): answers of attempts with other
departments stay masked for good. And whoever asks again gets the same noisy elements again, so that averaging many answers
gains nothing. To ask anew of newer data is another question (parameter ``edition``), and is charged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shuyan.federation import problems
from shuyan.federation.privacy.accounting import NANO
from shuyan.federation.ring import Words
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

NEVER: Final = "—"


@dataclass(frozen=True, slots=True)
class Account:
    """One limit that a charge has to fit.

    Attributes:
        what: what it is of, for people: a resource, a resource and a grantee, a grant.
        renews: when it renews, ISO 8601; :data:`NEVER` if it does not.
    """

    what: str
    cap_nano: int
    spent_nano: int
    renews: str = NEVER

    @property
    def left_nano(self) -> int:
        """What can still be spent; a cap may have been lowered below what is spent."""
        return max(self.cap_nano - self.spent_nano, 0)


def check(accounts: Sequence[Account], asked_nano: int) -> None:
    """Let a charge pass that fits all of the accounts.

    Raises:
        ProblemError: ``budget_exhausted``, naming the first that it does not fit.
    """
    for account in accounts:
        if asked_nano > account.left_nano:
            raise ProblemError(problems.BUDGET_EXHAUSTED, what=account.what, asked=rho_text(asked_nano),
                               left=rho_text(account.left_nano), renews=account.renews)


def rho_text(nano: int) -> str:
    """ρ as a decimal number, exactly."""
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


@dataclass
class MemoryLedger:
    """One node's budgets, for as long as the process lives. Thread-safe.

    Attributes:
        caps: by resource, what all grants together may spend; a resource not named has no cap but the grants'.
    """

    caps: dict[str, int] = field(default_factory=dict)
    _charges: dict[str, tuple[str, tuple[str, ...], int]] = field(default_factory=dict)
    _answers: dict[tuple[str, tuple[str, ...]], dict[str, Words]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, question: str, grant: Grant, resources: Sequence[str], rho_nano: int) -> None:
        """Charge a question once.

        Raises:
            ProblemError: ``budget_exhausted``.
        """
        assert grant.privacy is not None
        with self._lock:
            if question in self._charges:
                return
            accounts = [Account(grant.jti, grant.privacy.rho_nano, self.spent(grant=grant.jti))]
            accounts += [Account(name, self.caps[name], self.spent(resource=name)) for name in resources if name in self.caps]
            check(accounts, rho_nano)
            self._charges[question] = (grant.jti, tuple(resources), rho_nano)

    def spent(self, *, grant: str = "", resource: str = "") -> int:
        """What was charged to a grant, or to a resource."""
        return sum(rho for jti, names, rho in self._charges.values() if grant in ("", jti) and (not resource or resource in names))

    def stored(self, question: str, participants: tuple[str, ...]) -> dict[str, Words] | None:
        """The noisy elements with which this was answered before; a copy."""
        found = self._answers.get((question, participants))
        return None if found is None else _copy(found)

    def keep(self, question: str, participants: tuple[str, ...], words: Mapping[str, Words]) -> dict[str, Words]:
        """Remember the answer and return what is to be given: the first that was remembered."""
        with self._lock:
            return _copy(self._answers.setdefault((question, participants), _copy(words)))


def _copy(words: Mapping[str, Any]) -> dict[str, Words]:
    return {name: array.copy() for name, array in words.items()}
