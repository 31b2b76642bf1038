"""The checked-in gRPC code is what the .proto files say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    environment = {**os.environ, "VIRTUAL_ENV": str(Path(sys.executable).parent.parent)}
    subprocess.run(["sh", ROOT / "protos" / "generate.sh", tmp_path], check=True, env=environment, capture_output=True)
    generated = sorted(path.relative_to(tmp_path) for pattern in GENERATED for path in tmp_path.rglob(pattern))
    checked_in = sorted(path.relative_to(ROOT / "protos" / "src")
                        for pattern in GENERATED for path in (ROOT / "protos" / "src").rglob(pattern))
    assert generated == checked_in
    for path in generated:
        assert (tmp_path / path).read_text() == (ROOT / "protos" / "src" / path).read_text(), f"{path}: run make protos"
