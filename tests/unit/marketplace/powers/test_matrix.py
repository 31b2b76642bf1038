"""Every party, role, action, state and ownership against the one table: nothing more is allowed, and nothing less."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session
from tests.factories.market import make_city
from tests.unit.marketplace.powers import (
    of_agreements,
    of_authorisation,
    of_catalogue,
    of_market,
    of_parties,
    of_products,
    of_registration,
    of_sandboxes,
    of_selection,
)
from tests.unit.marketplace.powers.adapters import Act, Adapter

from marketplace import db, lifecycle, powers
from marketplace.actor import ROLES, SYSTEM, Actor, Party
from marketplace.lifecycle import Lifecycle, Power
from marketplace.parties import service as parties
from shuyan.problems import ProblemError

MODULES = (
    of_agreements,
    of_authorisation,
    of_catalogue,
    of_market,
    of_parties,
    of_products,
    of_registration,
    of_sandboxes,
    of_selection,
)
ADAPTERS: dict[str, Adapter] = {name: adapter for module in MODULES for name, adapter in module.ADAPTERS.items()}
PARTIES = [party for party in get_args(Party) if party != "system"]
SHUT = {"not_allowed", "not_signed_in", "scope_missing", "not_found"}


def _actors(parties: frozenset[str], owner: Callable[[str], str], *, closely: bool = True) -> Iterator[tuple[Actor, bool]]:
    """Actors of every party, own and foreign: with all roles, and ``closely`` with none and, where one may help, with each."""
    for party, own in itertools.product(PARTIES, (True, False)):
        if party == "public":
            if not own:
                yield Actor("public"), False
            continue
        sets: list[tuple[str, ...]] = [ROLES, ()] if closely else [ROLES]
        if party in parties and closely:
            sets += [(role,) for role in ROLES]
        for roles in sets:
            organisation = owner(party) if own else "org_of_strangers"
            yield Actor(party, organisation, member_id="mem_matrix", roles=frozenset(roles)), own


def _allowed(life: Lifecycle, action: str, state: str, actor: Actor, own: bool) -> bool:
    """The table, read without the code that the services read it with."""
    return any(
        step.action == action and state in step.sources and actor.party in step.parties and (own or not step.own)
        and bool((actor.roles or frozenset()) & step.roles)
        for step in life.transitions)


def _leads_to(life: Lifecycle, action: str) -> set[str]:
    return {step.target for step in life.transitions if step.action == action}


@pytest.mark.usefixtures("sqlite_database")
@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_services_do_what_the_table_says(name: str) -> None:
    life, adapter = powers.LIFECYCLES[name], ADAPTERS[name]
    wrong = []
    with db.transaction() as session:
        city = make_city(session)
        parties.register_organisation(session, SYSTEM, kind="consumer", name_zh="外人", name_en="Strangers", organisation_id="org_of_strangers")
        row = adapter.make(session, city)
        session.flush()
        owners = {party: adapter.owner(session, row, party) for party in PARTIES}
        for state in life.states:
            subject = Subject(session, adapter, (type(row), inspect(row).identity), state)
            for action, act in adapter.acts.items():
                steps = [step for step in life.transitions if step.action == action]
                able = frozenset().union(*(step.parties for step in steps))
                closely = any(state in step.sources for step in steps)
                for actor, own in _actors(able, owners.__getitem__, closely=closely):
                    said = subject.after(act, actor)
                    if _allowed(life, action, state, actor, own):
                        good = said not in SHUT | {"wrong_state"}
                    else:
                        # what is done already may be done again, without effect
                        good = said in SHUT | {"wrong_state"} | adapter.shut or (said == "" and state in _leads_to(life, action))
                    if not good:
                        wrong.append(f"{actor.party} {sorted(actor.roles or ())} {'own' if own else 'foreign'} {action} in {state}: "
                                     f"{said or 'done'}")
            subject.undo()
    assert wrong == [], "\n".join(wrong[:40])


class Subject:
    """One subject in one state, in a savepoint. An act that wrote something is undone before the next; most are refused and write nothing."""

    def __init__(self, session: Session, adapter: Adapter, identity: tuple[type[Any], Any], state: str) -> None:
        self._session, self._adapter, self._identity, self._state = session, adapter, identity, state
        self._savepoint: SessionTransaction | None = None
        self._row: Any = None
        self._written = 0

    def after(self, act: Act, actor: Actor) -> str:
        """What came of an act: a problem's code, or "" where it was done. Nothing of it stays."""
        if self._savepoint is None:
            self._put()
        said = ""
        try:
            act(self._session, actor, self._row)
            self._session.flush()
        except ProblemError as error:
            said = error.code
        if self._total() != self._written or self._session.new or self._session.dirty or self._session.deleted:
            self.undo()
        return said

    def undo(self) -> None:
        """Back to before the subject was put into its state."""
        if self._savepoint is not None:
            self._savepoint.rollback()
            self._session.expire_all()
            self._savepoint = None

    def _put(self) -> None:
        self._savepoint = self._session.begin_nested()
        self._row = self._session.get_one(*self._identity, populate_existing=True)
        setattr(self._row, self._adapter.state, self._state)
        self._session.add(self._row)
        self._adapter.before(self._session, self._row, self._state)
        self._session.flush()
        self._written = self._total()

    def _total(self) -> int:
        """Rows that SQLite has written on this connection, also those rolled back since."""
        connection: Any = self._session.connection().connection.dbapi_connection
        return int(connection.total_changes)


def test_every_lifecycle_and_every_act_of_a_person_is_in_the_matrix() -> None:
    assert set(ADAPTERS) == set(powers.LIFECYCLES)
    for name, life in powers.LIFECYCLES.items():
        wanted = {step.action for step in life.transitions if step.parties != {"system"}}
        assert wanted == set(ADAPTERS[name].acts) | set(ADAPTERS[name].elsewhere), name


def test_every_lifecycle_and_power_of_the_code_is_in_the_table() -> None:
    import importlib
    import pkgutil

    import marketplace

    found: set[str] = set()
    for module in pkgutil.walk_packages(marketplace.__path__, "marketplace."):
        if module.name.endswith("rules"):
            found |= {value.name for value in vars(importlib.import_module(module.name)).values()
                      if isinstance(value, Lifecycle | Power)}
    assert found == set(powers.LIFECYCLES) | set(powers.POWERS)


@pytest.mark.parametrize("name", sorted(powers.POWERS))
def test_powers_are_held_as_the_table_says(name: str) -> None:
    power = powers.POWERS[name]
    for actor, own in _actors(power.parties, lambda _party: "org_own"):
        wanted = (actor.party in power.parties and (own or not power.own) and bool((actor.roles or frozenset()) & power.roles)
                  if actor.party != "public" else "public" in power.parties and not power.own)
        assert lifecycle.may(power, actor, "org_own") == wanted, actor
