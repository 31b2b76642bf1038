"""What is measured about a source and a resource: classification, resolution, risk, quality, and again after a change."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_harness import one_node, runs

from node_agent.admin import Admin
from node_agent.classify import suggest
from node_agent.config import NodeDir
from node_agent.keys import NodeKeys
from node_agent.profile import percent
from node_agent.resources import Resources
from node_agent.risk import measure_risk
from node_agent.sources_reading import connect
from shuyan.problems import ProblemError
from shuyan_protos.link.v1 import link_pb2
from shuyan_protos.local.v1 import local_pb2


def problem(code):
    return pytest.raises(ProblemError, match=f"^{code}:")


@pytest.fixture
def admin(place):
    node_dir = NodeDir(place / "node")
    node_dir.create()
    NodeKeys.create(node_dir)
    made = Admin(node_dir, apps={})
    yield made
    made.close()


def source(admin, name, text):
    path = admin.node_dir.path.parent / f"{name}.csv"
    path.write_text(text)
    admin.AddSource(local_pb2.AddSourceRequest(name=name, location=str(path)))
    return path


_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def resident(n):
    body = f"510104{1950 + n % 60}{1 + n % 12:02d}{1 + n % 28:02d}{n % 1000:03d}"
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, body, strict=True)) % 11]


def people(rows=60):
    lines = ["pid,xm,phone,sex,birth_date,diagnosis,income,weight,ward,note"]
    lines += [f"{resident(n)},{'王李张刘陈'[n % 5]}{chr(0x4e00 + n)},138{n:08d},{'男女'[n % 2]},{1950 + n % 60}-01-01,"
              f"{['感冒', '肺炎', '骨折'][n % 3]},{3000 + 10 * n},{50 + n / 10:.1f},{'AB'[n % 2]}," for n in range(rows)]
    return "\n".join(lines) + "\n"


def test_columns_are_suggested_with_evidence(admin):
    source(admin, "people", people())
    found = admin.Classify(local_pb2.ClassifyRequest(source="people"))
    said = {c.name: c for c in found.columns}
    assert found.sampled == 60
    assert {name: c.suggestion for name, c in said.items()} == {
        "pid": "direct_identifier", "xm": "direct_identifier", "phone": "direct_identifier", "sex": "quasi_identifier",
        "birth_date": "quasi_identifier", "diagnosis": "sensitive", "income": "sensitive", "weight": "free",
        "ward": "free", "note": "free"}
    assert [(e.kind, e.share) for e in said["pid"].evidence] == [("resident_id", 1.0)]
    assert said["weight"].resolution == 0.1
    assert said["income"].resolution == 10
    assert not said["note"].HasField("resolution")


@pytest.mark.parametrize(("name", "type_", "values", "expected"), [
    ("x", "string", ["13812345678"] * 4, "free"),  # too few to say
    ("dept", "string", ["高血压", "安全科", "方法", "内科"] * 30, "free"),  # looks like names, but repeats
    ("id", "integer", [str(n) for n in range(40)], "direct_identifier"),
    ("income", "integer", [str(n * 7) for n in range(40)], "sensitive"),
    ("amount", "integer", [str(n * 7) for n in range(40)], "free"),
    ("位置", "string", [f"30.{n}1,104.{n}2" for n in range(100, 140)], "quasi_identifier"),
    ("code", "string", [f"K{n}" for n in range(40)], "direct_identifier"), ("empty", "string", [], "free")])
def test_one_column(name, type_, values, expected):
    assert suggest(name, type_, values).classification == expected


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-10**6, 10**6), min_size=1, max_size=30), st.integers(0, 4))
def test_every_value_is_a_multiple_of_the_resolution(values, decimals):
    from node_agent.classify import resolution

    with connect() as connection:
        connection.execute("CREATE TABLE t (x DOUBLE)")
        connection.executemany("INSERT INTO t VALUES (?)", [[value / 10**decimals] for value in values])
        step = resolution(connection, "t", "x")
    if any(values):
        assert step == pytest.approx(math.gcd(*values) / 10**decimals)
    else:
        assert step is None


def test_irrational_values_have_no_resolution(admin):
    from node_agent.classify import resolution

    with connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT sqrt(i) AS x FROM range(2, 20) r(i)")
        assert resolution(connection, "t", "x") is None


def register(admin, name="people", columns=(), **options):
    resource = link_pb2.Resource(name=name, sector="health", grade=2, approval="automatic", columns=columns)
    return admin.RegisterResource(local_pb2.RegisterResourceRequest(source="people", resource=resource, **options))


def column(name, **options):
    return link_pb2.Column(name=name, **options)


def test_an_undeclared_identifier_is_refused(admin):
    source(admin, "people", people())
    with problem("identifier_undeclared") as refused:
        register(admin, columns=[column("sex"), column("pid")])
    assert "身份证号" in refused.value.text("zh")
    assert not admin.resources.list()
    resource = register(admin, columns=[column("sex"), column("pid", identifier=True)])
    assert resource.columns[1].classification == "direct_identifier"
    assert not register(admin, columns=[column("pid", classification="free")]).columns[0].identifier
    assert register(admin, columns=[column("pid", classification="direct_identifier")]).columns[0].identifier
    with problem("classification_conflict"):
        register(admin, columns=[column("sex", identifier=True, classification="free")])
    with problem("classification_invalid"):
        register(admin, columns=[column("sex", classification="secret")])


def test_suggestions_are_accepted_as_a_whole(admin):
    source(admin, "people", people())
    resource = register(admin, accept_classification=True, accept_risk="试点范围内部使用", columns=[
        column("pid"), column("xm"), column("sex", classification="free"), column("birth_date"), column("diagnosis")])
    assert [(c.name, c.classification, c.identifier) for c in resource.columns] == [
        ("pid", "direct_identifier", True), ("xm", "direct_identifier", True), ("sex", "free", False),
        ("birth_date", "quasi_identifier", False), ("diagnosis", "sensitive", False)]


def test_a_risk_above_the_limit_needs_a_reason(admin):
    source(admin, "people", people())
    columns = [column("birth_date", classification="quasi_identifier"), column("diagnosis", classification="sensitive")]
    with problem("risk_too_high") as refused:
        register(admin, columns=columns)
    assert refused.value.args_ == {"quasi": "birth_date", "share": "100.0", "limit": "20", "smallest": 1}
    with problem("risk_reason"):
        register(admin, columns=columns, accept_risk="x")
    register(admin, columns=columns, accept_risk="已脱敏核验，试点使用")
    risk = admin.ShowResource(local_pb2.ShowResourceRequest(name="people")).resource.risk
    assert (risk.smallest_class, risk.accepted) == (1, "已脱敏核验，试点使用")
    (entry,) = [e for e in admin.journal.read(0, 100) if e.event == "resource:registered"]
    assert entry.data["risk_accepted"] == "已脱敏核验，试点使用"
    assert register(admin, columns=[column("sex", classification="quasi_identifier")]).row_count == 60
    admin.node_dir.config_file.write_text("[risk]\nmaximum_share_below_5 = 1.0\n")
    register(admin, columns=columns)
    assert not admin.ShowResource(local_pb2.ShowResourceRequest(name="people")).resource.risk.accepted


rows_of = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", ""]), st.sampled_from("123")), min_size=1,
                   max_size=60)


@settings(deadline=None, max_examples=20)
@given(rows_of)
def test_risk_equals_a_count_by_hand(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("r") / "t.csv"
    path.write_text("p,q,s\n" + "".join(f"{p},{q},{s}\n" for p, q, s in rows))
    risk = measure_risk("csv", str(path), ["p", "q"], ["s"])
    classes = defaultdict(Counter)
    for p, q, s in rows:
        classes[p, q][s] += 1
    sizes = {key: sum(counter.values()) for key, counter in classes.items()}
    assert (risk.rows, risk.classes, risk.smallest_class) == (len(rows), len(classes), min(sizes.values()))
    assert risk.share_below_5 == pytest.approx(sum(n for n in sizes.values() if n < 5) / len(rows))
    assert risk.share_below_10 == pytest.approx(sum(n for n in sizes.values() if n < 10) / len(rows))
    assert risk.prosecutor == pytest.approx(1 / min(sizes.values()))
    assert risk.marketer == pytest.approx(len(classes) / len(rows))
    (diversity,) = risk.diversity
    entropies = {key: -sum(n / sizes[key] * math.log(n / sizes[key]) for n in counter.values())
                 for key, counter in classes.items()}
    assert diversity.distinct == min(map(len, classes.values()))
    assert diversity.entropy == pytest.approx(math.exp(min(entropies.values())), rel=1e-5)
    assert diversity.share_single == pytest.approx(
        sum(sizes[key] for key, counter in classes.items() if len(counter) == 1) / len(rows))


def test_what_risk_cannot_be_asked(admin):
    source(admin, "people", people())
    for quasi, sensitive, code in (([], [], "risk_columns"), (["sex"], ["sex"], "risk_columns"),
                                   (["gone"], [], "resource_column")):
        with problem(code):
            admin.MeasureRisk(local_pb2.MeasureRiskRequest(source="people", quasi=quasi, sensitive=sensitive))


def test_the_profile_is_coarse_and_goes_with_the_resource(admin):
    text = "sex,age,seen\n" + "f,30,2026-01-01\n" * 60 + "m,40,2026-03-05\n" * 35 + "x,200,2026-02-01\n" * 4 + ",,\n"
    source(admin, "people", text)
    resource = register(admin, date_column="seen", columns=[
        column("sex", domain=["f", "m"]), column("age", lower=0, upper=100), column("seen")])
    profile = resource.profile
    assert {c.name: (c.completeness, c.validity) for c in profile.columns} == {
        "sex": (99, 95), "age": (99, 95), "seen": (99, 100)}
    assert (profile.completeness, profile.validity, profile.uniqueness) == (99, 97, 4)
    assert profile.latest_month == "2026-03"
    assert admin.resources.frame().resources[0].profile == profile
    told = {d.column: ({cell.label: cell.percent for cell in d.cells}, d.suppressed) for d in admin.ShowResource(
        local_pb2.ShowResourceRequest(name="people")).distributions}
    assert told == {"sex": ({"f": 60, "m": 35}, 0), "age": ({"30–40": 60, "40–50": 35}, 0)}


def test_small_cells_of_a_distribution_are_left_out(admin):
    source(admin, "people", "ward\n" + "A\n" * 50 + "B\n" * 9)
    register(admin, columns=[column("ward", domain=["A", "B", "C"])])
    (told,) = admin.ShowResource(local_pb2.ShowResourceRequest(name="people")).distributions
    assert ([cell.label for cell in told.cells], told.suppressed) == (["A"], 1)


@given(st.integers(1, 10**9), st.data())
def test_a_hundred_percent_means_all(whole, data):
    part = data.draw(st.integers(0, whole))
    assert (percent(part, whole) == 100) == (part == whole)


def test_columns_declare_unit_and_resolution(admin):
    source(admin, "people", people())
    resource = register(admin, resolution=["weight"], columns=[
        column("weight", unit=" µg/m³", lower=0, upper=100), column("income", resolution=10)])
    assert (resource.columns[0].unit, resource.columns[0].resolution) == ("μg/m3", 0.1)
    assert admin.resources.find("people").schema["income"].resolution == 10
    assert admin.resources.find("people").schema["weight"].unit == "μg/m3"
    for wrong, code in ((column("weight", unit="k\tg" * 20), "unit_invalid"), (column("income", resolution=7), "resolution_unfit"),
                        (column("income", resolution=-1), "resolution_invalid"), (column("sex", resolution=1), "resolution_invalid")):
        with problem(code):
            register(admin, columns=[wrong])
    with problem("date_column"):
        register(admin, columns=[column("sex")], date_column="sex")


def test_measured_again_after_the_data_changed(admin):
    path = source(admin, "people", people())
    register(admin, columns=[column("ward", domain=["*"]), column("weight")])

    def refresh(name=""):
        (found,) = admin.RefreshResources(local_pb2.RefreshResourcesRequest(name=name)).resources
        return found.rows_before, found.rows, {note.code for note in found.notes}

    assert refresh() == (60, 60, set())
    path.write_text(people(100))
    assert refresh("people") == (60, 100, set())
    assert admin.sources.get("people").measured.row_count == 100
    path.write_text(people(100).replace(",A,", ",Z,"))
    assert refresh() == (100, 100, {"refresh_invalid"})
    assert list(admin.resources.list()[0].resource.columns[0].domain) == ["A", "B"]
    path.write_text(people(20))
    assert refresh() == (100, 20, {"refresh_fewer_rows"})
    path.write_text("other\n1\n")
    assert refresh() == (20, 20, {"refresh_column_gone"})
    path.unlink()
    assert refresh() == (20, 20, {"refresh_failed"})
    with problem("resource_not_found"):
        refresh("gone")
    measured = [e.data for e in admin.journal.read(0, 100) if e.event == "resource:measured"]
    assert measured == [{"name": "people", "before": 60, "rows": 100}, {"name": "people", "before": 100, "rows": 20}]


def test_a_risk_that_grew_is_noted(admin):
    path = source(admin, "people", people())
    register(admin, columns=[column("ward", classification="quasi_identifier")])
    path.write_text(people(60) + "".join(f"x{n},,,,,,,,W{n}," + "\n" for n in range(40)))
    (found,) = admin.RefreshResources(local_pb2.RefreshResourcesRequest()).resources
    assert {note.code: dict(note.args) for note in found.notes} == {"refresh_risk": {"share": "40.0"}}
    assert admin.ShowResource(local_pb2.ShowResourceRequest(name="people")).resource.risk.smallest_class == 1


@runs
async def test_old_figures_are_measured_again_and_told_to_the_market(place):
    async with one_node(place, config="[measure]\nrefresh_hours = 1e-9\n") as (_world, _coordinator, agent, session):
        first = (await session.expect("resources")).resources[0]
        told = await session.expect("resources", lambda r: r.resources[0].profile.measured_at_ms > first.profile.measured_at_ms)
        assert told.resources[0].row_count == 20
        assert agent.admin.resources.find("patients").resource.profile == told.resources[0].profile


def test_a_withdrawn_resource_leaves_no_measurement(admin):
    source(admin, "people", people())
    register(admin, columns=[column("sex", classification="quasi_identifier")])
    admin.WithdrawResource(local_pb2.WithdrawResourceRequest(name="people"))
    assert not admin.state.all("SELECT * FROM measured")


def test_json_and_sqlite_are_read_too(admin, place):
    import sqlite3

    (place / "t.ndjson").write_text("".join(json.dumps({"a": n, "b": f"x{n}"}) + "\n" for n in range(5)))
    added = admin.AddSource(local_pb2.AddSourceRequest(name="lines", location=str(place / "t.ndjson")))
    assert (added.kind, added.row_count, [c.type for c in added.columns]) == ("json", 5, ["integer", "string"])
    with sqlite3.connect(place / "t.db") as database:
        database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, weight REAL)")
        database.executemany("INSERT INTO people VALUES (?, ?, ?)", [(n, f"p{n}", n / 2) for n in range(7)])
    database.close()
    with problem("source_table_needed"):
        admin.AddSource(local_pb2.AddSourceRequest(name="lite", location=str(place / "t.db")))
    added = admin.AddSource(local_pb2.AddSourceRequest(name="lite", location=str(place / "t.db"), table="people"))
    assert (added.kind, added.row_count, added.location) == ("sqlite", 7, f"{place / 't.db'}#people")
    with problem("source_table_missing"):
        admin.AddSource(local_pb2.AddSourceRequest(name="none", location=str(place / "t.db"), table="gone"))
    report = admin.AddView(local_pb2.AddViewRequest(
        name="both", sql="SELECT l.a, p.weight FROM lines l JOIN lite p ON p.id = l.a"))
    assert report.source.row_count == 5


def test_registered_resources_resolve_when_asked(admin):
    source(admin, "people", people())
    register(admin, columns=[column("sex")])
    (item,) = admin.resources.list()
    assert item.location.endswith("people.csv")
    assert "people.csv" not in repr(item)
    assert isinstance(admin.resources, Resources)
