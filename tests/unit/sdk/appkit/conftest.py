"""A developer's project and its package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shuyan.appkit import Package
from shuyan.appkit.check import build, check_project
from shuyan.appkit.project import Project, new_project


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    """Makes the template's project, with words in its files replaced: ``project(("_result.py", "old", "new"))``."""
    made = 0

    def make(*changes: tuple[str, str, str]) -> Project:
        nonlocal made
        made += 1
        root = new_project("visit_costs", tmp_path / str(made))
        for name, old, new in changes:
            (file,) = [path for path in root.rglob("*") if path.name == name]
            text = file.read_text(encoding="utf-8")
            assert old in text, f"{old!r} is not in {name}"
            file.write_text(text.replace(old, new), encoding="utf-8")
        return Project.read(root)

    return make


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The template's package."""
    read = Project.read(new_project("visit_costs", tmp_path_factory.mktemp("template")))
    return build(read, check_project(read))
