"""Records calls as fast as it can and prints each key once it is acknowledged, until it is killed."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime

from marketplace.metering import service as metering
from marketplace.metering.rules import Usage


def main(entitlement: str, version: str, name: str) -> None:
    lock = threading.Lock()

    def work(thread: int) -> None:
        for number in range(1_000_000):
            key = f"{name}-{thread}-{number}"
            metering.record(Usage(entitlement, key, version, "client", datetime.now(UTC), "sha256:x"), chosen_key=True)
            with lock:
                sys.stdout.write(key + "\n")
                sys.stdout.flush()

    for thread in range(8):
        threading.Thread(target=work, args=(thread,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
