"""The ``shuyan`` command as a user meets it: exit codes, languages, errors of one sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SHUYAN = Path(sys.executable).parent / "shuyan"


def run(tmp_path: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SHUYAN_", "LC_", "LANG"))}
    return subprocess.run([SHUYAN, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60,
                          env={**inherited, "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "120", **environment})


@pytest.fixture
def nowhere() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_help_speaks_both_languages(tmp_path: Path) -> None:
    chinese, english = run(tmp_path, "--lang", "zh", "--help"), run(tmp_path, "--help", LANG="en_GB.UTF-8")
    assert "核验存证" in chinese.stdout
    assert "Check evidence" in english.stdout
    assert chinese.returncode == english.returncode == 0


def test_without_an_address_it_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "resources")
    assert done.returncode == 4
    assert done.stderr == "No market address: run shuyan login, or set SHUYAN_URL.\n"
    assert done.stdout == ""


def test_an_unreachable_market_is_one_sentence(tmp_path: Path, nowhere: str) -> None:
    done = run(tmp_path, "--url", nowhere, "products", "list")
    assert done.returncode == 3
    assert nowhere in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_login_saves_nothing_that_does_not_work(tmp_path: Path, nowhere: str) -> None:
    done = run(tmp_path, "login", nowhere, "--client-id", "c", stdin="secret\n")
    assert done.returncode == 3
    assert not (tmp_path / "shuyan" / "profiles.json").exists()


@pytest.mark.parametrize("params", ["{", "[]", "@missing.json"])
def test_parameters_that_are_no_json_object_are_a_usage_error(tmp_path: Path, params: str, nowhere: str) -> None:
    done = run(tmp_path, "--url", nowhere, "jobs", "submit", "--grant", "g", "--app", "statistics", "--params", params)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_verify_needs_one_source(tmp_path: Path) -> None:
    assert run(tmp_path, "verify").returncode == 2


def test_verify_refuses_what_is_no_evidence(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps({"v": 1}))
    done = run(tmp_path, "verify", str(bundle))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", [None, "--since", "--trust-nodes", "--key"])
def test_verify_takes_no_binary_file_for_text(tmp_path: Path, option: str | None) -> None:
    bundle, binary = tmp_path / "bundle.json", tmp_path / "binary"
    bundle.write_text(json.dumps({"v": 1}))
    binary.write_bytes(b"\xff\xfe\x00")
    arguments = [str(binary)] if option is None else [str(bundle), option, str(binary)]
    done = run(tmp_path, "verify", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a text file" in done.stderr
    assert "Traceback" not in done.stderr
