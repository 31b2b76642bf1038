"""Databases as sources: PostgreSQL, MySQL and SQLite tables, read in place by DuckDB's scanner extensions.

The extensions are files of Python distributions that are installed with the node; nothing is fetched. A database is
attached read-only for the time of one read. Only the columns that are read are asked of it, and comparisons with numbers,
dates and booleans are evaluated by its server. Comparisons of text are too where the server means by them what DuckDB
means; MySQL's collations call ``'b'`` and ``'B'`` equal, so there they are evaluated here.

A password is named, by file or environment variable, and never kept: it is read anew for each connection.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from node_agent import errors
from shuyan.federation.schema import quote
from shuyan.problems import ProblemError

ENGINES: Final = ("postgres", "mysql", "sqlite")

_SCHEMES: Final[Mapping[str, str]] = {
    "postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "postgres": frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"}),
    "mysql": frozenset({"socket", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"})}
_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {"connect_timeout": "10", "application_name": "shuyan-node"}, "mysql": {}}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def literal(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@cache
def extension(engine: str) -> Path:
    """The file of the extension that reads an engine.

    Raises:
        ProblemError: ``source_extension_missing``.
    """
    import duckdb

    name = f"{engine}_scanner"
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.is_file():
            return path
    raise ProblemError(errors.SOURCE_EXTENSION_MISSING, kind=engine, version=duckdb.__version__)


@dataclass(frozen=True)
class Database:
    """One table of one database.

    Attributes:
        engine: ``postgres``, ``mysql`` or ``sqlite``.
        place: host and port, or path of the file.
        options: of the connection: TLS and the like.
        table: its name, after that of its schema where there is one.
        key: columns that order the rows, so that a row keeps its number from one read to the next.
        local: text columns whose comparisons the server must not evaluate.
        password: only while a connection is about to be made.
    """

    engine: str
    place: str
    table: tuple[str, ...]
    database: str = ""
    user: str = ""
    port: int = 0
    options: tuple[tuple[str, str], ...] = ()
    password_file: str = ""
    password_variable: str = ""
    key: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, engine: str, address: str, table: str, *, password_file: str = "", password_variable: str = "",
              key: tuple[str, ...] = ()) -> Database:
        """What an administrator typed.

        Args:
            address: ``postgres://user@host:port/database``, ``mysql://…``, or the absolute path of an SQLite file.

        Raises:
            ProblemError: ``source_address``, ``source_table_needed``, ``source_password_given``,
                ``source_password_place``.
        """
        if not table:
            raise ProblemError(errors.SOURCE_TABLE_NEEDED, field="table")
        if engine == "sqlite":
            if not (os.path.isabs(address) and os.path.isfile(address) and os.access(address, os.R_OK)):
                raise ProblemError(errors.SOURCE_LOCATION, field="location", location=address)
            return cls(engine, address, (table,), key=key)
        if bool(password_file) and bool(password_variable):
            raise ProblemError(errors.SOURCE_PASSWORD_PLACE, field="password_file")
        if (password_file and not os.path.isabs(password_file)) or (
                password_variable and not _VARIABLE.fullmatch(password_variable)):
            raise ProblemError(errors.SOURCE_PASSWORD_PLACE, field="password_file")
        try:
            parts = urlsplit(address)
            port = parts.port or 0
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError:
            raise ProblemError(errors.SOURCE_ADDRESS, field="location") from None
        if parts.password is not None or {"password", "passwd"} & set(options):
            raise ProblemError(errors.SOURCE_PASSWORD_GIVEN, field="location")
        database = unquote(parts.path.removeprefix("/"))
        if (_SCHEMES.get(parts.scheme) != engine or not database or "/" in database or not parts.username
                or parts.fragment or not set(options) <= _OPTIONS[engine]):
            raise ProblemError(errors.SOURCE_ADDRESS, field="location")
        names = tuple(table.split(".", 1)) if "." in table else (table,)
        if engine == "mysql" and len(names) == 2 and names[0] != database:
            raise ProblemError(errors.SOURCE_ADDRESS, field="table")
        host = options.pop("host", "") or parts.hostname or ""
        if engine == "postgres" and len(names) == 1:
            names = ("public", *names)
        if engine == "mysql":
            names = (database, names[-1])
        return cls(engine, host, names, database, unquote(parts.username), port, tuple(sorted(options.items())),
                   password_file, password_variable, key)

    @classmethod
    def from_json(cls, text: str) -> Database:
        """What :meth:`to_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        return cls(**{name: _tuples(value) for name, value in said.items()})

    def to_json(self) -> str:
        """As it is kept, and, with a password, as it is told to the worker."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, ensure_ascii=False)

    def shown(self) -> str:
        """For people: where it is, nothing secret."""
        table = ".".join(self.table)
        if self.engine == "sqlite":
            return f"{self.place}#{table}"
        host = self.place if not self.place.startswith("/") else ""
        return f"{self.engine}://{self.user}@{host}{f':{self.port}' if self.port else ''}/{self.database}#{table}"

    def with_password(self) -> Database:
        """With the password as it is now, and without the place it came from: who reads the data need not see that.

        Raises:
            ProblemError: ``source_password_missing``.
        """
        if self.password_variable:
            found = os.environ.get(self.password_variable)
            if found is None:
                raise ProblemError(errors.SOURCE_PASSWORD_MISSING, place=self.password_variable)
            return replace(self, password=found, password_variable="")
        if self.password_file:
            try:
                return replace(self, password=Path(self.password_file).read_text().rstrip("\r\n"), password_file="")
            except (OSError, UnicodeDecodeError):
                raise ProblemError(errors.SOURCE_PASSWORD_MISSING, place=self.password_file) from None
        return self

    @property
    def alias(self) -> str:
        """The name it is attached under."""
        told = (self.engine, self.place, self.port, self.database, self.user, self.options)
        return "src_" + hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def load(self) -> tuple[str, ...]:
        """Statements that attach it to a DuckDB; the one that makes the secret holds the password."""
        alias = self.alias
        loaded = f"LOAD {literal(str(extension(self.engine)))}"
        if self.engine == "sqlite":
            return (loaded, f"ATTACH IF NOT EXISTS {literal(self.place)} AS {alias} (TYPE sqlite, READ_ONLY)")
        options = {**_DEFAULTS[self.engine], **dict(self.options)}
        parts = {"HOST": self.place, "DATABASE": self.database, "USER": self.user, "PASSWORD": self.password,
                 "SOCKET": options.pop("socket", "")}
        told = [f"{name} {literal(value)}" for name, value in parts.items() if value]
        if self.port:
            told.append(f"PORT {self.port}")
        text = " ".join(f"{name}={_option(value)}" for name, value in options.items())
        # Old MySQL tables have 0000-00-00 where others have null.
        settings = ("SET mysql_incomplete_dates_as_nulls = true",) if self.engine == "mysql" else ()
        return (loaded, *settings, f"CREATE OR REPLACE TEMPORARY SECRET {alias} (TYPE {self.engine}, {', '.join(told)})",
                f"ATTACH IF NOT EXISTS {literal(text)} AS {alias} (TYPE {self.engine}, SECRET {alias}, READ_ONLY)")

    def unload(self) -> tuple[str, ...]:
        """Statements that end the connection and forget the password."""
        return (f"DETACH DATABASE IF EXISTS {self.alias}",
                *(() if self.engine == "sqlite" else (f"DROP SECRET IF EXISTS {self.alias}",)))

    @property
    def bare(self) -> str:
        """The attached table."""
        return ".".join(quote(name) for name in (self.alias, *(("main",) if self.engine == "sqlite" else ()), *self.table))

    def relation(self) -> str:
        """What stands after FROM."""
        if not self.key and not self.local:
            return self.bare
        replaced = ", ".join(f"{quote(name)} || '' AS {quote(name)}" for name in self.local)
        ordered = f" ORDER BY {', '.join(quote(name) for name in self.key)}" if self.key else ""
        return f"(SELECT *{f' REPLACE ({replaced})' if replaced else ''} FROM {self.bare}{ordered})"  # noqa: S608

    def examined(self, connection: Any) -> Database:
        """With ``key`` and ``local`` as the attached database has them, where they were not declared."""
        described = connection.execute(f"DESCRIBE SELECT * FROM {self.bare}").fetchall()  # noqa: S608
        names = {row[0] for row in described}
        if unknown := [name for name in self.key if name not in names]:
            raise ProblemError(errors.RESOURCE_COLUMN, field="key", column=unknown[0])
        return replace(self, key=self.key or _primary_key(self, connection, described),
                       local=_not_pushed(self, connection, described))


def _primary_key(database: Database, connection: Any, described: list[Any]) -> tuple[str, ...]:
    if database.engine == "mysql":
        statement = ("SELECT column_name FROM information_schema.key_column_usage WHERE constraint_name = 'PRIMARY'"  # noqa: S608
                     f" AND table_schema = {literal(database.table[0])} AND table_name = {literal(database.table[1])}"
                     " ORDER BY ordinal_position")
        return tuple(row[0] for row in connection.execute(
            f"SELECT * FROM mysql_query({literal(database.alias)}, {literal(statement)})").fetchall())  # noqa: S608
    if database.engine == "postgres":
        return tuple(row[0] for row in described if row[3] == "PRI")
    return ()  # SQLite reads in the order of its row ids


def _not_pushed(database: Database, connection: Any, described: list[Any]) -> tuple[str, ...]:
    text = [row[0] for row in described if row[1] == "VARCHAR"]
    if database.engine == "mysql":
        return tuple(text)
    if database.engine != "postgres" or not text:
        return ()
    schema, table = database.table
    # Padded and case-insensitive types, and collations under which different texts are equal.
    statement = ("SELECT a.attname FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid JOIN pg_namespace n"  # noqa: S608
                 " ON n.oid = r.relnamespace JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c"
                 f" ON c.oid = a.attcollation WHERE n.nspname = {literal(schema)} AND r.relname = {literal(table)}"
                 " AND a.attnum > 0 AND NOT a.attisdropped AND (t.typname NOT IN ('text', 'varchar')"
                 " OR NOT c.collisdeterministic)")
    unlike = {row[0] for row in connection.execute(
        f"SELECT * FROM postgres_query({literal(database.alias)}, {literal(statement)})").fetchall()}  # noqa: S608
    return tuple(name for name in text if name in unlike)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _option(value: str) -> str:
    """A value in a libpq connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


_LOGIN: Final = re.compile(
    r"password authentication failed|no password supplied|access denied|authentication failed|认证失败|"
    r"role .* does not exist|no pg_hba", re.IGNORECASE)
_PERMISSION: Final = re.compile(r"permission denied|command denied", re.IGNORECASE)


def told(error: Exception, database: Database) -> ProblemError:
    """A failure of a database as a problem of ours; what the driver said may hold the connection's secrets."""
    said = str(error)
    place = database.shown()
    if _LOGIN.search(said):
        return ProblemError(errors.SOURCE_LOGIN_REFUSED, place=place)
    if _PERMISSION.search(said):
        return ProblemError(errors.SOURCE_PERMISSION, place=place)
    if type(error).__name__ in ("CatalogException", "BinderException"):
        return ProblemError(errors.SOURCE_TABLE_MISSING, place=place)
    if type(error).__name__ == "IOException" or "connect" in said.lower():
        return ProblemError(errors.SOURCE_UNREACHABLE, place=place)
    return ProblemError(errors.SOURCE_UNREADABLE, reason=type(error).__name__)
