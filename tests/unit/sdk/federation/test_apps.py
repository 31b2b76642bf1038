from __future__ import annotations

import re
import subprocess
import sys

import pytest

from shuyan.federation import problems as node_problems
from shuyan.federation.apps import base, installed
from shuyan.federation.ring import check_capacity
from shuyan.problems import describe, get


def test_the_products_apps_are_installed() -> None:
    assert {"statistics", "regression"} <= installed().keys()
    for name in ("statistics", "regression"):
        app = installed()[name]
        assert app.name == app.manifest.name == app.load().manifest.name
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", app.digest)
        assert app.load().server_app is app.load().server_app


def test_every_declared_vector_has_room_for_a_thousand_departments() -> None:
    for app in installed().values():
        for vectors in app.manifest.actions.values():
            for spec in vectors.values():
                check_capacity(spec.bound * spec.terms, 1000, spec.limbs, spec.fraction_bits)


def test_the_digest_is_the_same_in_another_process_and_differs_between_apps() -> None:
    code = "from shuyan.federation.apps import installed; print(installed()['statistics'].digest)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert found == installed()["statistics"].digest != installed()["regression"].digest


def test_the_digest_covers_the_apps_files_and_the_core() -> None:
    names = set(base._files_of("shuyan.federation.apps.statistics"))
    assert {"__init__.py", "_app.py", "_params.py"} <= names


def test_an_app_that_cannot_be_imported_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [base.EntryPoint("broken", "shuyan.no_such_module:app", base.GROUP),
               base.EntryPoint("statistics", "shuyan.federation.apps.regression:app", base.GROUP),
               base.EntryPoint("regression", "shuyan.federation.apps.regression:app", base.GROUP)]
    monkeypatch.setattr(base, "entry_points", lambda group: entries)
    assert list(base.built_in.__wrapped__()) == ["regression"]


@pytest.mark.parametrize("code", sorted(value for name, value in vars(node_problems).items() if name.isupper() and isinstance(value, str)))
def test_every_node_code_speaks_both_languages(code: str) -> None:
    assert get(code).code == code
    assert re.search(r"[一-鿿]", describe(code, {}, "zh"))
    assert not re.search(r"[一-鿿]", describe(code, {}, "en"))


def test_importing_the_package_imports_nothing_heavy() -> None:
    check = "import sys, shuyan.federation; sys.exit(any(m in sys.modules for m in ('numpy', 'flwr', 'duckdb')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
