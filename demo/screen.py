"""What the demo shows while it works: one line a step, with the time it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from shuyan._text import t


class LinkBroken(Exception):
    """A step of the chain failed.

    Attributes:
        step: what was being done.
        reason: what went wrong, in a sentence.
    """

    def __init__(self, step: str, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"{step}: {reason}")


class Screen:
    """The terminal, or a plain log of the same lines."""

    def __init__(self) -> None:
        shown = sys.stdout.isatty()
        self.console = Console(highlight=False, soft_wrap=not shown, width=None if shown else 200)
        self.started = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    @contextmanager
    def step(self, zh: str, en: str, **arguments: object) -> Iterator[Step]:
        """One step: shown while it runs, ticked off with its time, or marked as the broken link."""
        title = t(zh, en, **arguments)
        began = time.monotonic()
        step = Step()
        try:
            with self.console.status(title) if self.console.is_terminal else _nothing():
                yield step
        except Exception as error:
            self.console.print(f"  [red]✗[/red]  {title}")
            raise LinkBroken(title, str(error) or type(error).__name__) from error
        took = time.monotonic() - began
        self.steps.append((title, took))
        note = f"  [dim]{step.note}[/dim]" if step.note else ""
        self.console.print(f"  [green]✓[/green]  {title}{note}  [dim]{took:.1f} s[/dim]")

    def say(self, zh: str, en: str, **arguments: object) -> None:
        self.console.print(t(zh, en, **arguments), markup=False)

    def heading(self, zh: str, en: str) -> None:
        self.console.print(f"\n[bold]{t(zh, en)}[/bold]")

    def table(self, rows: list[tuple[str, ...]], headings: tuple[str, ...] = (), *, whole: int = 2) -> None:
        """A table whose last ``whole`` columns are never cut or folded: addresses and passwords are copied."""
        table = Table(box=None, pad_edge=True, show_header=bool(headings), header_style="dim")
        columns = len(rows[0])
        for position in range(columns):
            table.add_column(headings[position] if headings else "", no_wrap=position >= columns - whole, overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


class Step:
    """A running step; ``note`` is shown behind its title."""

    note = ""


@contextmanager
def _nothing() -> Iterator[None]:
    yield
