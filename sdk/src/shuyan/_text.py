"""Two languages on the command line, without a catalogue file: each text stands beside its translation.

The language is that of ``--lang zh|en`` on one of our command lines, else of ``SHUYAN_LANG``, else of the usual
``LC_ALL``, ``LC_MESSAGES`` and ``LANG``: Chinese when it starts with ``zh``, English otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from shuyan.problems import Language

_chosen: Language | None = None


def language_of(environment: Mapping[str, str], arguments: Sequence[str] = ()) -> Language:
    """The language that ``environment`` and a command's ``arguments`` ask for.

    >>> language_of({"LANG": "zh_CN.UTF-8"})
    'zh'
    >>> language_of({"LANG": "zh_CN.UTF-8", "SHUYAN_LANG": "en"})
    'en'
    """
    wanted = ""
    for position, argument in enumerate(arguments):
        if argument.startswith("--lang="):
            wanted = argument.removeprefix("--lang=")
        elif argument == "--lang" and position + 1 < len(arguments):
            wanted = arguments[position + 1]
    for name in ("SHUYAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        wanted = wanted or environment.get(name, "")
    return "zh" if wanted.lower().startswith("zh") else "en"


def language() -> Language:
    """The language of this process."""
    global _chosen
    if _chosen is None:
        # Help texts are made while a command's module is imported, before any option is parsed.
        ours = bool(sys.argv) and PurePath(sys.argv[0]).name.startswith("shuyan")
        _chosen = language_of(os.environ, sys.argv[1:] if ours else ())
    return _chosen


def set_language(wanted: str | None) -> None:
    """Choose the language of this process; ``None`` goes back to what the environment asks for."""
    global _chosen
    _chosen = None if wanted is None else language_of({}, ["--lang", wanted])


def t(zh: str, en: str, **arguments: object) -> str:
    """``zh`` or ``en``, whichever this process speaks, with ``arguments`` filled in (:meth:`str.format`)."""
    text = zh if language() == "zh" else en
    return text.format(**arguments) if arguments else text
