"""How the command line speaks: tables or JSON for reading, sentences for problems, banded exit codes."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from node_agent import errors
from node_agent.config import NodeDir
from shuyan import _text
from shuyan._text import t
from shuyan.problems import ProblemError

EXIT_REFUSED, EXIT_CANNOT_CONNECT, EXIT_NOT_ENROLLED = 1, 3, 4

_EXITS = {errors.AGENT_NOT_RUNNING: EXIT_CANNOT_CONNECT, errors.ENROLMENT_UNREACHABLE: EXIT_CANNOT_CONNECT,
          errors.NOT_ENROLLED: EXIT_NOT_ENROLLED, errors.NODE_DIR_MISSING: EXIT_NOT_ENROLLED}

Json = Annotated[bool, typer.Option("--json", help=t("输出 JSON。", "Print JSON."))]


@dataclass(frozen=True)
class Context:
    """What every command knows."""

    node_dir: NodeDir


@contextlib.contextmanager
def problems_told() -> Iterator[None]:
    """Print a problem as its sentence and leave with its exit code."""
    try:
        yield
    except ProblemError as problem:
        typer.echo(t("错误：", "Error: ") + problem.text(_text.language()), err=True)
        raise typer.Exit(_EXITS.get(problem.code, EXIT_REFUSED)) from problem


def print_json(value: Any) -> None:
    """One JSON document; a protobuf message as its fields, every one of them."""
    typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    """A message or a list of messages as plain data."""
    if isinstance(value, Message):
        return _numbers(value, MessageToDict(value, preserving_proto_field_name=True,
                                             always_print_fields_with_no_presence=True))
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _numbers(message: Message, fields: dict[str, Any]) -> dict[str, Any]:
    """ProtoJSON writes 64-bit integers as strings; people and scripts expect numbers."""
    for field in message.DESCRIPTOR.fields:
        value = fields.get(field.name)
        if field.message_type is not None and value is not None:
            inner = getattr(message, field.name)
            if isinstance(value, list):
                for item, one in zip(inner, value, strict=True):
                    _numbers(item, one)
            else:
                _numbers(inner, value)
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) and isinstance(value, str):
            fields[field.name] = int(value)
    return fields


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str,
                numeric: Sequence[int] = ()) -> None:
    """A plain table, or one sentence when there is nothing."""
    from shuyan import _tables

    _tables.print_table(headings, rows, empty=empty, numeric=numeric)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Name and value, one below the other."""
    from shuyan import _tables

    _tables.print_fields(fields)


def moment(ms: int) -> str:
    """A time as ISO 8601 UTC, or a dash."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else "-"
