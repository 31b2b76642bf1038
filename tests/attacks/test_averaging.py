"""Asking for the same noisy figure until the noise averages out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure
from shuyan.problems import ProblemError
from shuyan.trust.grants import PrivacyTerms

Figure = Callable[[str, object], None]
SCHEMA = {"pid": Column("pid", "string", identifier=True), "cost": Column("cost", "number", lower=0.0, upper=100.0)}
TERMS = {"unit": "person", "unit_columns": {"visits": "pid"}, "max_rows_per_unit": 1, "max_groups_per_unit": 1, "delta": 1e-6,
         "honest_fraction": 0.5}


def federation(rho_nano: int) -> LocalFederation:
    random = np.random.default_rng(7)
    nodes = {f"d{number}": {"visits": LocalResource.arrays(
        {"pid": np.array([f"p{row}" for row in range(300)]), "cost": random.uniform(0, 100, 300)}, SCHEMA)} for number in range(3)}
    return LocalFederation(nodes, grant={"release": "dp", "privacy": PrivacyTerms.model_validate({**TERMS, "rho_nano": rho_nano})})


def ask(departments: LocalFederation, rho_nano: int, upper: float = 100.0) -> int:
    content = departments.run("statistics", {"resource": "visits", "columns": ["cost"], "bounds": {"cost": [0.0, upper]},
                                             "rho_nano": rho_nano})
    return int(content["tables"][0]["cells"][0]["rows"])


def test_the_same_question_gets_the_same_noise(figure: Figure) -> None:
    with federation(10**9) as departments:
        answers = {ask(departments, 10**7) for _ in range(10)}
        spent = {node.ledger.spent() for node in departments.nodes.values()}
    figure("averaging noisy answers: different answers to 10 askings, charged once", (len(answers), spent))
    assert len(answers) == 1
    assert max(spent) <= 10**7


def test_other_questions_with_the_same_figure_are_paid_for(figure: Figure) -> None:
    """Each with other bounds for a column, each with the count of rows again: until the budget is used up."""
    budget, price = 10**8, 10**7
    with federation(budget) as departments:
        answers = []
        for number in range(20):
            try:
                answers.append(ask(departments, price, 100.0 + number))
            except (NodeFailure, ProblemError) as refused:
                assert refused.code == "budget_exhausted"  # noqa: PT017
                break
    figure("averaging by other questions: answers before the budget is used up, error of their mean",
           (len(answers), round(abs(float(np.mean(answers)) - 900), 1)))
    assert len(answers) == budget // price
