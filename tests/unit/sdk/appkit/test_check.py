"""A project from the template to its package, and what is said of one that is not in order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shuyan.appkit import read_package
from shuyan.appkit.check import build, check_project
from shuyan.appkit.project import new_project
from shuyan.problems import ProblemError
from shuyan.trust.keys import generate_signing_key, save_private_key, save_public_key

SHUYAN = str(Path(sys.executable).with_name("shuyan"))


def run(*arguments: object, code: int = 0, cwd: Path | None = None) -> str:
    done = subprocess.run([SHUYAN, "--lang", "en", "app", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_nothing_to_a_signed_package(tmp_path):
    run("new", "visit_costs", "--into", tmp_path)
    root = tmp_path / "visit_costs"
    assert "exists already" in run("new", "visit_costs", "--into", tmp_path, code=1)
    assert "is no name" in run("new", "json", "--into", tmp_path, code=1)
    assert "OK" in run("test", cwd=root)
    assert json.loads(run("check", "--json", cwd=root))["passed"]
    file = root / "visit_costs-1.0.0.shuyanapp"
    assert json.loads(run("pack", "--json", cwd=root))["digest"] == read_package(file.read_bytes()).digest
    key = generate_signing_key()
    save_private_key(tmp_path / "operator.key", key)
    save_public_key(tmp_path / "operator.pub", key.public_key())
    run("sign", file, "--key", tmp_path / "operator.key", "--issuer", "Operator")
    assert "Operator" in run("verify", file, "--key", tmp_path / "operator.pub")
    save_public_key(tmp_path / "other.pub", generate_signing_key().public_key())
    assert "does not hold" in run("verify", file, "--key", tmp_path / "other.pub", code=1)
    assert "Nothing changed" in run("diff", file, file)
    file.write_bytes(file.read_bytes()[:-1])
    assert "not valid" in run("verify", file, code=1)


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "rule", "words"), [
    ([("_department.py", "import numpy as np\n", "import os\n\nimport numpy as np\n")], "import", "os may not be imported"),
    ([("_department.py", '{"count": count, "sum": total}', '{"count": count, "sum": total, "more": total}')], "declared", "answers with more"),
    ([("_department.py", '{"count": count, "sum": total}', '{"count": count}')], "declared", "does not answer with sum"),
    ([("_department.py", '"sum": total}', '"sum": total[:1]}')], "declared", "sum of query.sums has 1 elements and not 4"),
    ([("_department.py", '"sum": total}', '"sum": total * 1e30}')], "declared", "above its bound"),
    ([("_department.py", '"sum": total}', '"sum": total + inputs.cache.setdefault("n", np.zeros(1))}'),
      ("_department.py", "    place =", '    inputs.cache["n"] = inputs.cache.get("n", np.zeros(1)) + 1\n    place =')], "determinism", "in two ways"),
    ([("_department.py", '"sum": total}', '"sum": total + sum(ord(x) * 7**n for n, x in enumerate({"a", "b", "c", "d", "e"}))}')],
     "determinism", "other hash seeds"),
    ([("_department.py", "    place =", "    1 // 0\n    place =")], "runs", "ZeroDivisionError"),
    ([("_result.py", '"suppressed": len(hidden)}', '"suppressed": len(hidden), "extra": 1}')], "declared", "extra"),
    ([("_result.py", "    grid.plan(1)", "    raise LookupError")], "runs", "LookupError"),
    ([("__init__.py", 'version="1.0.0"', 'version="1.0.1"')], "declared", "not that of pyproject"),
    ([("__init__.py", "app = federated_app(", "application = federated_app(")], "declared", "an app named app"),
    ([("_params.py", "column: str = Field(min_length=1, max_length=100)", "column: object")], "declared", "schema"),
    ([("pyproject.toml", '"shuyan[federation]"', '"shuyan[federation]", "requests"')], "import", "requests"),
])
def test_what_is_said(project, changes, rule, words):
    made = project(*changes)
    report = check_project(made)
    assert not report.passed
    assert any(finding.rule == rule and words in finding.text("en") for finding in report.findings), [f.text("en") for f in report.findings]
    with pytest.raises(ProblemError) as raised:
        build(made, report)
    assert raised.value.code == "app_check_failed"


def test_an_error_is_told_with_its_line(project):
    made = project(("_department.py", "    place =", "    1 // 0\n    place ="))
    (finding,) = check_project(made).findings
    line = made.sources["visit_costs/_department.py"].splitlines().index("    1 // 0") + 1
    assert (finding.path, finding.line) == ("visit_costs/_department.py", line)


@pytest.mark.parametrize(("name", "old", "new"), [
    ("mock.toml", 'type = "number"', 'type = "money"'), ("mock.toml", "departments = 3", "departments = 2"),
    ("pyproject.toml", 'name = "visit_costs"', 'title = "x"'), ("pyproject.toml", 'name = "visit_costs"', 'name = "other_app"')])
def test_what_is_no_project(project, name, old, new):
    with pytest.raises(ProblemError) as raised:
        project((name, old, new))
    assert raised.value.code == "project_invalid"


def test_a_project_needs_a_name_of_its_own(tmp_path):
    with pytest.raises(ProblemError) as raised:
        new_project("numpy", tmp_path)
    assert raised.value.code == "app_name_invalid"
