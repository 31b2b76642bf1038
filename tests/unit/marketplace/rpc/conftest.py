"""A real link server with real certificates on ports of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.factories.federation import Zone, zone
from tests.factories.link_node import certifier

from marketplace.rpc.hub import LinkTransport
from marketplace.rpc.pki import Authority, initialise
from marketplace.rpc.server import LinkServer
from marketplace.settings import settings


class Coordinator:
    """The server under test, its market and its transport."""

    def __init__(self, server: LinkServer, transport: LinkTransport, market: Zone, root_pem: bytes) -> None:
        self.server, self.transport, self.market, self.root_pem = server, transport, market, root_pem

    @property
    def port(self) -> int:
        return self.server.link_port


@asynccontextmanager
async def _coordinator(count: int, **options: Any) -> AsyncIterator[Coordinator]:
    config = settings().model_copy(update={"link_port": 0, "enrol_port": 0})
    initialise(config.keys_dir)
    authority = Authority(config.keys_dir)
    market = await asyncio.to_thread(zone, count, certify=certifier(authority))
    server = LinkServer(config, **{"heartbeat_seconds": 0.2, **options})
    transport = await server.start()
    try:
        yield Coordinator(server, transport, market, authority.root_pem)
    finally:
        await server.stop()


@pytest.fixture
def coordinated(sqlite_database: Any) -> Callable[..., None]:
    """Runs ``scenario(coordinator)`` against a coordinator with ``count`` departments."""
    def run(scenario: Callable[[Coordinator], Awaitable[None]], count: int = 3, **options: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), _coordinator(count, **options) as coordinator:
                await scenario(coordinator)

        asyncio.run(main())

    return run
