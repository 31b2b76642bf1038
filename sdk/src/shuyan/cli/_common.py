"""What the commands share: the connection, exit codes, tables, JSON and money."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import shuyan
from shuyan import (
    ConfigurationError,
    ConnectionFailed,
    NotSignedIn,
    ProblemResponse,
    Record,
    ShuyanError,
    _tables,
)
from shuyan._terms import TERMS
from shuyan._text import language, t
from shuyan.problems import ProblemError

REFUSED, USAGE, CANNOT_CONNECT, NOT_SIGNED_IN = 1, 2, 3, 4

AsJson = Annotated[bool, typer.Option("--json", help=t("输出 JSON。", "Print JSON."))]
Limit = Annotated[int, typer.Option(help=t("最多显示多少条。", "Show this many at most."), min=1)]

console = _tables.console()


@dataclass(frozen=True)
class Connection:
    """The options before the command."""

    url: str | None
    profile: str | None

    def market(self) -> shuyan.Market:
        return shuyan.connect(self.url, profile=self.profile)


def market(context: typer.Context) -> shuyan.Market:
    """The market this invocation talks to."""
    connection: Connection = context.find_root().obj
    return connection.market()


@contextmanager
def told() -> Iterator[None]:
    """Turns errors into one sentence on stderr and an exit code."""
    try:
        yield
    except NotSignedIn as error:
        if error.code == "token_missing":  # nobody on a command line can send a header
            _fail(t("此操作需要登录，请先运行 shuyan login。", "This needs an account: run shuyan login first."), NOT_SIGNED_IN)
        if error.code.startswith("login_"):
            _fail(error.detail, NOT_SIGNED_IN)
        _fail(t("{detail}请核对后运行 shuyan login。", "{detail} Check them, then run shuyan login.", detail=error.detail),
              NOT_SIGNED_IN)
    except ProblemResponse as error:
        fields = "".join(f"\n  {item.field}: {item.detail}" for item in error.errors if item.detail != error.detail)
        _fail(f"{error.detail}{fields}", REFUSED)
    except ConnectionFailed as error:
        _fail(str(error), CANNOT_CONNECT)
    except ConfigurationError as error:
        _fail(str(error), NOT_SIGNED_IN)
    except ProblemError as error:
        _fail(error.text(language()), REFUSED)
    except (ShuyanError, TimeoutError) as error:
        _fail(str(error), REFUSED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(REFUSED)


def _fail(sentence: str, code: int) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(code)


def usage_error(sentence: str) -> typer.BadParameter:
    """What to raise for an argument that cannot be right."""
    return typer.BadParameter(sentence)


def print_json(value: Any) -> None:
    """One JSON document: a record, a list of them, or plain data."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    return [plain(item) for item in value]


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Sequence[int] = ()) -> None:
    """A table; the columns in ``numeric`` are aligned to the right. Says so when there is nothing."""
    _tables.print_table(headings, rows, empty=t("没有内容。", "Nothing here."), numeric=numeric, to=console)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Name and value, one below the other."""
    _tables.print_fields(fields, to=console)


def yuan(fen: int, currency: str = "CNY") -> str:
    """An amount for people: 123456 fen read ¥1,234.56."""
    sign = "-" if fen < 0 else ""
    whole, cents = divmod(abs(fen), 100)
    return f"{sign}{'¥' if currency == 'CNY' else currency + ' '}{whole:,}.{cents:02d}"


def local_time(time: dt.datetime | str | None) -> str:
    """A time of the market, in ISO 8601 if it is text, in this machine's zone."""
    if not time:
        return "–"
    return f"{(dt.datetime.fromisoformat(time) if isinstance(time, str) else time).astimezone():%Y-%m-%d %H:%M}"


def titled(record: Any) -> str:
    """A record's title in the reader's language."""
    extra = record.model_extra or {}
    chosen = getattr(record, "title_zh", None) if language() == "zh" else getattr(record, "title_en", None)
    return str(chosen or extra.get("title") or getattr(record, "title", "") or getattr(record, "title_zh", ""))


def read_json(source: str, what: str) -> dict[str, Any]:
    """A JSON object given as text, as ``@file``, or as ``-`` for standard input."""
    try:
        if source == "-":
            text = sys.stdin.read()
        elif source.startswith("@"):
            text = Path(source[1:]).read_text(encoding="utf-8")
        else:
            text = source
        value = json.loads(text)
    except OSError as error:
        raise usage_error(f"{source}: {error.strerror}") from error
    except ValueError as error:
        raise usage_error(t("{what} 不是合法的 JSON：{error}", "{what} is not valid JSON: {error}", what=what,
                            error=error)) from error
    if not isinstance(value, dict):
        raise usage_error(t("{what} 应为 JSON 对象。", "{what} must be a JSON object.", what=what))
    return value


def word(kind: str, code: str) -> str:
    """What a code of the market is called in Chinese (``kind`` as in :data:`shuyan._terms.TERMS`); in English the
    code itself, which a reader also types."""
    return TERMS[kind].get(code, code) if language() == "zh" else code
