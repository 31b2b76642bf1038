"""The installer: pinned to what the lock file says, quiet when nothing changed, one sentence when it cannot go on."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its checkout being an empty folder."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / ".shuyan-stamp")
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "SHUYAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_the_lock_file_names_public_addresses_only() -> None:
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}


def test_the_pinned_installer_is_the_locked_one(bootstrap: ModuleType) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (uv,) = [package for package in lock["package"] if package["name"] == "uv"]
    assert uv["version"] == bootstrap.UV_VERSION
    locked = {wheel["url"].rsplit("/", 1)[-1]: wheel["hash"].removeprefix("sha256:") for wheel in uv["wheels"]}
    assert {name: locked[name] for name, _ in bootstrap.UV_WHEELS.values()} == dict(bootstrap.UV_WHEELS.values())


def test_it_needs_nothing_but_the_standard_library() -> None:
    source = (ROOT / "scripts" / "bootstrap.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    assert imported <= sys.stdlib_module_names


def test_current_means_the_same_python_lock_and_projects(bootstrap: ModuleType, tmp_path: Path) -> None:
    assert not bootstrap.is_current()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    bootstrap.STAMP.write_text(bootstrap.fingerprint())
    assert bootstrap.is_current()
    (tmp_path / "pyproject.toml").write_text("changed")
    assert not bootstrap.is_current()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index in a folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def offer(tmp_path: Path, bootstrap: ModuleType, content: bytes) -> None:
    """Put a ``uv`` with ``content`` into the index."""
    name, _ = bootstrap.UV_WHEELS["x86_64"]
    page = tmp_path / "index" / "uv"
    page.mkdir()
    with zipfile.ZipFile(page / name, "w") as archive:
        archive.writestr(f"uv-{bootstrap.UV_VERSION}.data/scripts/uv", content)
    (page / "index.html").write_text(f'<a href="other.whl">x</a><a href="{name}#sha256=abc">{name}</a>')


def prepare(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    monkeypatch.setenv("UV_INDEX_URL", index)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(bootstrap, "fetch_with_pip", lambda _: None)


def test_without_pip_the_installer_comes_from_the_configured_index(
    bootstrap: ModuleType, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(tmp_path, bootstrap, b"#!/bin/sh\necho uv 0.12.24\n")
    prepare(bootstrap, monkeypatch, index)
    name, _ = bootstrap.UV_WHEELS["x86_64"]
    wheel = (tmp_path / "index" / "uv" / name).read_bytes()
    monkeypatch.setitem(bootstrap.UV_WHEELS, "x86_64", (name, hashlib.sha256(wheel).hexdigest()))
    uv = bootstrap.find_uv()
    assert subprocess.run([uv], capture_output=True, text=True, check=True).stdout == "uv 0.12.24\n"
    assert bootstrap.find_uv() == uv


def test_a_wheel_with_another_checksum_is_thrown_away(
    bootstrap: ModuleType, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(tmp_path, bootstrap, b"something else")
    prepare(bootstrap, monkeypatch, index)
    with pytest.raises(bootstrap.Refusal, match="checksum"):
        bootstrap.find_uv()
    assert not bootstrap.TOOLS.exists()


def test_no_network_is_one_sentence(bootstrap: ModuleType, index: str, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    prepare(bootstrap, monkeypatch, index)  # there is no page for uv
    assert bootstrap.main() == 1
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert index in printed.err
    assert not bootstrap.VENV.exists()


def test_a_full_disk_is_one_sentence(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_BYTES", 2**62)
    assert bootstrap.main() == 1
    assert "Not enough disk" in capsys.readouterr().err
    assert not bootstrap.VENV.exists()


def test_a_failed_installation_leaves_nothing(bootstrap: ModuleType, tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nmkdir -p "$UV_PROJECT_ENVIRONMENT/bin"\necho "error: no route" >&2\nexit 2\n')
    uv.chmod(0o755)
    with pytest.raises(bootstrap.Refusal, match="no route"):
        bootstrap.install(str(uv))
    assert not bootstrap.VENV.exists()
