"""``docs/policy-coverage.md`` stays true: every file, name and test that it points at is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy-coverage.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| clause", "| ---"))]
PACKAGES = {"marketplace": "marketplace/src", "node_agent": "node_agent/src", "shuyan": "sdk/src", "shuyan_protos": "protos/src"}


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split(" | ")]


@cache
def _names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _path(text: str) -> Path:
    direct = ROOT / text
    return direct if direct.exists() else ROOT / PACKAGES.get(text.split("/", 1)[0], "") / text


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_references_are_true(row: str) -> None:
    cells = _cells(row)
    how, where = cells[2], cells[3] if len(cells) > 3 else ""
    kind = re.match(r"(enforced|supported|outside)", how)
    assert kind, row
    references = re.findall(r"`([^`]+)`", where)
    if kind.group(1) == "outside":
        assert re.search(r"outside[^:]*: \S", how), f"no reason: {row}"
    else:
        assert references, f"no reference: {row}"
        assert re.sub(r"`[^`]+`[, ]*", "", where).strip(" |") == "", row
    if kind.group(1) == "enforced":
        assert any(one.startswith(("marketplace", "node_agent", "shuyan", "tests", "sdk", "docs")) for one in references)
    for reference in references:
        name, _colons, member = reference.partition("::") if "::" in reference else reference.partition(":")
        path = _path(name)
        assert path.is_file(), reference
        if member:
            assert member in _names(path), reference


def test_every_document_is_there() -> None:
    for city in ("Guizhou", "Liuzhou", "Yinchuan", "Shuozhou", "Guangxi"):
        assert city in PAGE
    assert len(ROWS) > 90
