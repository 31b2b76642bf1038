"""The public face of the SDK: every public name, sorted, and nothing private shown."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import shuyan
from shuyan import _errors


def test_the_public_names_are_sorted_and_exist() -> None:
    assert shuyan.__all__ == sorted(shuyan.__all__)
    for name in shuyan.__all__:
        assert hasattr(shuyan, name), name


def test_every_error_and_record_is_exported() -> None:
    for module in ("_errors", "_models", "_client"):
        members = vars(importlib.import_module(f"shuyan.{module}"))
        for name, value in members.items():
            if inspect.isclass(value) and issubclass(value, _errors.ShuyanError | shuyan.Record) and not name.startswith("_"):
                assert name in shuyan.__all__, f"{module}.{name} is not exported"


def test_public_things_do_not_show_private_modules() -> None:
    for name in shuyan.__all__:
        assert "._" not in getattr(shuyan, name).__module__, name


def test_modules_of_the_client_are_private() -> None:
    public = {module.name for module in pkgutil.iter_modules(shuyan.__path__) if not module.name.startswith("_")}
    assert public == {"appkit", "cli", "confinement", "detect", "federation", "jobs", "mockdata", "problems", "scoring", "torch", "trust"}


def test_the_drawn_exception_tree_is_the_real_one() -> None:
    drawn = {line.split("─ ")[1].split()[0] for line in (_errors.__doc__ or "").splitlines() if "─ " in line}
    real = {name for name, value in vars(_errors).items()
            if inspect.isclass(value) and issubclass(value, shuyan.ShuyanError) and value is not shuyan.ShuyanError}
    assert drawn == real
