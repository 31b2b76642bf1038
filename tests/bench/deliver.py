"""Metered calls below HTTP: ``python -m tests.bench.deliver CLIENT_ID PRODUCT_ID BODY THREADS SECONDS``, with the market's
settings in the environment. Prints JSON: calls a second, metered and unmetered."""

from __future__ import annotations

import json
import sys
import threading
import time

from tests.bench.unmetered import uncounted

from marketplace import db
from marketplace.delivery import service as delivery
from marketplace.metering import service as metering
from marketplace.metering.writer import close_writers
from marketplace.parties import service as parties


def rate(actor: object, product: str, body: dict[str, object], threads: int, seconds: float) -> float:
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        while time.perf_counter() < end:
            delivery.deliver(actor, product, body)  # type: ignore[arg-type]
            counts[place] += 1

    running = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    began = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def main() -> None:
    client_id, product, text, threads, seconds = sys.argv[1:]
    with db.reading() as session:
        client = parties.find_client(session, client_id)
        assert client is not None
        actor = parties.actor_for_client(session, client)
    body = json.loads(text)
    shipped = metering.record
    rate(actor, product, body, 2, 0.5)
    found = {"metered": rate(actor, product, body, int(threads), float(seconds)),
             "metered_alone": rate(actor, product, body, 1, float(seconds))}
    delivery.metering.record = uncounted  # type: ignore[assignment]
    found["unmetered"] = rate(actor, product, body, int(threads), float(seconds))
    delivery.metering.record = shipped
    close_writers()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
