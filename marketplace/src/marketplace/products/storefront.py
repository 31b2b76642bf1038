"""What buyers find: search in both languages, facets with counts, four orders, and one product with all that belongs to it.

However many products there are, a page takes the same number of queries, and each reads an index: listings are found by
their words, ordered by ``(key, seq)``, and counted by combination. Counts under a search are those of its newest
:data:`COUNTED` matches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, literal, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, or_, select

from marketplace.access import require_organisation
from marketplace.actor import Actor
from marketplace.computing import service as computing
from marketplace.paging import Page, clamp, decode_cursor, make_page
from marketplace.parties import service as parties
from marketplace.parties.models import Organisation
from marketplace.pricing import service as pricing
from marketplace.pricing.models import PricePlan
from marketplace.products import rules
from marketplace.products.models import Listing, ListingCount, ListingWord, Product, ProductVersion
from marketplace.products.reading import (
    OVERSEERS,
    get_product,
    products_by_id,
    sees_drafts,
    versions_by_id,
    versions_of,
)
from marketplace.products.rules import MARKET
from marketplace.text import query_tokens
from shuyan.problems import ProblemError

SORTS: Final = ("newest", "title", "price", "popular")
FACETS: Final = {"sector": "sector", "form": "delivery_form", "tier": "tier", "band": "band", "provider": "organisation_id"}
"""The filters of the storefront and the columns they are of."""
MAX_WORDS: Final = 8
COUNTED: Final = 2_000
PROVIDERS: Final = 10
"""How many providers a facet names: those with the most products."""


@dataclass(frozen=True)
class StorefrontItem:
    """One product as a list shows it."""

    product: Product
    organisation: Organisation
    version: ProductVersion | None
    plan: PricePlan | None
    calls: int = 0


@dataclass(frozen=True)
class Facets:
    """How many listings there would be under each value of each filter, the other filters and the search kept.

    Attributes:
        counts: by filter, ``(value, count)`` most frequent first; ``provider`` values are organisations' ids.
        total: listings that match everything.
        partial: only the newest :data:`COUNTED` matches were counted.
        providers: the organisations named, by id.
    """

    counts: dict[str, list[tuple[str, int]]]
    total: int
    partial: bool = False
    providers: dict[str, Organisation] = field(default_factory=dict)


@dataclass(frozen=True)
class ProductPage:
    """Everything a product page shows. ``current`` is the version on sale; ``actions`` what this actor may do."""

    product: Product
    organisation: Organisation
    current: ProductVersion | None
    versions: list[ProductVersion]
    plan: PricePlan | None
    actions: list[str]


def storefront(session: Session, *, q: str | None = None, sector: str | None = None, form: str | None = None, tier: int | None = None,
               band: str | None = None, provider: str | None = None, sort: str = "newest", cursor: str | None = None,
               limit: int = 20) -> Page[StorefrontItem]:
    """Listed products that contain every word of ``q``, under every filter given, in one of :data:`SORTS`.

    ``popular`` is by metered calls; a product whose count changes meanwhile may move over the edge of a page.

    Raises:
        ProblemError: ``bad_cursor``.
    """
    limit = clamp(limit)
    words = query_tokens(q or "")[:MAX_WORDS]
    if q and q.strip() and not words:
        return Page([])
    query = select(Listing)
    for condition in _conditions({"sector": sector, "form": form, "tier": tier, "band": band, "provider": provider}):
        query = query.where(condition)
    seq = col(Listing.seq)
    if words:
        query, seq = _found(session, query, words, sort)
    rows = session.exec(_ordered(query, seq, sort, cursor).limit(limit + 1)).all()
    page = make_page(rows, limit, _KEYS[sort])
    return Page(_listed(session, page.items), page.next)


def _conditions(filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    return [getattr(Listing, FACETS[name]) == value for name, value in filters.items() if value not in (None, "")]


def _has(seq: Any, word: str) -> ColumnElement[bool]:
    """Looked up row by row in the index: with the offset PostgreSQL makes no join of it, which would read every row with the word."""
    other = aliased(ListingWord)
    return select(other.seq).where(col(other.word) == word, col(other.seq) == seq).offset(0).exists()


def _rarest_first(session: Session, words: Sequence[str]) -> tuple[list[str], bool]:
    """The words by how many listings have them, and whether those of the first are few enough to be sorted.

    Beyond :data:`COUNTED` nothing is counted: the rarer word is the one whose newest so many reach further back.
    """
    newest = [_newest(select(col(ListingWord.seq)).where(ListingWord.word == word)).subquery() for word in words]
    query: Any = union_all(*(select(literal(place), func.count(), func.min(each.c.seq)).select_from(each)
                             for place, each in enumerate(newest)))
    found = sorted((count, oldest or 0, place) for place, count, oldest in session.execute(query))
    return [words[place] for _count, _oldest, place in found], found[0][0] <= COUNTED


def _newest(query: Any) -> Any:
    """The newest of them, and one more than are counted, by which it is seen whether there are more."""
    return query.order_by(col(ListingWord.seq).desc()).limit(COUNTED + 1)


def _having(query: Any, words: Sequence[str]) -> Any:
    """``query``, which selects from :class:`ListingWord`, narrowed to the first word where the others are found too."""
    return query.where(col(ListingWord.word) == words[0], *(_has(col(ListingWord.seq), word) for word in words[1:]))


def _found(session: Session, query: Any, words: Sequence[str], sort: str) -> tuple[Any, Any]:
    """``query`` narrowed to listings with all the words, in a way that suits how many there are, and the column to order it by.

    Few are found by their words and then sorted. Many are met soon enough when all listings are walked through in the order
    asked for; of common words that few have together they would not be, so what has them is counted first.
    """
    words, few = _rarest_first(session, words)
    if few or sort == "newest":
        return _having(query.join(ListingWord, col(ListingWord.seq) == col(Listing.seq)), words), col(ListingWord.seq)
    matches = session.execute(_newest(_having(select(col(ListingWord.seq)), words))).scalars().all()
    if len(matches) > COUNTED:
        return query.where(*(_has(col(Listing.seq), word) for word in words)), col(Listing.seq)
    return query.where(col(Listing.seq).in_(bindparam("matches", matches, expanding=True, literal_execute=True))), col(Listing.seq)


_KEYS: Final[dict[str, Callable[[Listing], tuple[str | int, ...]]]] = {
    "newest": lambda row: (row.seq or 0,), "title": lambda row: (row.title, str(row.seq)),
    "price": lambda row: (row.price_fen, row.seq or 0), "popular": lambda row: (row.calls, row.seq or 0)}


def _ordered(query: Any, seq: Any, sort: str, cursor: str | None) -> Any:
    if sort == "title":
        if cursor:
            title, last = decode_cursor(cursor, 2, str)
            if not last.isascii() or not last.isdecimal() or len(last) > 18:
                raise ProblemError("bad_cursor", field="cursor")
            query = query.where(_after(col(Listing.title), title, seq, int(last), falling=False))
        return query.order_by(col(Listing.title), seq)
    if sort in ("price", "popular"):
        column, falling = (col(Listing.price_fen), False) if sort == "price" else (col(Listing.calls), True)
        if cursor:
            value, place = decode_cursor(cursor, 2, int)
            query = query.where(_after(column, value, seq, place, falling=falling))
        return query.order_by(column.desc(), seq.desc()) if falling else query.order_by(column, seq)
    if cursor:
        query = query.where(seq < decode_cursor(cursor, 1, int)[0])
    return query.order_by(seq.desc())


def _after(column: Any, value: str | int, seq: Any, place: int, *, falling: bool) -> Any:
    """Rows after this key; the first condition alone lets the index be entered at the right place."""
    if falling:
        return (column <= value) & or_(column < value, seq < place)
    return (column >= value) & or_(column > value, seq > place)


def facets(session: Session, *, q: str | None = None, sector: str | None = None, form: str | None = None, tier: int | None = None,
           band: str | None = None, provider: str | None = None) -> Facets:
    """Counts beside a search of :func:`storefront` with the same arguments."""
    filters = {"sector": sector, "form": form, "tier": tier, "band": band, "provider": provider}
    words = query_tokens(q or "")[:MAX_WORDS]
    if q and q.strip() and not words:
        return Facets({name: [] for name in FACETS}, 0)
    found = _by_words(session, words, filters) if words else _by_counts(session, filters)
    named = [value for value, _count in found.counts["provider"]]
    return Facets(found.counts, found.total, found.partial, parties.organisations_by_id(session, named))


def _by_counts(session: Session, filters: Mapping[str, Any]) -> Facets:
    """From the table of combinations, in two scans: one of everything but the provider, of which there are a few hundred
    combinations at most, and one of the providers."""
    names = [name for name in FACETS if name != "provider"]
    total = func.sum(ListingCount.count)
    keys = [getattr(ListingCount, FACETS[name]) for name in names]
    query: Any = select(total, *keys).group_by(*keys).having(total > 0)
    if filters.get("provider"):
        query = query.where(col(ListingCount.organisation_id) == filters["provider"])
    rows = [(tuple(row[1:]), int(row[0])) for row in session.execute(query)]
    tally, found = _tallied(names, rows, filters)
    owner = col(ListingCount.organisation_id)
    providers: Any = select(owner, total).where(*(
        getattr(ListingCount, FACETS[name]) == value for name in names if (value := filters.get(name)) not in (None, "")))
    tally["provider"] = [(str(value), int(count)) for value, count in session.execute(
        providers.group_by(owner).having(total > 0).order_by(total.desc(), owner).limit(PROVIDERS))]
    return Facets({name: tally[name] for name in FACETS}, found)


def _tallied(names: Sequence[str], rows: Iterable[tuple[tuple[Any, ...], int]], filters: Mapping[str, Any]
             ) -> tuple[dict[str, list[tuple[str, int]]], int]:
    """Counts by facet, most frequent first, and how many match every filter; ``rows`` are values in the order of ``names``, and a count."""
    wanted = [(place, value if name == "tier" else str(value)) for place, name in enumerate(names)
              if (value := filters.get(name)) not in (None, "")]
    tally: list[Counter[Any]] = [Counter() for _name in names]
    total = 0
    for values, count in rows:
        wrong = [place for place, value in wanted if values[place] != value]
        if not wrong:
            total += count
            for place, counter in enumerate(tally):
                counter[values[place]] += count
        elif len(wrong) == 1:  # it would be found, were only this filter another
            tally[wrong[0]][values[wrong[0]]] += count
    return {name: sorted(((str(value), count) for value, count in counter.items()), key=lambda item: (-item[1], item[0]))
            for name, counter in zip(names, tally, strict=True)}, total


def _by_words(session: Session, words: Sequence[str], filters: Mapping[str, Any]) -> Facets:
    names = list(FACETS)
    query: Any = select(*(getattr(Listing, column) for column in FACETS.values()))  # columns alone: objects would take most of the time
    query = _having(query.join(ListingWord, col(ListingWord.seq) == col(Listing.seq)), _rarest_first(session, words)[0])
    rows = session.execute(_newest(query)).all()
    counts, total = _tallied(names, ((row, 1) for row in rows[:COUNTED]), filters)
    counts["provider"] = counts["provider"][:PROVIDERS]
    return Facets(counts, total, len(rows) > COUNTED)


def _listed(session: Session, rows: Sequence[Listing]) -> list[StorefrontItem]:
    found = products_by_id(session, [row.product_id for row in rows])
    calls = {row.product_id: row.calls for row in rows}
    return items(session, [found[row.product_id] for row in rows], calls)


def items(session: Session, rows: Sequence[Product], calls: Mapping[str, int] | None = None) -> list[StorefrontItem]:
    """What lists show of these products, with three queries however many they are."""
    organisations = parties.organisations_by_id(session, [row.organisation_id for row in rows])
    plans = pricing.active_plans(session, [row.id for row in rows])
    versions = versions_by_id(session, [row.current_version_id for row in rows if row.current_version_id])
    return [StorefrontItem(row, organisations[row.organisation_id], versions.get(row.current_version_id or ""),
                           plans.get(row.id), (calls or {}).get(row.id, 0)) for row in rows]


def own_products(session: Session, actor: Actor, *, status: str | None = None, everybodys: bool = True, cursor: str | None = None,
                 limit: int = 20) -> Page[StorefrontItem]:
    """The actor's organisation's products in every state, newest first; overseers see everybody's, if they want to."""
    limit = clamp(limit)
    query = select(Product).order_by(col(Product.id).desc())
    if not (everybodys and actor.party in OVERSEERS):
        query = query.where(Product.organisation_id == require_organisation(actor))
    if status:
        query = query.where(Product.status == status)
    if cursor:
        query = query.where(col(Product.id) < decode_cursor(cursor, 1, str)[0])
    page = make_page(session.exec(query.limit(limit + 1)).all(), limit, lambda row: (row.id,))
    return Page(items(session, page.items), page.next)


def newest_versions(session: Session, product_ids: Sequence[str]) -> dict[str, ProductVersion]:
    """The newest version of each of these products, in one query."""
    newest = select(ProductVersion.product_id, func.max(ProductVersion.number).label("number")).where(
        col(ProductVersion.product_id).in_(product_ids)).group_by(col(ProductVersion.product_id)).subquery()
    query = select(ProductVersion).join(newest, (col(ProductVersion.product_id) == newest.c.product_id)
                                        & (col(ProductVersion.number) == newest.c.number))
    return {row.product_id: row for row in session.exec(query)}


def product_page(session: Session, actor: Actor, product_id: str) -> ProductPage:
    """One product. What is not listed is shown to its owner and to overseers only (``not_found`` for others)."""
    product = get_product(session, actor, product_id)
    versions = versions_of(session, product_id)
    if not sees_drafts(actor, product):
        versions = [row for row in versions if row.registration_code]
    current = next((row for row in versions if row.id == product.current_version_id), None)
    actions = rules.PRODUCT.possible(product.status, actor, owner=product.organisation_id)
    if product.status == "suspended":  # either its owner lists it again, or the market resumes it
        by_market = product.suspended_by in MARKET
        actions = [action for action in actions if action != ("list" if by_market and product.suspended_by != actor.party else "resume")]
    return ProductPage(product, parties.get_organisation(session, product.organisation_id), current, versions,
                       pricing.active_plan(session, product_id), list(dict.fromkeys(actions)))


def product_card(session: Session, actor: Actor, product_id: str) -> dict[str, Any]:
    """The model card of the version that is on sale, or of the newest, for whoever may see the product.

    Raises:
        ProblemError: ``not_found``; ``card_of_models_only`` where it delivers no model.
    """
    page = product_page(session, actor, product_id)
    version = page.current or (page.versions[0] if page.versions else None)
    if version is None:
        raise ProblemError("not_found", what="version")
    return computing.published_card(session, version.job_id)


__all__ = ["COUNTED", "FACETS", "SORTS", "Facets", "ProductPage", "StorefrontItem", "facets", "items", "newest_versions",
           "own_products", "product_card", "product_page", "storefront"]
