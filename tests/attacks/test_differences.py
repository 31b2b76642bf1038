"""A consumer with a grant asks only what is allowed, and subtracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shuyan.federation import problems
from shuyan.federation.differencing import GuardRules
from shuyan.federation.local import LocalFederation
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError

from .conftest import City, Tables

Figure = Callable[[str, object], None]
REFUSED = (problems.DIFFERENCING_REFUSED, problems.COHORT_TOO_SMALL)


def total(federation: LocalFederation, condition: str = "") -> float | None:
    """The summed costs under a condition; None where that is refused."""
    where = f" WHERE {condition}" if condition else ""
    try:
        content = federation.run("query", {"sql": f"SELECT sum(cost) AS s FROM patients{where}"})
    except (NodeFailure, ProblemError) as refused:
        if refused.code not in REFUSED:
            raise
        return None
    return float(content["rows"][0][0])


def people(tables: Tables, number: int) -> list[tuple[str, float]]:
    """Persons that something everybody knows tells apart: a condition and the cost it is after."""
    found = []
    for age in range(100):
        for sex in "fm":
            for district in ("east", "north", "south", "west"):
                for ward in "abcde":
                    costs = [cost for table in tables.values() for cost in table["cost"][
                        (table["age"] == age) & (table["sex"] == sex) & (table["district"] == district) & (table["ward"] == ward)]]
                    if len(costs) == 1:
                        found.append((f"age = {age} AND sex = '{sex}' AND district = '{district}' AND ward = '{ward}'", costs[0]))
    return [found[place] for place in np.linspace(0, len(found) - 1, number).astype(int)]


def exposed(learned: list[float | None], wanted: list[float]) -> int:
    return sum(bool(found is not None and abs(found - cost) < 0.005) for found, cost in zip(learned, wanted, strict=True))


def less(whole: float | None, part: float | None) -> float | None:
    return None if whole is None or part is None else whole - part


def test_all_less_all_but_one(city: City, tables: Tables, figure: Figure) -> None:
    targets = people(tables, 5)
    told = {}
    for guarded in (False, True):
        federation = city(guarded=guarded)
        everybody = total(federation)
        told[guarded] = exposed([less(everybody, total(federation, f"NOT ({condition})")) for condition, _ in targets],
                                [cost for _, cost in targets])
    figure("differencing: persons exposed without and with the guard, of 5", (told[False], told[True]))
    assert (told[False], told[True]) == (5, 0)


def test_the_other_way_round(city: City, tables: Tables, figure: Figure) -> None:
    """The question about all but one first; then that about all is refused, to the grantee's own loss."""
    condition, cost = people(tables, 1)[0]
    federation = city()
    part = total(federation, f"NOT ({condition})")
    assert part is not None
    assert exposed([less(total(federation), part)], [cost]) == 0
    figure("differencing, reversed: the later question", "refused")


def test_a_condition_inside_the_aggregate(city: City, tables: Tables, figure: Figure) -> None:
    targets = people(tables, 3)
    federation = city()
    learned: list[float | None] = []
    for condition, _ in targets:
        try:
            content = federation.run("query", {
                "sql": f"SELECT sum(cost) AS a, sum(CASE WHEN {condition} THEN 0 ELSE cost END) AS b FROM patients"})
            learned.append(content["rows"][0][0] - content["rows"][0][1])
        except (NodeFailure, ProblemError) as refused:
            if refused.code not in REFUSED:
                raise
            learned.append(None)
    figure("conditional sums: persons exposed, of 3", exposed(learned, [cost for _, cost in targets]))
    assert exposed(learned, [cost for _, cost in targets]) == 0


def test_the_intersection_of_two_groups(city: City, tables: Tables, figure: Figure) -> None:
    """|A| + |B| - |A or B|: three large groups, and the few who are in both."""
    told = {}
    for guarded in (False, True):
        federation, hits = city(guarded=guarded), 0
        for age in range(60, 65):
            one, two = f"(age = {age} AND sex = 'f' OR age < 50)", f"(ward = 'd' AND age = {age} OR age BETWEEN 80 AND 99)"
            both = [cost for table in tables.values() for cost in table["cost"][
                (table["age"] == age) & (table["sex"] == "f") & (table["ward"] == "d")]]
            parts = [total(federation, condition) for condition in (one, two, f"{one} OR {two}")]
            if 0 < len(both) < 10 and all(part is not None for part in parts):
                hits += exposed([parts[0] + parts[1] - parts[2]], [sum(both)])  # type: ignore[operator]
        told[guarded] = hits
    figure("intersection of groups: small groups exposed without and with the guard", (told[False], told[True]))
    assert told[False] > 1
    assert told[True] == 0


def test_the_general_tracker(city: City, tables: Tables, figure: Figure) -> None:
    """Denning, Denning and Schwartz 1979: q(C) = q(C or T) + q(C or not T) - q(T) - q(not T)."""
    targets = people(tables, 3)
    told = {}
    for guarded in (False, True):
        federation = city(guarded=guarded)
        learned: list[float | None] = []
        base = [total(federation, "sex = 'f'"), total(federation, "NOT (sex = 'f')")]
        for condition, _ in targets:
            padded = [total(federation, f"sex = 'f' OR ({condition})"), total(federation, f"NOT (sex = 'f') OR ({condition})")]
            known = [part for part in (*padded, *base) if part is not None]
            learned.append(known[0] + known[1] - known[2] - known[3] if len(known) == 4 else None)
        told[guarded] = exposed(learned, [cost for _, cost in targets])
    figure("general tracker: persons exposed without and with the guard, of 3", (told[False], told[True]))
    assert (told[False], told[True]) == (3, 0)


def test_two_grantees_who_work_together(city: City, tables: Tables, figure: Figure) -> None:
    """By default each grantee has its own memory; a department that fears collusion compares them all."""
    condition, cost = people(tables, 1)[0]
    told = {}
    for together in (False, True):
        federation = city(rules=GuardRules(across_grantees=together))
        everybody = total(federation)
        federation.grant = federation.grant.model_copy(update={"grantee": "accomplice", "jti": "another"})
        federation.grant_jws = federation.sign(federation.grant)
        told[together] = exposed([less(everybody, total(federation, f"NOT ({condition})"))], [cost])
    figure("two grantees: exposed by default, and with across_grantees", (told[False], told[True]))
    assert told == {False: 1, True: 0}


def test_what_refusals_themselves_tell(city: City, tables: Tables, figure: Figure) -> None:
    """A refusal is a bit: somebody meets the condition. It is journalled, and twenty a day are the limit at a node."""
    federation = city()
    total(federation)
    nobody = "age = 5 AND sex = 'f' AND district = 'east' AND ward = 'e'"
    count = sum(int(((table["age"] == 5) & (table["sex"] == "f") & (table["district"] == "east") & (table["ward"] == "e")).sum())
                for table in tables.values())
    somebody, _ = people(tables, 1)[0]
    bits = (total(federation, f"NOT ({nobody})") is None, total(federation, f"NOT ({somebody})") is None)
    figure("refusals: told apart whether somebody meets a condition", bits == (count > 0, True))
    assert GuardRules().max_refusals == 20


def test_asking_again_and_again(city: City, figure: Figure) -> None:
    federation = city()
    answers = {total(federation, "age < 50") for _ in range(10)}
    figure("averaging exact answers: different answers to 10 askings", len(answers))
    assert len(answers) == 1


def test_ordinary_questions(city: City, figure: Figure) -> None:
    """What the guard costs those who mean no harm: groups of age, ward and district, one condition each."""
    federation = city()
    asked: list[Any] = [total(federation, condition) for condition in (
        "", *(f"age >= {low} AND age < {low + 10}" for low in range(0, 100, 10)), *(f"ward = '{ward}'" for ward in "abc"),
        *(f"district = '{name}'" for name in ("east", "north", "south", "west")), "sex = 'f'", "sex = 'm'",
        *(f"sex = '{sex}' AND age < {age}" for sex in "fm" for age in (20, 40, 60, 80)),
        *(f"ward = '{ward}' AND sex = '{sex}'" for ward in "abc" for sex in "fm"),
        *(f"district = '{name}' AND age >= 65" for name in ("east", "north")))]
    refused = sum(one is None for one in asked)
    figure("ordinary questions refused", f"{refused} of {len(asked)}")
    assert refused <= len(asked) // 8
