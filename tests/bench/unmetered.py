"""The web tier as shipped, but for the one step that counts a call: what metering is compared with.

``python -m tests.bench.unmetered`` serves it; ``create_app`` is what its workers load.
"""

from __future__ import annotations

from typing import Any

from marketplace.delivery import service as delivery
from marketplace.metering.rules import Usage
from marketplace.settings import settings


def uncounted(_usage: Usage, *, chosen_key: bool) -> bool:
    """Stands where :func:`marketplace.metering.service.record` is, and does nothing."""
    return not chosen_key or True


def create_app() -> Any:
    from marketplace.app import create_app as shipped

    delivery.metering.record = uncounted  # type: ignore[assignment]
    return shipped()


def main() -> None:
    from granian.constants import Interfaces
    from granian.server import Server

    configuration = settings()
    Server("tests.bench.unmetered:create_app", factory=True, interface=Interfaces.WSGI, address=configuration.web_host,
           port=configuration.web_port, workers=configuration.web_workers, blocking_threads=configuration.web_threads,
           websockets=False, log_access=False).serve()


if __name__ == "__main__":
    main()
