"""What the pages are made of: vendored files as released, nothing inline that a strict policy would refuse."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from marketplace import web

HERE = Path(web.__file__).parent
VENDOR = HERE / "static" / "vendor"
TEMPLATES = sorted((HERE / "templates").rglob("*.html"))
_ROW = re.compile(r"^\| (\S+) \| (\S+) \| (\S+) \| (\S+) \| ([^|]+) \| `([0-9a-f]{64})` \|$", re.MULTILINE)


def test_vendored_files_are_exactly_those_recorded() -> None:
    recorded = {row[0]: row[5] for row in _ROW.findall((VENDOR / "VENDORED.md").read_text())}
    assets = {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert set(recorded) == assets
    for name, digest in recorded.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_every_vendored_package_brings_its_licence() -> None:
    for row in _ROW.findall((VENDOR / "VENDORED.md").read_text()):
        for name in re.findall(r"\S+\.(?:LICENSE|NOTICE)", row[4].replace("(", " ").replace(")", " ").replace(",", " ")):
            assert (VENDOR / name).stat().st_size > 100


def test_assets_stay_small() -> None:
    assert sum(path.stat().st_size for path in VENDOR.iterdir()) < 2_500_000


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_nothing_inline(template: Path) -> None:
    whole = template.read_text()
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", whole, flags=re.DOTALL)
    assert not re.search(r"\sstyle\s*=", text), "inline style"
    assert not re.search(r"\son[a-z]+\s*=", text), "inline handler"
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "inline script"
    assert not re.search(r"<style", text), "inline style sheet"
    assert not re.search(r"""(?:src|href)=["']https?://""", text), "something from elsewhere"
    assert "| safe" not in whole, "unescaped text"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_form_that_changes_something_carries_its_token(template: Path) -> None:
    for form in re.findall(r"<form\b.*?</form>", template.read_text(), re.DOTALL):
        if 'method="post"' in form:
            assert "csrf()" in form


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_text_is_hard_coded(template: Path) -> None:
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<(?:script|pre)\b.*?</(?:script|pre)>|<!--.*?-->", " ",
                  template.read_text(), flags=re.DOTALL)
    left = re.sub(r"<[^>]*>", " ", text)
    assert not re.search(r"[A-Za-z]{2,}|[\u4e00-\u9fff]", left), re.findall(r"[A-Za-z]{2,}|[\u4e00-\u9fff]+", left)
