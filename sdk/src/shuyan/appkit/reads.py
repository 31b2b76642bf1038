"""What an app reads and what comes with its questions, said as data: a node works it out without the app's code.

A *path* names a place in the parameters: ``columns``, ``target``, ``histograms[].column``, ``group_by[][]``; ``[]`` goes
through a list. A *length* is a small sum: numbers, names of whole-number parameters, ``len(path)``, ``cells(path)`` (the
product of the numbers of declared values of the columns named there), ``+``, ``-``, ``*``, ``//`` and brackets. An array
of length 0 does not come.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from math import prod
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shuyan.federation import problems
from shuyan.federation.apps.base import Need
from shuyan.problems import ProblemError

PATH: Final = r"^[A-Za-z][A-Za-z0-9_]*(\[\])*(\.[A-Za-z][A-Za-z0-9_]*(\[\])*)*$"
MAX_LENGTH: Final = 10_000_000
_STEP: Final = re.compile(r"([A-Za-z][A-Za-z0-9_]*)((?:\[\])*)")


class Reads(BaseModel):
    """Columns of one resource, and how they are used.

    Attributes:
        resource: path to the resource's name in the parameters.
        param: path to the names of columns.
        column: a fixed column instead.
        need: ``number``, ``dimension``, ``category`` or ``any``.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(default="resource", pattern=PATH)
    param: str = Field(default="", pattern=PATH.replace("^", "^(").replace("$", ")?$"))
    column: str = Field(default="", max_length=200)
    need: Need

    @model_validator(mode="after")
    def _either(self) -> Reads:
        if bool(self.param) == bool(self.column):
            raise ValueError("name either a parameter or a column")
        return self


def found(params: Mapping[str, Any], path: str) -> list[Any]:
    """What stands at a path: one value, or all behind ``[]``; null and missing are nothing."""
    here: list[Any] = [params]
    for name, lists in _STEP.findall(path):
        here = [value[name] for value in here if isinstance(value, Mapping) and value.get(name) is not None]
        for _ in range(lists.count("[]")):
            here = [item for value in here if isinstance(value, (list, tuple)) for item in value]
    return here


def _words(params: Mapping[str, Any], path: str) -> list[str]:
    values = found(params, path)
    values = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
    if not all(isinstance(value, str) for value in values):
        raise ProblemError(problems.BAD_PARAMS, field=path, where=path)
    return values


class Length(BaseModel):
    """How long an array is, as text; see the module."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    text: str = Field(min_length=1, max_length=200)

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        _check(_parse(text))
        return text

    def under(self, params: Mapping[str, Any]) -> int:
        """The length under given parameters.

        Raises:
            ProblemError: ``bad_params`` where it comes to nothing sensible.
        """
        try:
            value = _value(_parse(self.text), params)
        except (LookupError, TypeError, ZeroDivisionError, ValueError) as error:
            raise ProblemError(problems.BAD_PARAMS, field="arrays", where="arrays") from error
        if not 0 <= value <= MAX_LENGTH:
            raise ProblemError(problems.BAD_PARAMS, field="arrays", where="arrays")
        return value


def _parse(text: str) -> ast.expr:
    try:
        # "[]" is no Python; a name never holds these letters.
        return ast.parse(text.replace("[]", "._each_"), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("not a length") from error


def _path(node: ast.expr) -> str:
    return ast.unparse(node).replace("._each_", "[]")


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=int() as value) if type(value) is int and 0 <= value <= MAX_LENGTH:
            return
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv(), right=right):
            _check(left)
            _check(right)
        case ast.Call(func=ast.Name(id="len" | "cells"), args=[argument], keywords=[]) if re.match(PATH, _path(argument)):
            return
        case ast.Name() | ast.Attribute() if re.match(PATH, _path(node)) and "[]" not in _path(node):
            return
        case _:
            raise ValueError("not a length")


def _value(node: ast.expr, params: Mapping[str, Any]) -> int:
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.BinOp(left=left, op=operation, right=right):
            first, second = _value(left, params), _value(right, params)
            if isinstance(operation, ast.Add):
                return first + second
            if isinstance(operation, ast.Sub):
                return first - second
            if isinstance(operation, ast.Mult):
                if abs(first) > MAX_LENGTH or abs(second) > MAX_LENGTH:
                    raise ValueError("too long")
                return first * second
            return first // second
        case ast.Call(func=ast.Name(id="len"), args=[argument]):
            values = found(params, _path(argument))
            return len(values[0]) if len(values) == 1 and isinstance(values[0], (list, tuple, dict)) else len(values)
        case ast.Call(func=ast.Name(id="cells"), args=[argument]):
            domains = params.get("domains", {})
            return prod(len(domains[name]) for name in _words(params, _path(argument)))
        case _:
            (value,) = found(params, _path(node))
            if type(value) is not int:
                raise TypeError("not a whole number")
            return value


class DeclaredNeeds:
    """``FederatedApp.needs`` and ``relations`` made of :class:`Reads`."""

    def __init__(self, reads: tuple[Reads, ...]) -> None:
        self.reads = reads

    def __call__(self, params: BaseModel) -> list[tuple[str, Need]]:
        return list(dict.fromkeys(need for needs in self.relations(params).values() for need in needs))

    def relations(self, params: BaseModel) -> dict[str, list[tuple[str, Need]]]:
        """Columns by resource name; a resource of which no column is read is there too, for its rows."""
        plain = params.model_dump(mode="json")
        tables: dict[str, dict[tuple[str, Need], None]] = {}
        for read in self.reads:
            for resource in _words(plain, read.resource):
                columns = tables.setdefault(resource, {})
                for name in [read.column] if read.column else _words(plain, read.param):
                    columns[name, read.need] = None
        return {resource: list(columns) for resource, columns in tables.items()}


class DeclaredArrays:
    """``FederatedApp.arrays`` made of lengths."""

    def __init__(self, lengths: Mapping[str, Mapping[str, Length]]) -> None:
        self.lengths = {action: dict(arrays) for action, arrays in lengths.items()}

    def __call__(self, params: BaseModel, action: str) -> dict[str, int]:
        plain = params.model_dump(mode="json")
        lengths = {name: length.under(plain) for name, length in self.lengths.get(action, {}).items()}
        return {name: length for name, length in lengths.items() if length}
