"""A table of what was measured beside what."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One figure. ``beside`` is what it is compared with, in the same unit; ``goal`` is printed, never tested."""

    what: str
    value: float
    unit: str
    beside: float | None = None
    beside_what: str = ""
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.beside if self.beside else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    """One sentence about this machine."""
    model = "?"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                      if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
            f"Python {platform.python_version()}")


def show(lines: Sequence[Line], save: Path | None = None) -> None:
    """Print the table; ``save`` keeps the figures as JSON too."""
    console = Console(highlight=False, width=160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("what", "measured", "beside it", "", "ratio", "goal"):
        table.add_column(heading, justify="right" if heading in ("measured", "beside it", "ratio") else "left", no_wrap=True)
    for line in lines:
        table.add_row(line.what, _figure(line.value, line.unit),
                      "" if line.beside is None else _figure(line.beside, line.unit), line.beside_what,
                      "" if line.ratio is None else f"{line.ratio:.2f}", line.goal)
    console.print(machine())
    console.print(table)
    if save is not None:
        save.write_text(json.dumps({"machine": machine(), "lines": [asdict(line) for line in lines]}, indent=2) + "\n",
                        encoding="utf-8")


def _figure(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"
