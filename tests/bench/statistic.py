"""A statistic over real nodes by a coordinator that does nothing else, and the same query on the plain files.

``python -m tests.bench.statistic GRANT_ID REPEATS SQL FILE…`` with the coordinator's settings in the environment; prints
JSON with milliseconds: ``runs``, each of a run of its own from its first question to the released table, ``asked``, how many
there were with those before it, ``cpu``, this process's time in one, and ``local``, the slowest of the files by itself in each repetition, on one thread as the nodes have it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

from marketplace.authorisation import service as authorisation
from marketplace.computing import submission
from marketplace.db import reading, utc_now
from marketplace.ids import new_id
from marketplace.logging import configure
from marketplace.rpc.server import LinkServer
from marketplace.settings import settings
from marketplace.workflows.lock import single_coordinator
from shuyan.federation import apps
from shuyan.federation.grid import SecureGrid

WARM_UP = 3


async def measure(grant_id: str, repeats: int, sql: str) -> tuple[list[float], float]:
    """Milliseconds of each run, and of this process's own time in one."""
    with reading() as session:
        record, grant = authorisation.usable_grant(session, grant_id, utc_now())
        params = submission.check(session, grant.grantee, grant_id=grant_id, app="query", params={"sql": sql}).params
    server = LinkServer(settings())
    transport = await server.start()
    wanted = sorted({item.node_id for item in grant.resources})
    while not set(wanted) <= transport.connected():
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)  # the nodes' greetings are through
    app = apps.installed()["query"]

    def run() -> float:
        began = time.perf_counter()
        grid = SecureGrid(transport, grant=grant, grant_jws=record.jws, run_id=new_id("run"), app=app, params=params,
                          participants=wanted)
        app.load().run(grid)
        return (time.perf_counter() - began) * 1000

    spans = [await asyncio.to_thread(run) for _ in range(WARM_UP)]
    gc.collect()  # as the coordinator does before it takes runs
    gc.freeze()
    spent = time.process_time()
    spans = [await asyncio.to_thread(run) for _ in range(repeats)]
    spent = (time.process_time() - spent) * 1000 / repeats
    await server.stop()
    return spans, spent


def local(sql: str, files: list[str], repeats: int) -> list[float]:
    """Milliseconds of the slowest file in each repetition."""
    def once(file: str) -> float:
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(f"CREATE VIEW readings AS FROM read_parquet('{file}')")
            began = time.perf_counter()
            connection.execute(sql).fetchall()
            return (time.perf_counter() - began) * 1000

    return [max(once(file) for file in files) for _ in range(repeats)]


async def main() -> dict[str, Any]:
    grant_id, repeats, sql, *files = sys.argv[1:]
    spans, spent = await measure(grant_id, int(repeats), sql)
    return {"runs": spans, "asked": WARM_UP + len(spans), "cpu": spent, "local": local(sql, files, 5)}


if __name__ == "__main__":
    configure(json=False)
    Path(settings().data_dir).mkdir(exist_ok=True)
    with single_coordinator(settings()):
        print(json.dumps(asyncio.run(main())))
