"""The automatic look at a package: is it one, and what do the rules say? Its code is read here and never run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from marketplace.db import storable
from marketplace.programs import errors
from shuyan.problems import ProblemError

if TYPE_CHECKING:
    from shuyan.appkit.package import Package


MAX_SOURCE: Final = 512 * 1024
"""Characters of source that a person is asked to read, and this process to parse."""


@dataclass(frozen=True)
class Examined:
    """A package that is whole and well-formed.

    Attributes:
        findings: ``{path, line, rule, zh, en}`` by the rules that ``shuyan app check`` applies; empty: none.
    """

    package: Package
    findings: list[dict[str, Any]]


def examine(data: bytes) -> Examined:
    """Read a package and check its sources.

    Raises:
        ProblemError: ``package_invalid``; ``app_name_built_in``.
    """
    # Flower and what goes with it are loaded by the first package, not by every process
    from shuyan.appkit.errors import PACKAGE_INVALID, invalid
    from shuyan.appkit.package import read_package
    from shuyan.appkit.rules import check_sources, imports_of

    package = read_package(data)
    app = package.manifest.app
    if not all(map(storable, (app.title_zh, app.title_en))) or not 0 < len(app.title_zh) <= 200 or len(app.title_en) > 200:
        raise ProblemError(PACKAGE_INVALID, field="package", **invalid("标题为空、过长或含有不允许的字符",
                                                                      "a title is empty, too long or holds characters it may not"))
    if is_built_in(package.name):
        raise ProblemError(errors.APP_NAME_BUILT_IN, field="package", name=package.name)
    if sum(map(len, package.sources.values())) > MAX_SOURCE:
        raise ProblemError(PACKAGE_INVALID, field="package", **invalid("源码过长，无法审读", "it has more source than a person can review"))
    try:
        findings = [asdict(finding) for finding in check_sources(package.name, package.sources)]
        imported = imports_of(package.name, package.sources)
    except (RecursionError, MemoryError):
        raise ProblemError(PACKAGE_INVALID, field="package", **invalid("源码嵌套过深", "its source is nested too deeply")) from None
    if list(package.manifest.modules) != imported:
        findings.append({
            "path": "manifest.json", "line": 0, "rule": "import", "zh": "清单所列的模块与源码实际导入的不一致",
            "en": "the modules that the manifest lists are not those that the source imports"})
    return Examined(package, findings)


def is_built_in(name: str) -> bool:
    """Whether an app of that name comes with the product."""
    from shuyan.federation.apps import base

    return name in base.built_in()
