"""How long buyers and developers wait for a page of the storefront or the catalogue, however much there is to find.

``python -m tests.bench.finding storefront 1000`` fills the database that the settings name with so many rows and prints JSON:
milliseconds of every kind of page, and how many queries each took. Rows are written in bulk, past the services, but through
the same rules and words; what is measured is what a page asks for.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from sqlalchemy import insert, text
from sqlmodel import Session, SQLModel
from tests.bench.report import Line, percentile
from tests.factories import postgres
from tests.factories.queries import counting

from marketplace import db, migrations
from marketplace.actor import PUBLIC
from marketplace.authorisation.models import DataDemand, GrantRecord, Scenario
from marketplace.catalogue import index as catalogue_index
from marketplace.catalogue import service as catalogue
from marketplace.catalogue import tokens as catalogue_tokens
from marketplace.catalogue.models import DataResource, ResourceCount, ResourceIndex
from marketplace.catalogue.rules import FREQUENCIES
from marketplace.computing.models import Job, JobOutput, Node, Run
from marketplace.parties.models import Organisation
from marketplace.pricing.models import PricePlan
from marketplace.products import rules
from marketplace.products import service as products
from marketplace.products.models import Listing, ListingCount, ListingWord, Product, ProductVersion
from marketplace.settings import settings
from marketplace.text import tokens

SELLERS, DEPARTMENTS = 200, 120
WHO = ("小微企业", "住院患者", "纳税人", "参保人员", "驾驶人", "用电客户", "用水客户", "不动产权利人", "农业经营主体", "高新技术企业", "旅游企业", "监测站点")
WHAT = ("信用评价", "费用统计", "风险评分", "季度分析", "景气指数", "资格核验", "趋势预测", "结构报告", "异常预警", "行业画像")
WHERE = tuple(f"{name}区" for name in ("东山", "西河", "南湖", "北关", "临港", "新城", "高新", "古城"))
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
BATCH = 5000


def main() -> None:
    what, count = sys.argv[1], int(sys.argv[2])
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    migrations.upgrade(settings().resolved_database_url)
    began = time.perf_counter()
    with db.transaction() as session:
        (fill_storefront if what == "storefront" else fill_catalogue)(session, count)
    with db.writer_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    filled = time.perf_counter() - began
    pages = storefront_pages() if what == "storefront" else catalogue_pages()
    found = {name: measured(page, repeats) for name, page in pages.items()}
    print(json.dumps({"rows": count, "filled": filled, "pages": found}))


def measured(page: Callable[[Session], object], repeats: int) -> dict[str, Any]:
    """Milliseconds of each of ``repeats`` turns after two that are not counted, and the queries of one."""
    times = []
    with counting() as asked:
        for turn in range(repeats + 2):
            asked.clear()
            with db.reading() as session:
                began = time.perf_counter()
                page(session)
                if turn >= 2:
                    times.append((time.perf_counter() - began) * 1000)
    return {"ms": times, "queries": len(asked)}


def put(session: Session, model: type[SQLModel], rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows in bulk; what is not said of a row is the model's default."""
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, BATCH)):
        session.execute(insert(model), batch)


# --- the storefront ---


def fill_storefront(session: Session, count: int) -> None:
    """``count`` products on sale, of :data:`SELLERS` developers, with one result under all of them."""
    chance = random.Random(1)
    put(session, Organisation, [{"id": f"org_{number:03}", "kind": "developer", "name_zh": f"{WHERE[number % 8]}数据科技第{number}公司",
                                 "name_en": f"Data Company {number}", "status": "active", "created_at": NOW} for number in range(SELLERS)])
    _one_result(session)
    owners = [set(tokens(f"{WHERE[number % 8]}数据科技第{number}公司 Data Company {number}")) for number in range(SELLERS)]
    words_of = functools.lru_cache(None)(lambda words: frozenset(tokens(words)))
    counts: Counter[tuple[str, str, str, int, str]] = Counter()
    facts = []
    for seq in range(1, count + 1):
        title = f"{chance.choice(WHERE)}{chance.choice(WHO)}{chance.choice(WHAT)}数据产品"
        fee = chance.choice((0, 50_000, 800_000, 1_280_000, 5_000_000, 90_000_000)) + chance.randrange(1000)
        key = (f"org_{chance.randrange(SELLERS):03}", chance.choice(rules.SECTORS), chance.choice(rules.FORMS), 2, rules.price_band(fee))
        counts[key] += 1
        facts.append((seq, title, fee, key, rules.registration_code("SZ", 2026, 2, seq)))
    manifest = {"participants": [{"node_id": "node_1", "organisation_id": "org_000", "rows": 900}], "rows": 900, "input_schema": {}}
    put(session, Product, ({
        "id": f"prod_{seq:07}", "organisation_id": key[0], "tier": 2, "sector": key[1], "delivery_form": key[2], "title_zh": title,
        "title_en": f"Data product {seq}", "summary_zh": "按行业与区域分组的统计结果", "status": "listed", "current_version_id": f"ver_{seq:07}",
        "created_at": NOW, "listed_at": NOW} for seq, title, _fee, key, _code in facts))
    put(session, ProductVersion, ({
        "id": f"ver_{seq:07}", "product_id": f"prod_{seq:07}", "number": 1, "job_id": "job_1", "grant_id": "grant_1", "output_id": "out_1",
        "manifest": manifest, "manifest_digest": "d", "sample": {}, "status": "listed", "registration_code": code, "created_at": NOW}
        for seq, _title, _fee, _key, code in facts))
    put(session, PricePlan, ({"id": f"plan_{seq:07}", "product_id": f"prod_{seq:07}", "access_fee_fen": fee, "call_fee_fen": 7,
                              "included_calls": 0, "term_days": 365, "currency": "CNY", "status": "active", "created_at": NOW}
                             for seq, _title, fee, _key, _code in facts))
    put(session, Listing, ({"seq": seq, "product_id": f"prod_{seq:07}", "organisation_id": key[0], "sector": key[1], "delivery_form": key[2],
                            "tier": 2, "band": key[4], "price_fen": fee, "title": title, "calls": chance.randrange(100_000)}
                           for seq, title, fee, key, _code in facts))
    put(session, ListingWord, ({"word": word, "seq": seq} for seq, title, _fee, key, code in facts
                               for word in words_of(title) | words_of("按行业与区域分组的统计结果") | owners[int(key[0][4:])]
                               | {*code.casefold().split("-"), "data", "product", str(seq)}))
    names = ("organisation_id", "sector", "delivery_form", "tier", "band")
    put(session, ListingCount, ({**dict(zip(names, key, strict=True)), "count": number} for key, number in counts.items()))


def _one_result(session: Session) -> None:
    """What a version has to point at: one grant, job and output."""
    owner = "org_000"
    for row in (
        Scenario(id="scn_1", organisation_id=owner, title="t", purpose="p", sector="finance"),
        DataDemand(id="dem_1", scenario_id="scn_1", organisation_id=owner, body={}),
        GrantRecord(id="grant_1", demand_id="dem_1", scenario_id="scn_1", organisation_id=owner, jws="j", digest="d", not_before=NOW,
                    expires_at=NOW + dt.timedelta(days=365)),
        Job(id="job_1", organisation_id=owner, submitted_by="x", grant_id="grant_1", app_name="statistics", app_digest="d", params={},
            status="completed", idempotency_key="k", request_digest="d"),
        Run(id="run_1", job_id="job_1", attempt=1, participants=[], status="finished"),
        JobOutput(id="out_1", job_id="job_1", run_id="run_1", form="statistics", content={}, digest="d", participants=[], rows=1),
    ):
        session.add(row)
        session.flush()


def storefront_pages() -> dict[str, Callable[[Session], object]]:
    """Every kind of page, with the facets beside it, as the storefront asks for them."""
    def page(sort: str = "newest", deep: int = 0, **asked: Any) -> Callable[[Session], object]:
        def show(session: Session) -> None:
            found = products.storefront(session, sort=sort, limit=12, **asked)
            for _ in range(deep):
                found = products.storefront(session, sort=sort, limit=12, cursor=found.next, **asked)
            products.facets(session, **asked)
        return show

    common, rare = "数据产品", "数据产品 信用评价 小微企业"
    return {
        "everything": page(), **{f"everything by {sort}": page(sort) for sort in ("title", "price", "popular")},
        "a sector": page(sector="health"), "a sector by price": page("price", sector="health"),
        "a sector and form by title": page("title", sector="health", form="api"), "a price band by popular": page("popular", band="top"),
        "one provider": page(provider="org_007"), "one provider by price": page("price", provider="org_007"),
        "one provider in a sector by title": page("title", provider="org_007", sector="health", form="model"),
        "a word that all have": page(q=common), **{f"a word that all have by {sort}": page(sort, q=common)
                                                  for sort in ("title", "price", "popular")},
        "a word that all have, one provider": page(q=common, provider="org_007"),
        "a word that all have, one provider by price": page("price", q=common, provider="org_007"),
        "a common word and filters": page("price", q="统计", sector="health", band="middle"),
        "three words": page(q=rare), "three words by popular": page("popular", q=rare),
        "a registration code": page(q="SZ-2026-2-000017"), "nothing": page(q="绝无此物"), "the fifth page": page(deep=4, q=common),
    }


# --- the catalogue ---


def fill_catalogue(session: Session, count: int) -> None:
    """``count`` active resources at :data:`DEPARTMENTS` departments."""
    chance = random.Random(2)
    catalogue_tokens.hashed = functools.lru_cache(None)(catalogue_tokens.hashed)
    names = [(f"{WHERE[number % 8]}第{number}局", f"Bureau {number}") for number in range(DEPARTMENTS)]
    put(session, Organisation, [{"id": f"org_{number:03}", "kind": "source_department", "name_zh": zh, "name_en": en, "status": "active",
                                 "created_at": NOW} for number, (zh, en) in enumerate(names)])
    put(session, Node, [{"id": f"node_{number:03}", "organisation_id": f"org_{number:03}", "name": f"node {number}", "status": "active",
                         "certificate_pem": "", "certificate_serial": str(number), "signing_key": "", "agreement_key": "",
                         "apps": [], "created_at": NOW} for number in range(DEPARTMENTS)])
    columns = [{"name": f"field_{number}", "type": "number", "title": title, "identifier": False, "domain": [], "unit": "", "lower": None,
                "upper": None, "classification": "free"} for number, title in enumerate(("金额", "年龄", "区域", "行业", "日期", "状态"))]
    facts = []
    for number in range(1, count + 1):
        at = chance.randrange(DEPARTMENTS)
        facts.append((number, at, {
            "id": f"res_{number:07}", "node_id": f"node_{at:03}", "organisation_id": f"org_{at:03}", "name": f"table_{number}",
            "title": f"{chance.choice(WHERE)}{chance.choice(WHO)}数据", "title_en": f"Table {number}", "description": "业务系统每日归集的明细数据",
            "sector": chance.choice(rules.SECTORS), "grade": chance.choice((1, 2, 2, 3)), "row_count": chance.randrange(10_000_000),
            "columns": columns, "approval": "automatic", "standard": "", "frequency": chance.choice(FREQUENCIES), "steward": "数据科",
            "tags": ["民生"] if number % 3 else ["民生", "重点"], "code": None, "status": "active", "created_at": NOW, "updated_at": NOW}))
    put(session, DataResource, (row for _number, _at, row in facts))
    quality = {number: chance.randrange(50, 101) for number, _at, _row in facts}
    entries = [{"number": number, "resource_id": row["id"], "title": row["title"], "row_count": row["row_count"], "quality": quality[number],
                "updated": number, "sector": row["sector"], "grade": row["grade"], "organisation_id": row["organisation_id"],
                "frequency": row["frequency"], "standard": "", "tags": "\n".join(row["tags"]), "poor": False} for number, _at, row in facts]
    put(session, ResourceIndex, entries)
    for number, at, row in facts:
        catalogue_index._remember(session, number, catalogue_tokens.of_resource({**row, "quality": quality[number]}, names[at]))
    counts = Counter(pair for entry in entries for pair in catalogue_index.facet_values(ResourceIndex(**entry)))
    put(session, ResourceCount, ({"facet": facet, "value": value, "count": number} for (facet, value), number in counts.items()))


def catalogue_pages() -> dict[str, Callable[[Session], object]]:
    """Every order with no word, a rare one and one that all have; filters; facets above what is counted."""
    def page(q: str = "", sort: catalogue.Sort = "relevance", facets: bool = True, **filters: Any) -> Callable[[Session], object]:
        wanted = catalogue.Filters(**filters)

        def show(session: Session) -> None:
            catalogue.list_resources(session, PUBLIC, q=q, sort=sort, filters=wanted, limit=20)
            if facets:
                catalogue.facets(session, PUBLIC, q=q, filters=wanted)
        return show

    sorts: tuple[catalogue.Sort, ...] = ("relevance", "title", "newest", "rows", "quality", "updated")
    questions = {"everything": "", "a word that all have": "数据", "a common word": "住院患者", "a rare word": "table_17",
                 "two words": "东山区 纳税人", "nothing": "绝无此物"}
    return {
        **{f"{name} by {sort}, without facets": page(q, sort, facets=False) for (name, q), sort in itertools.product(questions.items(), sorts)},
        **{f"{name} with facets": page(q) for name, q in questions.items()},
        "a sector with facets": page(sector="health"), "a department and quality with facets": page(organisation_id="org_007", quality=80),
        "a tag that all have with facets": page(tags=("民生",)), "a tag and a word that all have, by rows": page("数据", "rows", tags=("民生",)),
    }


# --- as a section of the bench ---

SECTIONS: Final = ("storefront", "catalogue")
_SIZES: Final = {"storefront": (1_000, 10_000, 100_000), "catalogue": (100_000,)}
_GOALS: Final = {"storefront": 200, "catalogue": 100}


class Finding:
    """What was measured, each size in a process and a database of its own: SQLite, and PostgreSQL where its binaries are."""

    def __init__(self, *, quick: bool) -> None:
        self.lines: list[Line] = []
        self._quick = quick

    def storefront(self) -> None:
        self._section("storefront")

    def catalogue(self) -> None:
        self._section("catalogue")

    def _section(self, what: str) -> None:
        for count in _SIZES[what]:
            rows, repeats = (count // 20, 5) if self._quick else (count, 40)
            with tempfile.TemporaryDirectory(prefix="shuyan-bench-") as folder:
                self._add(what, rows, "SQLite", _run(what, rows, repeats, {"SHUYAN_DATA_DIR": folder}))
                with contextlib.suppress(postgres.Absent), _server() as url:
                    self._add(what, rows, "PostgreSQL", _run(what, rows, repeats, {"SHUYAN_DATA_DIR": folder, "SHUYAN_DATABASE_URL": url}))

    def _add(self, what: str, rows: int, database: str, found: dict[str, Any]) -> None:
        pages = found["pages"]
        every = [value for page in pages.values() for value in page["ms"]]
        slowest = max(pages, key=lambda name: percentile(pages[name]["ms"], 0.95))
        most = max(pages, key=lambda name: int(pages[name]["queries"]))
        start = f"{what}, {rows:,} rows, {database}"
        self.lines += [
            Line(f"{start}: p95 of every kind of page", percentile(every, 0.95), "ms", goal=f"≤ {_GOALS[what]} ms"),
            Line(f"{start}: p95 of the slowest, {slowest}", percentile(pages[slowest]["ms"], 0.95), "ms", goal=f"≤ {_GOALS[what]} ms"),
            Line(f"{start}: most queries, {most}", pages[most]["queries"], "queries", goal="the same at every size"),
            Line(f"{start}: filled in", found["filled"], "s")]


@contextlib.contextmanager
def _server() -> Iterator[str]:
    server = postgres.Server()
    server.start()
    try:
        yield postgres.url_of(server.folder, "postgres")
    finally:
        server.stop()
        server.remove()


def _run(what: str, rows: int, repeats: int, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "tests.bench.finding", what, str(rows), str(repeats)], env={**os.environ, **environment},
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    out: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return out


if __name__ == "__main__":
    main()
