"""Finding resources: by words of either language, filtered, counted by facet, sorted, page by page.

One path for both databases: a question becomes words of the index (:mod:`.tokens`), and so do filters. Relevance goes by where the
words stand: all in the title before all in what names the resource before anywhere; only where nothing is found so, Chinese is cut into
words that may stand apart. How many queries are made depends on none of it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import Select, or_
from sqlmodel import Session, col, select

from marketplace.actor import Actor
from marketplace.catalogue import index, tokens
from marketplace.catalogue.errors import BAD_RESOURCE_CURSOR
from marketplace.catalogue.models import DataResource, ResourceCount, ResourceIndex
from marketplace.db import storable
from shuyan.problems import ProblemError

Sort = Literal["relevance", "title", "newest", "rows", "quality", "updated"]

COUNTED: Final = 10_000
"""Results that are counted by facet; where there are more, the counts are of the newest ones."""

MOST_VALUES: Final = 50  # of one facet

_KEYS: Final[dict[Sort, tuple[Any, bool]]] = {
    "title": (ResourceIndex.title, True), "rows": (ResourceIndex.row_count, False), "quality": (ResourceIndex.quality, False),
    "updated": (ResourceIndex.updated, False)}


@dataclass(frozen=True)
class Filters:
    """What resources are narrowed down to; ``quality`` is one of :data:`.tokens.BANDS`, the least in percent."""

    sector: str | None = None
    grade: int | None = None
    organisation_id: str | None = None
    frequency: str | None = None
    standard: str | None = None
    quality: int | None = None
    tags: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """The filters as words of the index."""
        named = [tokens.filtered(name, value) for name in ("sector", "grade", "organisation_id", "frequency", "standard")
                 if (value := getattr(self, name)) not in (None, "")]
        if self.quality is not None:
            named.append(tokens.filtered("quality", next((band for band in tokens.BANDS if band >= self.quality), 101)))
        return named + [tokens.filtered("tag", tag) for tag in self.tags]


@dataclass(frozen=True)
class Facets:
    """How many of the results have which value: facet → [(value, count)], the most frequent first.

    ``exact``: all results were counted, and there are ``total``; otherwise the newest :data:`COUNTED` were.
    """

    total: int
    exact: bool
    counts: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tier:
    """Words to be found together, and the groups of which another tier has found every word."""

    all_of: tuple[str, ...]
    none_of: tuple[tuple[str, ...], ...] = ()


def list_resources(session: Session, actor: Actor, *, q: str = "", sector: str | None = None, sort: Sort = "relevance",
                   cursor: str | None = None, limit: int = 20,
                   filters: Filters | None = None) -> tuple[list[DataResource], str | None]:
    """Active resources that match every word of ``q``, and the cursor of the next page (``None`` on the last).

    The catalogue is public: it describes data and holds none.

    Args:
        q: looked for in titles, names, tags, elements, departments, descriptions and columns; its first 100 characters count.
        sort: ``relevance`` (newest first among equals), ``title``, ``newest``, ``rows``, ``quality`` (best first) or ``updated``.

    Raises:
        ProblemError: ``bad_resource_cursor``.
    """
    words = (filters or Filters()).words() + ([tokens.filtered("sector", sector)] if sector else [])
    strict, loose = _tiers(q, words, ranked=sort == "relevance")
    first, after = _position(cursor, sort, len(strict) + 1)
    found: list[tuple[int, Any]] = []  # (tier, row)
    for place in range(first, len(strict)):
        if len(found) > limit:
            break
        rows = session.execute(_query(session, strict[place], sort, after if place == first else None)
                               .limit(limit + 1 - len(found))).all()
        found += [(place, row) for row in rows]
    if not found and loose is not None and (cursor is None or first == len(strict)):
        rows = session.execute(_query(session, loose, sort, after).limit(limit + 1)).all()
        found = [(len(strict), row) for row in rows]
    following = _cursor(sort, *found[limit - 1]) if len(found) > limit else None
    ids = [row.resource_id for _place, row in found[:limit]]
    by_id = {row.id: row for row in session.exec(select(DataResource).where(col(DataResource.id).in_(ids)))} if ids else {}
    return [by_id[each] for each in ids], following


def facets(session: Session, actor: Actor, *, q: str = "", filters: Filters | None = None) -> Facets:
    """Counts by facet of what :func:`list_resources` finds for the same question and filters."""
    words = (filters or Filters()).words()
    if not q.strip() and not words:
        return _everything(session)
    strict, loose = _tiers(q, words, ranked=False)
    for tier in [*strict, loose]:
        if tier is not None:
            total, counts = index.counted(session, _joined(session, tier, select(ResourceIndex)), COUNTED)
            if total:
                return Facets(min(total, COUNTED), total <= COUNTED, {name: _most(found) for name, found in counts.items()})
    return Facets(0, True, {name: [] for name in index.FACETS})


def _everything(session: Session) -> Facets:
    counts: dict[str, Counter[str]] = {name: Counter() for name in index.FACETS}
    for row in session.exec(select(ResourceCount).where(ResourceCount.count > 0).order_by(col(ResourceCount.count).desc())
                            .limit(5000)):
        counts[row.facet][row.value] = row.count
    return Facets(sum(counts["sector"].values()), True, {name: _most(counted) for name, counted in counts.items()})


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES]


# --- the question ---


def _tiers(q: str, filters: Sequence[str], *, ranked: bool) -> tuple[list[_Tier], _Tier | None]:
    """The tiers of a question, better ones first, and the one to fall back to; no tier at all finds nothing."""
    if not q.strip():
        return [_Tier(tuple(filters))], None
    words = tokens.of_question(q)
    if not words:
        return [], None

    def placed(place: str, each: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{place}:{word}" for word in each)

    strict = []
    for number, place in enumerate(tokens.PLACES):
        if ranked or place == tokens.PLACES[-1]:
            barred = (placed(tokens.PLACES[number - 1], words),) if ranked and number else ()
            strict.append(_Tier((*placed(place, words), *filters), barred))
    apart = tokens.loosely(q) if len(words) > 2 else words
    loose = _Tier((*placed(tokens.PLACES[-1], apart), *filters)) if set(apart) != set(words) else None
    return strict, loose


def _joined(session: Session, tier: _Tier, query: Select[Any]) -> Select[Any]:
    if not tier.all_of:
        return query
    return query.select_from(index.words).join(
        ResourceIndex, col(ResourceIndex.number) == index.number(session)).where(index.matching(session, tier.all_of, tier.none_of))


def _query(session: Session, tier: _Tier, sort: Sort, after: Sequence[Any] | None) -> Select[Any]:
    key, up = _KEYS.get(sort, (None, False))
    query: Select[Any] = select(*[ResourceIndex.resource_id, ResourceIndex.number, *([key] if key is not None else [])])
    number: Any = col(ResourceIndex.number)
    if tier.all_of and not index.many(session, tier.all_of, tier.none_of):
        few = index.found(session, tier.all_of, tier.none_of)
        query = query.join(few, number == few.c.number)
    elif tier.all_of and key is not None:
        query = query.where(index.matched(session, tier.all_of, tier.none_of))
    elif tier.all_of:
        query, number = _joined(session, tier, query), index.number(session)
    if key is None:
        if after:
            query = query.where(number < after[-1])
        return query.order_by(number.desc())
    if after:
        value, last = after
        beyond = col(key) > value if up else col(key) < value
        query = query.where(col(key) >= value if up else col(key) <= value,  # which alone lets the index be entered at the right place
                            or_(beyond, number > last if up else number < last))
    return query.order_by(col(key).asc() if up else col(key).desc(), number.asc() if up else number.desc())


# --- the cursor ---


def _cursor(sort: Sort, tier: int, row: Any) -> str:
    values = [row[2], row.number] if sort in _KEYS else [row.number]
    body = json.dumps([sort, tier, *values], ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def _position(cursor: str | None, sort: Sort, tiers: int) -> tuple[int, list[Any] | None]:
    """Where a page begins: the tier, and the values it comes after."""
    if not cursor:
        return 0, None
    try:
        body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor") from None
    wanted: list[type[int | str]] = [int, *([str if sort == "title" else int] if sort in _KEYS else []), int]
    if not isinstance(body, list) or len(body) != len(wanted) + 1 or body[0] != sort:
        raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor")
    for kind, value in zip(wanted, body[1:], strict=True):
        if type(value) is not kind or not (storable(value) if isinstance(value, str) else abs(value) < 2**63):
            raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor")
    if not 0 <= body[1] < tiers:
        raise ProblemError(BAD_RESOURCE_CURSOR, field="cursor")
    return body[1], body[2:]
