"""The commands for views, classification, risk and measurements, in both languages and as JSON."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node_agent import resources
from node_agent.admin import Admin
from node_agent.classify import CLASSES
from node_agent.cli import notes
from node_agent.cli.main import app
from node_agent.config import Lock, NodeDir
from node_agent.local import serving
from node_agent.profile import measure_profile
from shuyan import _text
from shuyan.detect import DETECTORS
from shuyan_protos.link.v1 import link_pb2


@pytest.fixture
def run(place):
    """Run one command on a node whose source ``people`` is there; its standard output and error."""
    def invoke(*arguments, code=0, answer=None, lang="en"):
        done = CliRunner().invoke(app, ["--dir", str(place / "node"), "--lang", lang, *arguments], input=answer)
        assert done.exit_code == code, done.output
        return done.output

    (place / "people.csv").write_text("id,name,sex,age,diagnosis,seen\n" + "".join(
        f"{n},张{chr(0x4e00 + n)},{'男女'[n % 2]},{20 + n % 3},{'感冒肺炎'[n % 4 // 2 * 2:][:2]},2026-0{1 + n % 9}-01\n"
        for n in range(60)))
    invoke("init")
    invoke("source", "add", "people", str(place / "people.csv"))
    yield invoke
    _text.set_language(None)


def as_json(output):
    return json.loads(output[output.index(min(filter(lambda sign: sign in output, "[{"), key=output.index)):])


def view(place, sql):
    path = place / "v.sql"
    path.write_text(sql)
    return str(path)


def test_views(run, place):
    sql = view(place, "SELECT mask_name(name) AS who, gender_code(sex) AS sex, age FROM people WHERE age > 20")
    preview = run("view", "preview", "--sql", sql, "--rows", "2")
    assert "张*" in preview
    assert len(as_json(run("view", "preview", "people", "--json"))) == 10
    assert "40 rows, 3 columns" in run("view", "add", "grown", "--sql", sql)
    assert "already" in run("view", "add", "grown", "--sql", sql, code=1)
    (listed,) = as_json(run("view", "list", "--json"))
    assert (listed["name"], listed["reads"], listed["row_count"]) == ("grown", ["people"], 40)
    assert run("view", "show", "grown").strip().startswith("SELECT mask_name")
    assert "no view" in run("view", "show", "people", code=1)
    run("view", "add", "grown", "--replace", "--sql", "-", answer="SELECT 1 AS x", code=1)  # its answer is no yes
    repeated = run("view", "add", "grown", "--replace", "--yes", "--sql", "-", answer="SELECT sex FROM people")
    assert "Note: 58 rows repeat another one" in repeated
    assert "注意：有 58 行与别的行完全相同" in run("view", "add", "again", "--sql", "-", answer="SELECT sex FROM people", lang="zh")
    assert "cannot use “now”" in run("view", "add", "x", "--sql", "-", answer="SELECT now() AS t FROM people", code=1)
    assert "cannot be read" in run("view", "add", "x", "--sql", str(place / "gone.sql"), code=1)
    run("view", "remove", "grown", answer="n\n", code=1)
    assert "removed" in run("view", "remove", "grown", answer="y\n")
    assert "removed" in run("view", "remove", "again", "--yes")
    assert "mask_hash(v)" in run("view", "functions")
    run("view", "preview", code=2)


def test_classification_and_risk(run):
    table = run("classify", "people")
    assert "direct identifier" in table
    assert "by the column's name" in table
    assert "直接标识" in run("classify", "people", lang="zh")
    said = {column["name"]: column["suggestion"] for column in as_json(run("classify", "people", "--json"))["columns"]}
    assert said == {"id": "direct_identifier", "name": "direct_identifier", "sex": "quasi_identifier",
                    "age": "quasi_identifier", "diagnosis": "sensitive", "seen": "free"}
    risk = as_json(run("risk", "people", "--quasi", "sex,age", "--sensitive", "diagnosis", "--json"))
    assert (risk["rows"], risk["classes"], risk["smallest_class"]) == (60, 6, 10)
    assert "最小组（k）" in run("risk", "people", "--quasi", "sex，age", lang="zh")


def test_registering_shows_the_risk_and_asks_for_a_reason(run):
    declared = ("resource", "register", "people", "--source", "people", "--sector", "health", "--grade", "2",
                "--date-column", "seen", "--bounds", "age=0:120", "--resolution", "age", "--unit", "age=岁")
    assert "have no classification" in run(*declared)
    shown = run(*declared, "--classify", "accept")
    assert "Smallest class (k)" in shown
    details = as_json(run("resource", "show", "people", "--json"))
    columns = {column["name"]: column for column in details["resource"]["resource"]["columns"]}
    assert (columns["age"]["classification"], columns["age"]["resolution"], columns["age"]["unit"]) == ("quasi_identifier", 1, "岁")
    assert columns["id"]["identifier"]
    assert details["resource"]["resource"]["profile"]["latest_month"] == "2026-09"
    assert "Completeness" in run("resource", "show", "people")
    assert "完整率" in run("resource", "show", "people", lang="zh")
    refused = run(*declared, "--class", "id=quasi_identifier", "--class", "sex=quasi_identifier", code=1)
    assert "100.0 % of the rows are in groups of fewer than 5" in refused
    assert "Accepted because" in run(*declared, "--class", "id=quasi_identifier", "--accept-risk", "internal trial")
    run(*declared, "--classify", "guess", code=2)
    assert "is no classification" in run(*declared, "--class", "sex=odd", code=1)
    assert "resolution" in run(*declared, "--resolution", "age=x", code=1)


def test_columns_with_a_value_in_every_row(run, place):
    """Declared by name or as they are found; held against the data then, and looked at again with every measurement."""
    header = "id,name,sex,age,diagnosis,seen\n"
    (place / "people.csv").write_text(header + "".join(
        f"{n},a,{'男女'[n % 2]},{20 + n % 3},{'' if n < 2 else '感冒'},2026-01-01\n" for n in range(60)))
    declared = ("resource", "register", "people", "--source", "people", "--sector", "health", "--grade", "2",
                "--identifier", "id", "--identifier", "name")

    def required() -> set[str]:
        shown = as_json(run("resource", "show", "people", "--json"))
        return {column["name"] for column in shown["resource"]["resource"]["columns"] if column.get("required")}

    assert "2 rows have no value of the column “diagnosis”" in run(*declared, "--required", "diagnosis", code=1)
    run(*declared, "--required", "age")
    assert required() == {"age"}
    run(*declared, "--required", "*")
    assert required() == {"sex", "age", "seen"}  # an identifier is never asked for
    (place / "people.csv").write_text(header + "1,a,男,,感冒,2026-01-01\n2,b,女,30,,2026-01-01\n")
    assert "“age” is registered as having a value in every row and now lacks some" in run("resource", "refresh", "people")
    assert "no column" in run(*declared, "--required", "gone", code=1)


def test_measuring_again(run, place):
    run("resource", "register", "people", "--source", "people", "--sector", "health", "--grade", "2")
    (place / "people.csv").write_text("id,name,sex,age,diagnosis,seen\n1,a,男,20,感冒,2026-01-01\n")
    assert "Note: people: the rows fell from 60 to 1" in run("resource", "refresh")
    (again,) = as_json(run("resource", "refresh", "people", "--json"))
    assert (again["rows_before"], again["rows"]) == (1, 1)
    assert "no resource" in run("resource", "refresh", "gone", code=1)


def test_every_note_kind_and_class_has_words():
    here = Path(resources.__file__).parent
    used = {code for name in ("views.py", "resources.py") for code in re.findall(r'note\("(\w+)"', (here / name).read_text())}
    assert used == set(notes._NOTES)
    assert set(DETECTORS) | {"unique", "name"} == set(notes._EVIDENCE)
    assert {*CLASSES, ""} == set(notes.CLASSES)


def test_the_same_through_the_agents_socket(run, place):
    """Long calls run apart from the agent's loop; their replies and problems come back over the socket."""
    async def scenario():
        node_dir = NodeDir(place / "node")
        with Lock(node_dir):
            admin = Admin(node_dir, apps={})
            async with serving(admin, node_dir.socket):
                said = await asyncio.to_thread(run, "view", "preview", "people", "--json")
                await asyncio.to_thread(run, "view", "add", "grown", "--sql", view(place, "SELECT sex, age FROM people"))
                refused = await asyncio.to_thread(run, "view", "preview", "--sql", view(place, "SELECT now()"), code=1)
                risk = await asyncio.to_thread(run, "risk", "grown", "--quasi", "age")
                names = [source.name for source in admin.sources.list()]
            admin.close()
        return said, refused, risk, names

    said, refused, risk, names = asyncio.run(scenario())
    assert len(as_json(said)) == 10
    assert "cannot use “now”" in refused
    assert "Smallest class" in risk
    assert names == ["grown", "people"]


def test_a_database_is_named_without_its_password(run):
    assert "must not hold a password" in run("source", "add", "his", "postgres://a:b@localhost/his", "--table", "t", code=1)
    assert "--table" in run("source", "add", "his", "postgres://a@localhost/his", code=1)


def test_an_entry_says_how_often_by_whom_and_what_its_columns_hold(run):
    base = ["resource", "register", "visits", "--source", "people", "--sector", "health", "--grade", "3", "--classify", "accept"]
    made = as_json(run(*base, "--frequency", "yearly", "--date-column", "seen", "--standard", "WS/T 500", "--steward", "医政处数据岗",
                       "--tag", "就诊", "--tag", "住院", "--element", "sex=自然人.性别", "--authoritative", "sex", "--json"))
    assert (made["update_frequency"], made["standard"], made["steward"], made["tags"]) == ("yearly", "WS/T 500", "医政处数据岗", ["就诊", "住院"])
    (sex,) = [column for column in made["columns"] if column["name"] == "sex"]
    assert (sex["element"], sex["authoritative"]) == ("自然人.性别", True)
    assert made["profile"]["timeliness"] in (0, 50, 100)  # by today's date
    assert "自然人.性别 (authoritative)" in run("resource", "show", "visits")
    for options, word in ((["--frequency", "hourly"], "update frequency"), (["--steward", "张三 138-1234-5678"], "telephone"),
                          (["--standard", "x" * 121], "too long"), (["--authoritative", "sex"], "element declared"),
                          (["--element", "sex=a\nb"], "invisible")):
        assert word in run(*base, *options, code=1)


@pytest.mark.parametrize(("frequency", "days", "expected"), [
    ("daily", 1, 100), ("daily", 2, 50), ("daily", 3, 0), ("monthly", 62, 50), ("yearly", 366, 100), ("irregular", 1, None), ("", 1, None)])
def test_timeliness_is_told_in_declared_periods(place, frequency, days, expected):
    latest = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)
    (place / "seen.csv").write_text(f"seen\n2001-01-01\n{latest}\n")
    profile, _ = measure_profile("csv", str(place / "seen.csv"), [link_pb2.Column(name="seen", type="date")], "seen", frequency)
    assert (profile.timeliness if profile.HasField("timeliness") else None) == expected
    assert profile.latest_month == f"{latest:%Y-%m}"
