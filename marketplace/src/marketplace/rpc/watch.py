"""What the coordinator notices in the database and tells the nodes: revoked nodes, revoked and held grants, a grown log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from marketplace.authorisation.service import HeldThere
from marketplace.logging import get_logger
from marketplace.rpc import ledger
from marketplace.rpc.hub import Hub
from marketplace.rpc.link import Link
from shuyan.problems import ProblemError

log = get_logger("watch")

WATCH_SECONDS: Final = 0.25
"""A revocation reaches the nodes within this and a query."""

CHECKPOINT_SECONDS: Final = 1.0
SEEN_SECONDS: Final = 30.0
"""How often the time a node was last heard is written: for people, so not with each heartbeat."""


async def watch(hub: Hub) -> None:
    """Watch until cancelled. A failing database is waited for: links stay up meanwhile."""
    checkpoint_at = seen_at = time.monotonic()
    revocations = checkpoint = 0
    while True:
        try:
            active, number, size, held = await ledger.active_and_newest()
            for link in list(hub.links.values()):
                if link.node_id not in active:
                    link.close("node_revoked", 0)
                    hub.leave(link, come_back=False)
            for node_id in hub.reachable() - active:  # gone for the moment, and revoked meanwhile
                hub.lose(node_id)
            now = time.monotonic()
            if now - checkpoint_at >= CHECKPOINT_SECONDS:
                checkpoint_at = now
                await ledger.sign_checkpoint()
            if now - seen_at >= SEEN_SECONDS:
                seen_at = now
                await ledger.seen(list(hub.links))
            await _tell(hub, held, revocations=number > revocations, checkpoint=size > checkpoint)
            revocations, checkpoint = number, size
        except ProblemError as problem:
            log.error("watch failed", code=problem.code)
            await asyncio.sleep(CHECKPOINT_SECONDS)
        except Exception as error:
            log.error("watch failed", error=type(error).__name__)
            await asyncio.sleep(CHECKPOINT_SECONDS)
        await asyncio.sleep(WATCH_SECONDS)


async def _tell(hub: Hub, held: Mapping[str, HeldThere], *, revocations: bool, checkpoint: bool) -> None:
    for link in list(hub.links.values()):
        if not isinstance(link, Link):
            continue
        if link.holds is not None:  # greeted
            for frame in ledger.holds(link, held):
                link.send(frame)
        if revocations:
            for frame in await ledger.revocations(link):
                link.send(frame)
        if checkpoint:
            for frame in await ledger.checkpoint(link):
                link.send(frame)
