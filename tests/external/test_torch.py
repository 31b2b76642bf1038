"""Released networks as PyTorch modules. Run where the extra is: ``uv pip install torch``, some 5 GB on Linux."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from shuyan import scoring
from shuyan.federation.apps.network import NetworkContent
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.schema import Column

torch = pytest.importorskip("torch")

SCHEMA = {"x": Column("x", "number"), "z": Column("z", "number"), "kind": Column("kind", "string", domain=("a", "b", "c")),
          "bad": Column("bad", "integer"), "grade": Column("grade", "integer"), "price": Column("price", "number")}
TASKS: dict[str, dict[str, Any]] = {"binary": {"target": "bad"}, "classes": {"target": "grade", "classes": 3},
                                    "number": {"target": "price", "activation": "tanh"}}


def _table(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    x, z, kind = random.normal(size=200), random.normal(size=200), random.choice(list("abc"), 200)
    return {"x": x, "z": z, "kind": kind.astype(object), "bad": (x * z > 0).astype(int), "grade": np.digitize(x + z, [-1, 1]),
            "price": 1e4 + 3e3 * x * z}


TABLES = [_table(seed) for seed in range(3)]
ROWS = [{"x": float(TABLES[0]["x"][row]), "z": float(TABLES[0]["z"][row]), "kind": str(TABLES[0]["kind"][row])} for row in range(200)]


@pytest.fixture(scope="module", params=TASKS)
def content(request: Any) -> dict[str, Any]:
    with LocalFederation({f"d{place}": {"cases": LocalResource.arrays(table, SCHEMA)} for place, table in enumerate(TABLES)}) as made:
        return made.run("network", {"resource": "cases", "features": ["x", "z", "kind"], "hidden": [8, 4], "rounds": 5,
                                    "task": request.param, **TASKS[request.param]})


def _served(content: dict[str, Any]) -> Any:
    found = [scoring.score(content, row) for row in ROWS]
    return np.array([list(one["probabilities"].values()) if "probabilities" in one else one["score"] for one in found])


def test_a_module_says_what_the_released_model_says(content: dict[str, Any]) -> None:
    from shuyan.torch import Network

    network = Network(content)
    np.testing.assert_allclose(network.predict(ROWS).numpy(), _served(content), rtol=1e-12, atol=1e-12)
    assert network.content() == content
    assert [name for name, _ in network.named_parameters()] == [f"layers.{at}.{what}" for at in (0, 2, 4) for what in ("weight", "bias")]


def test_what_was_trained_further_is_served_as_the_released_one(content: dict[str, Any]) -> None:
    from shuyan.torch import Network

    network = Network(content)
    inputs, targets = network.inputs(ROWS), network.targets(TABLES[0][content["target"]].tolist())
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    before = network.loss(network(inputs), targets).item()
    for _ in range(60):
        optimiser.zero_grad()
        network.loss(network(inputs), targets).backward()
        optimiser.step()
    assert network.loss(network(inputs), targets).item() < 0.8 * before
    further = network.content()
    assert (further["metrics"], further["history"]) == ({}, [])
    NetworkContent.model_validate_json(json.dumps(further))
    np.testing.assert_allclose(_served(further), network.predict(ROWS).numpy(), rtol=1e-12, atol=1e-12)


def test_a_bad_case_is_named_and_other_families_are_refused(content: dict[str, Any]) -> None:
    from shuyan.problems import ProblemError
    from shuyan.torch import Network

    with pytest.raises(ProblemError, match="kind"):
        Network(content).inputs([{"x": 1.0, "z": 1.0, "kind": "d"}])
    with pytest.raises(ValueError, match="neural networks"):
        Network({**content, "family": "linear"})
