"""Asks Stripe for what its notifications did not tell, from a thread of the coordinator, so that a slow Stripe delays nothing else.

What is to be looked at, and when, is in the tables of commerce; a coordinator that starts again carries on with it.
"""

from __future__ import annotations

import threading
from typing import Final

from marketplace.commerce import cards, gateway
from marketplace.logging import get_logger

log = get_logger("cards")

LOOK_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 2 * gateway.TIMEOUT_SECONDS


class CardSweep:
    """Looks after card payments and refunds until stopped; idle in a market that takes no cards."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cards", daemon=True)

    def start(self) -> None:
        if gateway.configured():
            self._thread.start()

    def stop(self) -> None:
        """Stop once the request under way is answered."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                cards.sweep()
            except Exception as error:  # the database is away; it comes back
                log.error("cards cannot be looked after", error=type(error).__name__)
