"""Boosted trees over four departments in processes of their own, against XGBoost on the pooled rows.

``python -m tests.bench.boosting [rows] [trees]`` prints JSON with the seconds of both and of the rounds alone (the same trees
over hardly any rows), all on this machine's cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from shuyan.federation.local import LocalFederation, LocalNode, LocalResource
from shuyan.federation.schema import Column
from shuyan.federation.transport import NodeFailure, OpenReply, OpenRequest, TaskReply, TaskRequest, Transport
from shuyan.problems import ProblemError

FEATURES = [f"f{place}" for place in range(14)]
DEPARTMENTS = 4


class ProcessTransport(Transport):
    """Carries requests to nodes in child processes."""

    def __init__(self, nodes: list[LocalNode]) -> None:
        fork = get_context("fork")
        self._ends: dict[str, Connection] = {}
        self._children = []
        for node in nodes:
            mine, theirs = fork.Pipe()
            child = fork.Process(target=_serve, args=(node, theirs), daemon=True)
            child.start()
            self._ends[node.node_id] = mine
            self._children.append(child)
        self._threads = {name: ThreadPoolExecutor(1) for name in self._ends}

    def connected(self) -> set[str]:
        return set(self._ends)

    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        return self._threads[request.node_id].submit(self._ask, request)

    def open(self, request: OpenRequest) -> Future[OpenReply]:
        return self._threads[request.node_id].submit(self._ask, request)

    def cancel(self, run_id: str) -> None:
        """Nothing: runs here are short."""

    def _ask(self, request: Any) -> Any:
        end = self._ends[request.node_id]
        end.send(request)
        answer = end.recv()
        if isinstance(answer, str):
            raise NodeFailure(request.node_id, answer)
        return answer

    def close(self) -> None:
        """End the processes."""
        for end in self._ends.values():
            end.send(None)
        for child in self._children:
            child.join()


def _serve(node: LocalNode, end: Connection) -> None:
    while (request := end.recv()) is not None:
        try:
            end.send(node.answer(request) if isinstance(request, TaskRequest) else node.open(request))
        except ProblemError as error:
            end.send(error.code)


def table(rows: int) -> dict[str, np.ndarray]:
    """Half integers, half continuous; the target follows six of them."""
    random = np.random.default_rng(0)
    data = {name: random.normal(size=rows).round(2) if place % 2 else random.integers(0, 50, rows).astype(float)
            for place, name in enumerate(FEATURES)}
    odds = sum(data[name] * (1.0 if place % 2 else 0.02) for place, name in enumerate(FEATURES[:6])) - 1
    data["y"] = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return data


def federated(data: dict[str, np.ndarray], trees: int) -> tuple[float, int]:
    """Seconds, and rounds."""
    schema = {name: Column(name, "number") for name in data}
    nodes = {f"node-{place}": {"cases": LocalResource.arrays({name: values[place::DEPARTMENTS] for name, values in data.items()},
                                                             schema)} for place in range(DEPARTMENTS)}
    rounds = 0

    def count(round_: int, _rounds: int, _code: str, /, **_args: object) -> None:
        nonlocal rounds
        rounds = round_

    federation = LocalFederation(nodes)
    carrier = ProcessTransport(list(federation.nodes.values()))
    federation.transport = carrier
    begun = time.perf_counter()
    federation.run("boosting", {"resource": "cases", "target": "y", "features": FEATURES, "rounds": trees, "max_depth": 4,
                                "bins": 64}, progress=count)
    seconds = time.perf_counter() - begun
    carrier.close()
    return seconds, rounds


def pooled(data: dict[str, np.ndarray], trees: int) -> float:
    """Seconds that XGBoost takes, bins included, on as many threads as there are cores."""
    import xgboost

    threads = len(os.sched_getaffinity(0))
    matrix = np.column_stack([data[name] for name in FEATURES]).astype(np.float32)
    begun = time.perf_counter()
    rows = xgboost.QuantileDMatrix(matrix, data["y"], max_bin=64, nthread=threads)
    xgboost.train({"objective": "binary:logistic", "tree_method": "hist", "max_depth": 4, "eta": 0.1, "max_bin": 64,
                   "nthread": threads}, rows, trees)
    return time.perf_counter() - begun


def main() -> None:
    given = [int(value) for value in sys.argv[1:]]
    rows, trees = given if len(given) == 2 else (200_000, 100)
    data = table(rows)
    whole, rounds = federated(data, trees)
    alone, few = federated({name: values[:2000] for name, values in data.items()}, trees)
    alone *= rounds / few
    # Last, since its threads would not survive the forks; the best of three, since they wait for one another.
    theirs = min(pooled(data, trees) for _ in range(3))
    print(json.dumps({"rows": rows, "trees": trees, "rounds": rounds, "federated": whole, "rounds_alone": alone,
                      "xgboost": theirs}))


if __name__ == "__main__":
    main()
