"""What is one department's own does not show in a model, nor in its evaluation, unless the grant says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.transport import NodeFailure
from shuyan.trust.grants import SoleValues

from .conftest import SCHEMA, TABLES, pooled

DOMAINS = {"kind": ["a", "b", "c", "only"]}


def run(grant: dict[str, Any], **params: Any) -> dict[str, Any]:
    """Node 2 alone declares and has ``only``."""
    nodes = {}
    for place, part in enumerate(TABLES):
        schema = {**SCHEMA, "kind": replace(SCHEMA["kind"], domain=("a", "b", "c", *(("only",) if place == 2 else ())))}
        kind = np.where((part["kind"] == "c") & (place == 2), "only", part["kind"]).astype(object)
        nodes[f"node-{place}"] = {"cases": LocalResource.arrays({**part, "kind": kind}, schema)}
    sole = (SoleValues(resource="cases", column="kind", values=("only",)),)
    with LocalFederation(nodes, grant={"sole_values": sole, **grant}) as federation:
        return federation.run("regression", {"resource": "cases", "family": "linear", "target": "price", "features": ["x", "kind"],
                                             "domains": DOMAINS, "l2": 0.0, **params})


def test_levels_are_the_union_of_what_departments_declare() -> None:
    content = run({"own_figures": True})
    assert content["terms"] == ["x", "kind=b", "kind=c", "kind=only"]
    assert content["rows"] == 600
    assert all(content["coefficients"])
    assert content["warnings"] == []


def test_a_level_of_one_department_alone_is_taken_for_undeclared() -> None:
    content = run({})
    left = np.sum(pooled(TABLES)["kind"] != "c") + sum(np.sum(part["kind"] == "c") for part in TABLES[:2])
    assert content["rows"] == left
    assert content["coefficients"][-1] == 0.0
    (warning,) = content["warnings"]
    assert (warning["code"], warning["terms"]) == ("sole_values", ["kind=only"])
    assert run({}, unknown_levels="reference")["rows"] == 600


@pytest.mark.parametrize("allowed", [False, True])
def test_nor_can_one_department_be_held_out(allowed: bool) -> None:
    params: dict[str, Any] = {"features": ["x"], "split": {"column": "kind", "test": ["only"]}}
    content = run({"own_figures": allowed}, **params)
    assert (content["evaluation"]["held_out"] is not None) is allowed


@pytest.mark.parametrize("allowed", [False, True])
def test_not_even_by_a_column_without_declared_values(allowed: bool) -> None:
    tables = [{**part, "held": np.full(len(part["x"]), 0) if place else part["held"]} for place, part in enumerate(TABLES)]
    nodes = {f"node-{place}": {"cases": LocalResource.arrays(part, SCHEMA)} for place, part in enumerate(tables)}
    with LocalFederation(nodes, grant={"own_figures": allowed}) as federation:
        content = federation.run("regression", {"resource": "cases", "family": "linear", "target": "price", "features": ["x"],
                                                "domains": {}, "split": {"column": "held"}})
    assert (content["evaluation"]["held_out"] is not None) is allowed
    assert (content["evaluation"]["departments"] is not None) is allowed


def test_nor_trained_on_alone() -> None:
    with pytest.raises(NodeFailure):
        run({"own_figures": True}, features=["x"], split={"column": "kind", "train": ["only"], "test": ["a"]})
