"""A coordinator that does nothing but rounds: the shipped link server and grid, over real nodes, then bare echoes.

``python -m tests.bench.rounds GRANT_ID ROUNDS RESOURCE CLIENT_FOLDER…`` with the coordinator's settings in the environment; prints JSON with
milliseconds: ``rounds``, ``tasks`` (to the last masked answer), ``openings``, ``echoes``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

from tests.bench.echo import Echoes

from marketplace.authorisation import service as authorisation
from marketplace.db import reading, utc_now
from marketplace.ids import new_id
from marketplace.logging import configure
from marketplace.rpc.pki import Authority
from marketplace.rpc.server import LinkServer
from marketplace.settings import settings
from marketplace.workflows.lock import single_coordinator
from shuyan.federation import apps
from shuyan.federation.grid import SecureGrid

WARM_UP = 20


async def rounds(grant_id: str, count: int, resource: str) -> dict[str, list[float]]:
    """Empty rounds: one number a department, the number of its rows, masked, summed, opened."""
    with reading() as session:
        record, grant = authorisation.usable_grant(session, grant_id, utc_now())
    server = LinkServer(settings())
    transport = await server.start()
    wanted = sorted({item.node_id for item in grant.resources})
    while not set(wanted) <= transport.connected():
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)  # the nodes' greetings are through
    opening: list[float] = []

    def progress(_round: int, _rounds: int, code: str, /, **_args: object) -> None:
        if code == "round_opening":
            opening.append(time.perf_counter())

    grid = SecureGrid(transport, grant=grant, grant_jws=record.jws, run_id=new_id("run"),
                      app=apps.installed()["statistics"], params={"resource": resource, "columns": [], "group_by": [[]]},
                      participants=wanted, progress=progress)

    def work() -> list[tuple[float, float]]:
        spans = []
        for _ in range(WARM_UP + count):
            began = time.perf_counter()
            grid.secure_sum("query.tally", expect={"rows": 1})
            spans.append((began, time.perf_counter()))
        return spans

    profile = os.environ.get("BENCH_PROFILE")
    if profile:
        import cProfile

        profiler = cProfile.Profile()
        spans = await asyncio.to_thread(profiler.runcall, work)
        profiler.dump_stats(profile)
    else:
        spans = await asyncio.to_thread(work)
    await server.stop()
    spans, opened = spans[WARM_UP:], opening[WARM_UP:]
    return {
        "rounds": [(end - start) * 1000 for start, end in spans],
        "tasks": [(middle - start) * 1000 for (start, _), middle in zip(spans, opened, strict=True)],
        "openings": [(end - middle) * 1000 for (_, end), middle in zip(spans, opened, strict=True)],
    }


async def echoes(folders: list[str], count: int) -> list[float]:
    """The same fan-out with nothing behind it, to one process a node."""
    config = settings()
    files = Authority(config.keys_dir).server_files({config.link_public_host, "localhost", "127.0.0.1"})
    server, echo = grpc.aio.server(), Echoes()
    server.add_generic_rpc_handlers((echo.handler(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
        [(files.key, files.chain)], root_certificates=files.root, require_client_auth=True))
    await server.start()
    clients = [subprocess.Popen([sys.executable, "-m", "tests.bench.echo", f"127.0.0.1:{port}", folder])
               for folder in folders]
    try:
        while len(echo.streams) < len(clients):
            await asyncio.sleep(0.02)
        payload = os.urandom(2048)  # about a task
        spans = []
        for _ in range(WARM_UP + count):
            began = time.perf_counter()
            await echo.exchange(payload)
            spans.append((time.perf_counter() - began) * 1000)
        return spans[WARM_UP:]
    finally:
        for client in clients:
            client.terminate()
            client.wait()
        with contextlib.suppress(Exception):
            await server.stop(0)


async def main() -> dict[str, Any]:
    grant_id, count, resource, *folders = sys.argv[1:]
    found: dict[str, Any] = await rounds(grant_id, int(count), resource)
    found["echoes"] = await echoes(folders, int(count))
    return found


if __name__ == "__main__":
    configure(json=False)
    Path(settings().data_dir).mkdir(exist_ok=True)
    with single_coordinator(settings()):
        print(json.dumps(asyncio.run(main())))
