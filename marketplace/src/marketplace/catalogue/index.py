"""The index behind the search: ``resource_words`` holds what a resource is found by, as FTS5 on SQLite and a ``tsvector`` with a
GIN index on PostgreSQL. Everything that differs between the two is in this file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import DDL, ColumnElement, String, Table, column, event, literal, table, text, union_all
from sqlalchemy import cast as cast_as
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, func, select

from marketplace.catalogue import rules, tokens
from marketplace.catalogue.models import DataResource, ResourceCount, ResourceIndex

if TYPE_CHECKING:
    from marketplace.parties.models import Organisation

WORDS: Final = "resource_words"

# No positions and no sizes are kept: a word is there or it is not.
SQLITE: Final = (f"CREATE VIRTUAL TABLE {WORDS} USING fts5(words, detail=none, columnsize=0)",)
POSTGRESQL: Final = (
    f"CREATE TABLE {WORDS} (number BIGINT PRIMARY KEY REFERENCES resource_index(number) ON DELETE CASCADE, words TSVECTOR NOT NULL)",
    f"CREATE INDEX ix_{WORDS} ON {WORDS} USING gin (words)")

words = table(WORDS, column("number"), column("rowid"))
"""To select from; which of the columns there is depends on the database: see :func:`number`."""

_table = cast(Table, ResourceIndex.__table__)  # type: ignore[attr-defined]
for _statement in SQLITE:
    event.listen(_table, "after_create", DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
for _statement in POSTGRESQL:
    event.listen(_table, "after_create", DDL(_statement).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]
event.listen(_table, "before_drop", DDL(f"DROP TABLE IF EXISTS {WORDS}"))  # type: ignore[no-untyped-call]


_COPIED: Final = ("title", "row_count", "sector", "grade", "organisation_id", "frequency", "standard")
_DESCRIBED: Final = (*_COPIED, "title_en", "name", "description", "tags", "columns")

MANY: Final = {"sqlite": 10_000, "postgresql": 1_000}
"""So many matches are not sorted for one page: see :func:`many`. PostgreSQL may still sort them, where its statistics say so."""

FACETS: Final = ("sector", "grade", "organisation_id", "frequency", "standard", "tag", "quality")


def facet_values(entry: Any) -> Iterator[tuple[str, str]]:
    """(facet, value) pairs that an entry counts for; nothing where a field is not declared."""
    for name in ("sector", "grade", "organisation_id", "frequency", "standard"):
        value = getattr(entry, name)
        if value != "":
            yield name, str(value)
    for tag in entry.tags.splitlines():
        yield "tag", tag
    for band in tokens.BANDS:
        if entry.quality >= band:
            yield "quality", str(band)


def counted(session: Session, query: Any, most: int) -> tuple[int, dict[str, Counter[str]]]:
    """How many entries ``query`` finds by their words, up to one more than ``most``, and how many of the newest ``most`` count for
    which value of each facet, as :func:`facet_values` says of one.

    Counted by the database: ten thousand rows of objects would cost a page their collection as garbage besides.
    """
    fields = ("sector", "grade", "organisation_id", "frequency", "standard", "tags", "quality")
    newest = number(session).desc()
    place = func.row_number().over(order_by=newest).label("place")
    rows = query.with_only_columns(place, *(getattr(ResourceIndex, name) for name in fields)).order_by(newest).limit(most + 1).cte()
    arms: list[Any] = [select(literal(name), cast_as(rows.c[name], String), func.count()).where(rows.c.place <= most)
                       .group_by(rows.c[name]) for name in fields]
    total, out = 0, {name: Counter[str]() for name in FACETS}
    for name, value, count in session.execute(union_all(select(literal(""), literal(""), func.count()).select_from(rows), *arms)):
        if not name:
            total = count
        elif name == "tags":
            for tag in value.splitlines():
                out["tag"][tag] += count
        elif name == "quality":
            for band in tokens.BANDS:
                if int(value) >= band:
                    out[name][str(band)] += count
        elif value != "":
            out[name][value] = count
    return total, out


class Indexing:
    """The index brought up to date within one transaction that has appended to the audit log, which lines such up.

    :meth:`finish` writes the counts down.
    """

    def __init__(self, session: Session, department: Organisation, least: Mapping[str, int]) -> None:
        self._session, self._department, self._least = session, department, least
        self._counts: Counter[tuple[str, str]] = Counter()

    def put(self, row: DataResource, updated: int) -> None:
        """Make a resource found as it is now; a withdrawn one not at all. ``updated`` is the index of its last change."""
        session = self._session
        entry = session.exec(select(ResourceIndex).where(ResourceIndex.resource_id == row.id)).first()
        if entry is not None:
            self._counts.subtract(facet_values(entry))
            _forget(session, entry)
        if row.status != "active":
            if entry is not None:
                session.delete(entry)
                session.flush()
            return
        values = {name: getattr(row, name) for name in _COPIED} | {
            "quality": rules.overall(row.profile), "updated": updated, "tags": "\n".join(row.tags),
            "poor": bool(rules.below(row.profile or {}, self._least))}
        entry = entry or ResourceIndex(resource_id=row.id, **values)
        for name, value in values.items():
            setattr(entry, name, value)
        session.add(entry)
        session.flush()
        self._counts.update(facet_values(entry))
        _remember(session, cast(int, entry.number), tokens.of_resource(
            {**{name: getattr(row, name) for name in _DESCRIBED}, "quality": entry.quality},
            (self._department.name_zh, self._department.name_en)))

    def finish(self) -> None:
        changed = [{"facet": facet, "value": value, "count": count} for (facet, value), count in sorted(self._counts.items()) if count]
        if changed:
            dialect: Any = postgresql if _postgresql(self._session) else sqlite
            statement = dialect.insert(ResourceCount)
            self._session.execute(statement.on_conflict_do_update(
                index_elements=["facet", "value"], set_={"count": col(ResourceCount.count) + statement.excluded.count}), changed)
        self._counts.clear()


def _remember(session: Session, number: int, found_by: Sequence[str]) -> None:
    if _postgresql(session):
        session.execute(text(f"INSERT INTO {WORDS} VALUES (:number, array_to_tsvector(:words))"),  # noqa: S608
                        {"number": number, "words": list(found_by)})
    else:
        session.execute(text(f"INSERT INTO {WORDS} (rowid, words) VALUES (:number, :words)"),  # noqa: S608
                        {"number": number, "words": " ".join(found_by)})


def _forget(session: Session, entry: ResourceIndex) -> None:
    key = "number" if _postgresql(session) else "rowid"
    session.execute(text(f"DELETE FROM {WORDS} WHERE {key} = :number"), {"number": entry.number})  # noqa: S608


def number(session: Session) -> ColumnElement[Any]:
    """The number a row of ``resource_words`` stands under: what to join, order and page by."""
    return words.c.number if _postgresql(session) else words.c.rowid


def matching(session: Session, all_of: Sequence[str], none_of: Sequence[Sequence[str]] = ()) -> ColumnElement[bool]:
    """Rows of ``resource_words`` that hold every word of ``all_of`` (at least one), and of each of ``none_of`` not every word."""
    wanted = [tokens.hashed(word) for word in all_of]
    barred = [[tokens.hashed(word) for word in group] for group in none_of]
    if _postgresql(session):
        parts = [*(f"'{word}'" for word in wanted), *("!(" + " & ".join(f"'{word}'" for word in group) + ")" for group in barred)]
        return text(f"{WORDS}.words @@ CAST(:asked AS tsquery)").bindparams(asked=" & ".join(parts))  # type: ignore[return-value]
    asked = " AND ".join(f'"{word}"' for word in wanted)
    for group in barred:
        asked = f"({asked}) NOT (" + " AND ".join(f'"{word}"' for word in group) + ")"
    return text(f"{WORDS} MATCH :asked").bindparams(asked=asked)  # type: ignore[return-value]


def many(session: Session, all_of: Sequence[str], none_of: Sequence[Sequence[str]]) -> bool:
    """Whether :data:`MANY` rows match: then walking in the order asked for meets a page of them soonest, however it is sorted.

    Counted, not left to the planner: SQLite knows nothing of how frequent a word is, PostgreSQL too little of rare ones.
    """
    enough = MANY[session.get_bind().dialect.name]
    some = select(number(session)).where(matching(session, all_of, none_of)).limit(enough).subquery()
    return bool(session.execute(select(func.count()).select_from(some)).scalar_one() == enough)


def found(session: Session, all_of: Sequence[str], none_of: Sequence[Sequence[str]]) -> Any:
    """The numbers that match, as a subquery with a column ``number``, read from the index of words before anything is sorted: the
    offset keeps PostgreSQL from walking all rows in the order asked for."""
    query = select(number(session).label("number")).where(matching(session, all_of, none_of))
    return (query.offset(0) if _postgresql(session) else query).subquery()


def matched(session: Session, all_of: Sequence[str], none_of: Sequence[Sequence[str]]) -> ColumnElement[bool]:
    """Whether a row of ``resource_index`` matches, looked up by its number."""
    return select(number(session)).where(
        matching(session, all_of, none_of), number(session) == col(ResourceIndex.number)).correlate(_table).exists()


def _postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
