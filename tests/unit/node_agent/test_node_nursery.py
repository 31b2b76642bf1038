"""The process that workers of developers' apps are forked from."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import psutil
import pytest

from node_agent.worker import nursery


async def _forked(home: Path) -> tuple[nursery.Forked, socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs, (home / "log").open("ab") as log:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return await nursery.fork(home, {**kept, "HOME": str(home), "TMPDIR": str(home)}, log=log.fileno(), tasks=theirs.fileno()), ours


@pytest.mark.parametrize("which", ["worker", "nursery"])
def test_what_is_killed_is_told_and_replaced(tmp_path: Path, which: str) -> None:
    async def play() -> None:
        async with asyncio.timeout(60):
            worker, tasks = await _forked(tmp_path)
            process = psutil.Process(worker.pid)
            parent = process.parent()
            assert parent is not None
            assert parent.pid != os.getpid()
            assert parent.num_threads() == 1  # a fork copies no other
            assert worker.returncode is None
            {"worker": process, "nursery": parent}[which].kill()
            assert await worker.wait() == worker.returncode == -9
            again, more = await _forked(tmp_path)
            assert psutil.Process(again.pid).parent() == parent if which == "worker" else again.pid != worker.pid
            more.close()  # nobody speaks to it any more
            assert await again.wait() == 0
            tasks.close()

    asyncio.run(play())
