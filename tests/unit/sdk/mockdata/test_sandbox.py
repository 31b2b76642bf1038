"""A sandbox runs the very apps of the nodes on mock rows, under the same checks, and keeps what it was told for its owner alone."""

from __future__ import annotations

import json
import stat
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.factories.described import description

import shuyan
from shuyan._sandbox import Sandbox, open_sandbox
from shuyan.federation.apps.base import built_in
from shuyan.jobs import changed, digest_of
from shuyan.mockdata import table
from shuyan.problems import ProblemError

SCENARIO = "scenario_01testscenario"


@pytest.fixture
def box(tmp_path):
    return Sandbox(description(), tmp_path, rows=400)


def pooled(box):
    rows = []
    for one in box.description.resources:
        made = table(box.description, one, box.rows)
        rows += [dict(zip(made, values, strict=True)) for values in zip(*made.values(), strict=True)]
    return rows


def test_a_query_gives_what_the_pooled_mock_rows_give(box):
    trial = box.sql("SELECT sector, count(*) AS n, sum(tax) AS total FROM enterprises GROUP BY sector ORDER BY sector")
    counts, sums = Counter(), Counter()
    for row in pooled(box):
        counts[row["sector"]] += 1
        sums[row["sector"]] += row["tax"]
    assert [(row["sector"], row["n"]) for row in trial.result.rows] == sorted(counts.items())
    for row in trial.result.rows:
        assert row["total"] == pytest.approx(sums[row["sector"]], rel=1e-9)
    assert trial.digest == digest_of(trial.parts)
    assert trial.parts["resources"] == {"enterprises": ["sector", "tax"]}
    assert trial.id == ""  # nobody was told


def test_statistics_and_a_model_run_and_score(box):
    statistics = box.run("statistics", {"resource": "enterprises", "columns": ["tax"], "group_by": [["sector"]]})
    assert statistics.content["rows"] == 3 * box.rows
    model = box.train("logistic", features=["tax", "sector"], target="listed")
    assert model.result.family == "logistic"
    assert model.result.score(tax=3.0, sector="commerce")


@pytest.mark.parametrize(("app", "params", "code"), [
    ("statistics", {"resource": "others", "columns": ["tax"]}, "resource_not_granted"),
    ("statistics", {"resource": "enterprises", "columns": ["code"]}, "column_not_granted"),
    ("statistics", {"resource": "enterprises", "columns": ["salary"]}, "unknown_column"),
    ("statistics", {"resource": "enterprises"}, "param_missing"),
    ("query", {"sql": "SELECT code, count(*) FROM enterprises GROUP BY code"}, "sql_identifier_column"),
    ("query", {"sql": "SELECT * FROM enterprises"}, None),
    ("nothing", {}, "sandbox_app_missing"),
])
def test_what_is_refused_at_the_market_is_refused_here(box, app, params, code):
    with pytest.raises(ProblemError) as refused:
        box.run(app, params)
    assert code is None or refused.value.code == code


def test_a_cohort_that_is_too_small_is_refused_as_by_a_node(tmp_path):
    few = Sandbox(description(), tmp_path, rows=5)  # 5 a department, where the grant asks for 10
    with pytest.raises(ProblemError) as refused:
        few.run("statistics", {"resource": "enterprises", "columns": ["tax"]})
    assert refused.value.code == "cohort_too_small"


def test_answers_carry_noise_where_the_grant_says_so(tmp_path):
    box = Sandbox(description(release="dp", employees={"missing": 0}), tmp_path, rows=300)
    trial = box.run("statistics", {"resource": "enterprises", "columns": ["employees"], "rho_nano": 100_000_000})
    assert trial.content["rows"] != 3 * box.rows  # what bounding left, and noise


def test_another_version_of_an_app_is_not_run(tmp_path):
    told = description()
    apps = tuple(app.model_copy(update={"digest": "sha256:" + "0" * 64}) for app in told.terms.apps)
    box = Sandbox(told.model_copy(update={"terms": told.terms.model_copy(update={"apps": apps})}), tmp_path)
    with pytest.raises(ProblemError) as refused:
        box.sql("SELECT count(*) FROM enterprises")
    assert refused.value.code == "sandbox_app_differs"


def test_ones_own_app_runs_from_its_project_and_its_package(box, tmp_path):
    from shuyan.appkit.check import build, check_project
    from shuyan.appkit.project import Project, new_project

    project = new_project("box_totals", tmp_path)
    read = Project.read(project)
    params = {"resource": "enterprises", "column": "tax", "by": "sector", "lower": 0.0, "upper": 500.0}
    given_params = {name: params.get(name, value) for name, value in read.mock.cases[0].params.items()}
    given_params |= {name: params[name] for name in given_params if name in params}
    report = check_project(read)
    package = build(read, report)
    (tmp_path / package.file_name).write_bytes(package.data)
    trial = box.run(tmp_path / package.file_name, given_params)
    assert trial.parts["app"] == "box_totals"
    assert trial.parts["app_digest"] == package.digest


def test_rows_have_a_limit_and_files_too(box, tmp_path):
    with pytest.raises(ProblemError) as refused:
        Sandbox(description(), tmp_path, rows=5_001)
    assert refused.value.code == "sandbox_rows_exceeded"
    file = box.save("enterprises")
    assert file.parent == box.directory
    assert len(file.read_text("utf-8").splitlines()) == 3 * box.rows + 1
    tight = box.description.model_copy(update={"quota": box.description.quota.model_copy(update={"storage_mb": 0})})
    with pytest.raises(ProblemError) as refused:
        Sandbox(tight, tmp_path).save("enterprises")
    assert refused.value.code == "sandbox_storage_full"
    assert "department" in box.frame("enterprises").columns
    assert "code" not in box.frame("enterprises").columns
    assert len(box.frame("enterprises", department="node_1")) == box.rows
    with pytest.raises(shuyan.ShuyanError, match="others"):
        box.frame("others")


# --- what names a job ---

BASE = {"resource": "enterprises", "columns": ["tax", "employees"], "group_by": [["sector"]]}


@given(st.permutations(list(BASE)))
@settings(max_examples=10, deadline=None)
def test_the_digest_does_not_depend_on_spelling(order):
    told = description()
    from shuyan.mockdata.federation import MockedFederation

    tables = {(one.node_id, one.name): table(told, one, 1) for one in told.resources}
    with MockedFederation(told, tables) as federation:
        app = built_in()["statistics"]
        one = federation.fill(app, {name: BASE[name] for name in order}).parts
        assert digest_of(one) == digest_of(federation.fill(app, BASE).parts)
        other = federation.fill(app, {**BASE, "columns": ["tax"]}).parts
        assert changed(one, other) == ["params.columns", "resources.enterprises"]


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.text(max_size=5) | st.lists(st.integers(-9, 9), max_size=3), max_size=4),
       st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.text(max_size=5) | st.lists(st.integers(-9, 9), max_size=3), max_size=4))
@settings(deadline=None)
def test_two_jobs_have_one_digest_only_if_nothing_changed(one, other):
    before, now = ({"app": "a", "app_digest": "d", "params": {k: v for k, v in p.items() if not isinstance(v, int) or abs(v) < 2**53},
                    "resources": {}} for p in (one, other))
    assert (digest_of(before) == digest_of(now)) == (changed(before, now) == [])


# --- kept for its owner, and offline ---


def kept(tmp_path, told):
    folder = tmp_path / SCENARIO
    folder.mkdir()
    (folder / "description.json").write_text(told, encoding="utf-8")


def test_offline_works_with_what_was_kept(tmp_path):
    with pytest.raises(shuyan.ConfigurationError, match=SCENARIO):
        open_sandbox(SCENARIO, None, directory=tmp_path)
    kept(tmp_path, description().model_dump_json())
    box = shuyan.sandbox(SCENARIO, offline=True, directory=tmp_path, rows=100)
    assert not box.connected
    trial = box.sql("SELECT count(*) AS n FROM enterprises")
    assert trial.result.rows == [{"n": 300}]
    with pytest.raises(ProblemError) as refused:
        box.promote(trial)
    assert refused.value.code == "trial_not_recorded"


@pytest.mark.parametrize("told", ["", "[]", "{\"version\": 2}", description().model_copy(update={"scenario": "scenario_01other00000"}).model_dump_json()])
def test_a_kept_file_that_makes_no_sense_is_refused(tmp_path, told):
    kept(tmp_path, told)
    with pytest.raises(shuyan.ShuyanError):
        open_sandbox(SCENARIO, None, directory=tmp_path)


@pytest.mark.parametrize("scenario", ["../../etc", "scenario_/../x", "", "SCENARIO_01TESTSCENARIO"])
def test_only_an_id_names_a_folder(tmp_path, scenario):
    with pytest.raises(shuyan.ConfigurationError):
        open_sandbox(scenario, None, directory=tmp_path)


class Told:
    """The market's side as far as a sandbox asks for it."""

    def __init__(self, told, digest=None):
        self.sandboxes = self
        self._told = {"description": json.loads(told.model_dump_json()), "digest": digest or told.digest}
        self.id = told.sandbox

    def open(self, scenario):
        return self

    def description(self, id):
        assert id == self.id
        return self._told


def test_what_is_fetched_is_kept_for_its_owner_alone_and_must_fit_its_digest(tmp_path):
    box = open_sandbox(SCENARIO, Told(description()), directory=tmp_path / "new")
    assert box.connected
    assert box.description == description()
    assert stat.S_IMODE(box.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((box.directory / "description.json").stat().st_mode) == 0o600
    with pytest.raises(shuyan.VerificationFailed):
        open_sandbox(SCENARIO, Told(description(), "sha256:" + "0" * 64), directory=tmp_path / "other")
