"""Calls one address over kept-alive connections for some seconds: ``python -m tests.bench.load HOST PORT PATH TOKEN BODY
CONNECTIONS SECONDS``. Prints JSON: calls a second, and milliseconds of each call's latency at p50 and p99."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time

from tests.bench.report import percentile

WARM_UP = 1.0  # seconds


def work(host: str, port: int, path: str, headers: dict[str, str], body: str, end: float, spans: list[float]) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    while (began := time.perf_counter()) < end:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}")
        spans.append(time.perf_counter() - began)
    connection.close()


def main() -> None:
    host, port, path, token, body, connections, seconds = sys.argv[1:]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    work(host, int(port), path, headers, body, time.perf_counter() + WARM_UP, [])
    began = time.perf_counter()
    end = began + float(seconds)
    lists: list[list[float]] = [[] for _ in range(int(connections))]
    threads = [threading.Thread(target=work, args=(host, int(port), path, headers, body, end, spans)) for spans in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = [span for one in lists for span in one]
    took = time.perf_counter() - began
    print(json.dumps({"rate": len(spans) / took, "calls": len(spans), "p50": percentile(spans, 0.5) * 1000,
                      "p99": percentile(spans, 0.99) * 1000}))


if __name__ == "__main__":
    main()
