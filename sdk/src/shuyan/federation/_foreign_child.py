"""``python -m shuyan.federation._foreign_child FD``: the process in which a foreign app's ``serve`` runs.

It shuts itself in before anything large is imported, seals itself before the app is, and then can compute, ask its parent
for sums, and return one result.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import traceback
from typing import Any

from shuyan import confinement
from shuyan.confinement.frames import Channel

_MIB = 1024 * 1024


def main(descriptor: int) -> None:
    """Serve one run."""
    channel = Channel(descriptor)
    frame = channel.receive()
    if frame is None:
        return
    start, data = frame
    walls = confinement.Confinement(hide=True)
    layers = [*confinement.shut_in(walls)]

    from shuyan.appkit import allowed, loader
    from shuyan.appkit.package import read_package
    from shuyan.federation.foreign import GridProxy

    allowed.preload()
    package = read_package(data)
    limit(int(start["memory_mb"]), int(start["seconds"]))
    layers += confinement.seal(walls)
    channel.send({"op": "sealed", "layers": layers})
    if not confinement.sufficient(layers):
        return
    try:
        app = loader.load(package)
        grid = GridProxy(channel, app, start)
        content = app.serve(grid, grid.params, grid.progress)
        channel.send({"op": "result", "content": content})
    except Exception as error:
        channel.send({"op": "failed", "where": where(error, package.name)})


def limit(memory_mb: int, seconds: int) -> None:
    """Address space counts from what is in use; no files, no core, processor time from now on."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = used + memory_mb * _MIB
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    for kind, soft in ((resource.RLIMIT_AS, ceiling), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
                       (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_MEMLOCK, 0)):
        resource.setrlimit(kind, (soft, soft))


def where(error: BaseException, name: str) -> str:
    """The kind of an error and the last line of the app's own that it came through; never its text, which may hold data."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"{name}/")]
    kind = type(error).__name__
    return f"{frames[-1].filename}:{frames[-1].lineno}:{kind}"[:120] if frames else kind[:120]


def _run(arguments: list[str]) -> Any:
    # The parent's descriptor and nothing else.
    descriptor = int(arguments[1])
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 1024)
    main(descriptor)


if __name__ == "__main__":
    _run(sys.argv)
