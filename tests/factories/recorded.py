"""A market whose coordinator writes down every frame it receives."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

from demo.processes import Service
from tests.factories.town import Town

from shuyan_protos.link.v1 import link_pb2 as pb

SCRIPT = Path(__file__).parents[1] / "external" / "recording_coordinator.py"


class RecordedTown(Town):
    """A town whose coordinator records."""

    @property
    def frames_file(self) -> Path:
        return self.layout.root / "frames.jsonl"

    def coordinator_service(self) -> Service:
        service = super().coordinator_service()
        return replace(service, command=(sys.executable, str(SCRIPT), str(self.frames_file), "serve"))

    def frames(self) -> list[tuple[str, pb.NodeFrame]]:
        """Everything nodes have sent, in order of arrival."""
        found = []
        for line in self.frames_file.read_text(encoding="ascii").splitlines():
            entry = json.loads(line)
            found.append((entry["node"], pb.NodeFrame.FromString(base64.b64decode(entry["frame"]))))
        return found
