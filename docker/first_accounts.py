"""The first accounts of a market in containers: made once, at random, into a folder only the operator can read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from demo.layout import Layout, write_private

root = Path(sys.argv[1])
write_private(root / "seed.json", json.dumps(Layout(root).seed(), ensure_ascii=False, indent=2))
