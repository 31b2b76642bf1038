"""Tables on the command line whose identifiers can always be copied whole.

In a terminal a table is as wide as the terminal: long prose wraps, and where even that is not enough every row becomes
a block of ``name  value`` lines. Nothing is ever cut off. Output that is piped is not wrapped at all.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_PIPED = 100_000
_GAP = "  "
_WORD = re.compile(r"[\w.:/+@%=~-]+", re.ASCII)  # an identifier, a digest, a number, a path: useless in pieces
_PROSE = 16  # cells below which a column of prose is no longer pleasant to read


def console() -> Console:
    """Where command lines print to: the terminal at its width, anything else unwrapped."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, numeric: Sequence[int] = (),
                to: Console | None = None) -> None:
    """Print a table, or ``empty`` when there are no rows.

    Args:
        numeric: positions of the columns that are aligned to the right.
        to: by default what :func:`console` gives.
    """
    to = to or console()
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        to.print(empty, markup=False, soft_wrap=True)
        return
    columns = list(zip(headings, *cells, strict=True))
    widths = _widths(columns, to.width)
    if widths is None:
        _blocks(to, headings, cells)
        return
    _row(to, headings, widths, numeric, style="bold")
    for row in cells:
        _row(to, row, widths, numeric)


def print_fields(fields: Iterable[tuple[str, object]], *, to: Console | None = None) -> None:
    """Print name and value, one below the other; values that are ``None`` or empty are left out."""
    shown = [(name, str(value)) for name, value in fields if value not in (None, "")]
    _blocks(to or console(), [name for name, _ in shown], [[value for _, value in shown]])


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Each column's width in terminal cells, or ``None`` if they do not fit side by side."""
    widths = [max(map(cell_len, column)) for column in columns]
    least = [_least(column) for column in columns]
    room -= len(_GAP) * (len(columns) - 1)
    while sum(widths) > room:
        position = max(range(len(widths)), key=lambda at: widths[at] - least[at])
        if widths[position] == least[position]:
            return None
        widths[position] -= 1
    return widths


def _least(column: Sequence[str]) -> int:
    """The narrowest a column may be: words whole, prose down to a limit."""
    words = max((cell_len(text) for text in column if _WORD.fullmatch(text)), default=0)
    return max(words, min(max(map(cell_len, column)), _PROSE))


def _row(to: Console, cells: Sequence[str], widths: Sequence[int], numeric: Sequence[int], style: str = "") -> None:
    wrapped = [_wrapped(to, text, width) for text, width in zip(cells, widths, strict=True)]
    for line in itertools.zip_longest(*wrapped, fillvalue=""):
        padded = [text.rjust(len(text) + width - cell_len(text)) if position in numeric else
                  text.ljust(len(text) + width - cell_len(text))
                  for position, (text, width) in enumerate(zip(line, widths, strict=True))]
        to.print(Text(_GAP.join(padded).rstrip(), style=style), soft_wrap=True)


def _wrapped(to: Console, text: str, width: int) -> list[str]:
    if cell_len(text) <= width and "\n" not in text:
        return [text]
    return [line.plain.rstrip() for line in Text(text).wrap(to, max(width, 2), overflow="fold")] or [""]


def _blocks(to: Console, headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """One block a row: name and value, one below the other; the terminal itself breaks what is too long."""
    width = max(map(cell_len, headings), default=0)
    for number, row in enumerate(cells):
        if number:
            to.print()
        for heading, text in zip(headings, row, strict=True):
            name = Text(heading.ljust(len(heading) + width - cell_len(heading)), style="bold")
            to.print(Text.assemble(name, _GAP, text), soft_wrap=True)
