"""What the code of an app may import, and what has to be in memory before its sandbox is sealed."""

from __future__ import annotations

from importlib import import_module
from typing import Final

STANDARD: Final = frozenset({
    "__future__", "abc", "array", "bisect", "cmath", "collections", "collections.abc", "contextlib", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator", "re",
    "statistics", "string", "struct", "textwrap", "typing", "unicodedata",
})
"""Modules of the standard library that neither reach out nor in."""

PACKAGES: Final = frozenset({
    "numpy", "numpy.fft", "numpy.linalg", "numpy.polynomial", "numpy.random", "numpy.typing", "pydantic",
    "flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy",
})

_PLATFORM: Final = "shuyan.federation"
_MACHINERY: Final = frozenset({
    "shuyan.federation." + name for name in ("checks", "egress", "foreign", "grid", "local", "masking", "opening", "transport")})
"""Parts of the platform that an app has no business with."""

# Extension modules are loaded by these; once sealed, a process maps no new machine code.
_SINGLE_THREADED: Final = (
    "numpy", "numpy.fft", "numpy.linalg", "numpy.polynomial", "numpy.random", "pydantic", "flwr.app", "flwr.clientapp",
    "flwr.serverapp", "array", "cmath", "datetime", "decimal", "difflib", "fractions", "hashlib", "heapq", "json", "linecache",
    "logging", "math", "statistics", "struct", "textwrap", "traceback", "unicodedata", "zlib",
)
_STARTING_THREADS: Final = ("duckdb", "shuyan.federation.kit", "flwr.serverapp.strategy")


def may_import(module: str) -> bool:
    """Whether an app may import this."""
    if module in STANDARD or module in PACKAGES or module == "shuyan.problems":
        return True
    if module != _PLATFORM and not module.startswith(_PLATFORM + "."):
        return False
    return not any(part.startswith("_") for part in module.split(".")) and not any(
        module == kept or module.startswith(kept + ".") for kept in _MACHINERY)


def preload(*, threads: bool = True) -> None:
    """Import what an app may need and what the sealed process needs to report a failure.

    Args:
        threads: also what starts threads when it is imported, DuckDB above all; only after the process is shut in.
    """
    for name in (*_SINGLE_THREADED, *(_STARTING_THREADS if threads else ())):
        import_module(name)
