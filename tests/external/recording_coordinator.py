"""The coordinator as it is shipped, with its recorder switched on: every decoded frame from a node goes to a file.

``python recording_coordinator.py FRAMES serve`` runs ``shuyan-coordinator serve``. The file holds one JSON line a
frame: ``{"node": id, "frame": base64}``.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from pathlib import Path
from typing import Any

from marketplace.rpc import cli, link
from shuyan_protos.link.v1 import link_pb2 as pb

# A number that this process certainly holds, so that whoever sweeps its memory knows that the sweep finds things.
CANARY = 31415.926535897932


class _Recorder:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")

    def __call__(self, node_id: str, frame: pb.NodeFrame) -> None:
        data = base64.b64encode(frame.SerializeToString()).decode()
        self._file.write(json.dumps({"node": node_id, "frame": data}) + "\n")
        self._file.flush()


def main() -> None:
    recorder = _Recorder(Path(sys.argv.pop(1)))
    constructed = link.NodeLinks.__init__

    def recording(self: Any, *args: Any, **kwargs: Any) -> None:
        constructed(self, *args, **{**kwargs, "recorder": recorder})

    link.NodeLinks.__init__ = recording  # type: ignore[method-assign]
    main.canary = [float(CANARY), struct.pack("<d", CANARY)]  # type: ignore[attr-defined]
    cli.main()


if __name__ == "__main__":
    main()
