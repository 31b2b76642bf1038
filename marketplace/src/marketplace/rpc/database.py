"""Use cases called from the event loop: each runs in a thread, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlmodel import Session

from marketplace.db import reading, transaction

P = ParamSpec("P")
T = TypeVar("T")

# few threads: the embedded database has one writer at a time anyway
_pool = ThreadPoolExecutor(4, thread_name_prefix="link-db")


async def write(use_case: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``use_case(session, …)`` in a transaction of its own."""
    def run() -> T:
        with transaction() as session:
            return use_case(session, *args, **kwargs)

    return await asyncio.get_running_loop().run_in_executor(_pool, run)


async def read(use_case: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``use_case(session, …)`` in a consistent read."""
    def run() -> T:
        with reading() as session:
            return use_case(session, *args, **kwargs)

    return await asyncio.get_running_loop().run_in_executor(_pool, run)
