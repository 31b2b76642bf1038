"""An app's project on a developer's machine: reading it, making a new one, turning it into a package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from shuyan.appkit.errors import APP_NAME_INVALID, PROJECT_EXISTS, PROJECT_INVALID, invalid
from shuyan.appkit.mock import Mock
from shuyan.appkit.package import name_is_free
from shuyan.problems import ProblemError

_DEPENDENCIES: Final = frozenset({"shuyan", "numpy", "pydantic", "flwr"})
_TEMPLATE: Final = (".gitignore", "README.md", "mock.toml", "pyproject.toml", "src/NAME/__init__.py", "src/NAME/_department.py",
                    "src/NAME/_params.py", "src/NAME/_result.py", "tests/test_app.py")


@dataclass(frozen=True)
class Project:
    """A project as read.

    Attributes:
        root: its folder.
        sources: text of each module by path: ``NAME/__init__.py``.
    """

    root: Path
    name: str
    version: str
    dependencies: tuple[str, ...]
    sources: Mapping[str, str]
    readme: str
    mock: Mock

    @classmethod
    def read(cls, root: Path) -> Project:
        """Read a project.

        Raises:
            ProblemError: ``project_invalid``, ``app_name_invalid``.
        """
        try:
            described = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            name, version = str(described["name"]).replace("-", "_"), str(described["version"])
            dependencies = tuple(str(item) for item in described.get("dependencies", ()))
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise _wrong("pyproject.toml 缺失，或没有 name 和 version", "pyproject.toml is missing, or has no name and version") from error
        if not name_is_free(name):
            raise ProblemError(APP_NAME_INVALID, field="name", name=name)
        package = root / "src" / name
        if not (package / "__init__.py").is_file():
            raise _wrong(f"缺少 src/{name}/__init__.py", f"src/{name}/__init__.py is missing")
        try:
            sources = {path.relative_to(root / "src").as_posix(): path.read_text(encoding="utf-8")
                       for path in sorted(package.rglob("*.py"))}
            readme = (root / "README.md").read_text(encoding="utf-8") if (root / "README.md").is_file() else ""
            mock = Mock.model_validate(tomllib.loads((root / "mock.toml").read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise _wrong("源码或 mock.toml 无法读取", "its source or mock.toml cannot be read") from error
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise _wrong(f"mock.toml 的 {where} 有误", f"{where} in mock.toml is wrong") from error
        return cls(root, name, version, dependencies, sources, readme, mock)

    def unknown_dependencies(self) -> list[str]:
        """Declared dependencies that an app may not have."""
        named = [re.split(r"[\s\[<>=!~;]", item, maxsplit=1)[0].lower() for item in self.dependencies]
        return [item for item in named if item not in _DEPENDENCIES]


def _wrong(reason_zh: str, reason_en: str) -> ProblemError:
    return ProblemError(PROJECT_INVALID, field="project", **invalid(reason_zh, reason_en))


def new_project(name: str, parent: Path) -> Path:
    """Make a working project in a new folder and return the folder.

    Raises:
        ProblemError: ``app_name_invalid``, ``project_exists``.
    """
    if not name_is_free(name):
        raise ProblemError(APP_NAME_INVALID, field="name", name=name)
    root = parent / name
    if root.exists():
        raise ProblemError(PROJECT_EXISTS, path=str(root))
    template = files("shuyan.appkit") / "template"
    for path in _TEMPLATE:
        target = root / path.replace("NAME", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (template / (path.lstrip(".").replace("src/NAME/", "source/").replace("/", "_") + ".txt")).read_text(encoding="utf-8")
        spelled = "".join(part.capitalize() for part in name.split("_"))
        target.write_text(text.replace("$NAME_CLASS", spelled).replace("$NAME", name), encoding="utf-8")
    return root
