"""The documentation cannot rot: reference pages are what the code says, and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "settings.md", "errors.md", "powers.md"])
def test_reference_pages_are_fresh(generator: ModuleType, page: str) -> None:
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == generator.PAGES[page](), f"docs/{page} is stale: run make docs"


def test_every_command_and_option_explains_itself_in_both_languages(generator: ModuleType) -> None:
    def check(english: dict[str, object], chinese: dict[str, object]) -> None:
        path = str(english["path"])
        assert english["help"], f"{path} has no help"
        assert re.search(r"[\u4e00-\u9fff]", str(chinese["help"])), f"{path} has no Chinese help"
        assert not re.search(r"[\u4e00-\u9fff]", str(english["help"])), f"{path} has Chinese in its English help"
        for here, there in zip(english["parameters"], chinese["parameters"], strict=True):  # type: ignore[call-overload]
            if here["names"].startswith("`-"):
                assert here["help"], f"{path} {here['names']} has no help"
                assert re.search(r"[\u4e00-\u9fff]", there["help"]), f"{path} {here['names']} has no Chinese help"
        for here, there in zip(english["children"], chinese["children"], strict=True):  # type: ignore[call-overload]
            check(here, there)

    for english, chinese in zip(generator.dump_in("en"), generator.dump_in("zh"), strict=True):
        check(english, chinese)


def test_every_setting_is_described() -> None:
    from marketplace.settings import Settings

    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_problem_speaks_both_languages_with_the_same_arguments(generator: ModuleType) -> None:
    for problem in generator.all_problems():
        assert re.search(r"[\u4e00-\u9fff]", problem.zh), problem.code
        assert not re.search(r"[\u4e00-\u9fff]", problem.en), problem.code
        assert 400 <= problem.status < 600, problem.code
        # an argument may itself come in two languages: reason_zh, reason_en
        zh, en = ({name.removesuffix(f"_{language}") for name in re.findall(r"{(\w+)", text)}
                  for language, text in (("zh", problem.zh), ("en", problem.en)))
        assert zh == en, f"{problem.code}: {zh ^ en}"


@pytest.mark.parametrize("page", sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_both_readmes_name_the_same_commands() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert set(re.findall(r"`(make [^`]+|shuyan [^`]+)`", english)) == set(re.findall(r"`(make [^`]+|shuyan [^`]+)`", chinese))
