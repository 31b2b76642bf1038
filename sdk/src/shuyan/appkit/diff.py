"""What changed between two versions of an app, for the person who reviews the second."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from shuyan.appkit.package import Package


@dataclass(frozen=True)
class FileChange:
    """One file.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        diff: the unified diff.
    """

    path: str
    kind: str
    diff: str


@dataclass(frozen=True)
class ManifestChange:
    """One declaration; ``old`` or ``new`` is None where it is new or gone. ``where`` reads ``app.actions.query.tally.sum.bound``."""

    where: str
    old: Any
    new: Any


@dataclass(frozen=True)
class PackageDiff:
    """All changes; declarations first, because they are what departments agree to."""

    declarations: tuple[ManifestChange, ...]
    files: tuple[FileChange, ...]

    @property
    def empty(self) -> bool:
        return not self.declarations and not self.files

    def text(self) -> str:
        """For a terminal or a page."""
        lines = [f"{change.where}: {_shown(change.old)} → {_shown(change.new)}" for change in self.declarations]
        return "\n".join([*lines, *([""] if lines and self.files else []), *(change.diff for change in self.files)])


def diff_packages(old: Package | None, new: Package) -> PackageDiff:
    """From ``old``, or from nothing, to ``new``."""
    before: dict[str, Any] = {} if old is None else _flat(_declared(old))
    after = _flat(_declared(new))
    declarations = [ManifestChange(where, before.get(where), after.get(where))
                    for where in sorted({*before, *after}) if before.get(where) != after.get(where)]
    files = []
    theirs, ours = ({} if old is None else _files(old)), _files(new)
    for path in sorted({*theirs, *ours}):
        first, second = theirs.get(path), ours.get(path)
        if first == second:
            continue
        kind = "added" if first is None else "removed" if second is None else "changed"
        diff = "".join(difflib.unified_diff(_lines(first), _lines(second), f"a/{path}", f"b/{path}"))
        files.append(FileChange(path, kind, diff))
    return PackageDiff(tuple(declarations), tuple(files))


def _declared(package: Package) -> dict[str, Any]:
    return package.manifest.model_dump(mode="json", exclude={"files", "made_with"})


def _files(package: Package) -> dict[str, str]:
    return {**package.sources, **({"README.md": package.readme} if package.readme else {})}


def _lines(text: str | None) -> list[str]:
    lines = (text or "").splitlines(keepends=True)
    return [line if line.endswith("\n") else line + "\n" for line in lines]


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {key: inner for name, item in value.items() for key, inner in _flat(item, f"{where}.{name}" if where else name).items()}
    if isinstance(value, list) and value:
        return {key: inner for place, item in enumerate(value) for key, inner in _flat(item, f"{where}[{place}]").items()}
    return {where: value}


def _shown(value: Any) -> str:
    return "—" if value is None else json.dumps(value, ensure_ascii=False)
