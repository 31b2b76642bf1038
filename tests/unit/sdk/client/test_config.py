"""Where the client looks for its market, and that secrets stay private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shuyan import ConfigurationError
from shuyan._config import Profile, profiles_path, resolve, save_profile, saved_profiles


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("URL", "CLIENT_ID", "CLIENT_SECRET_FILE", "PROFILE"):
        monkeypatch.delenv(f"SHUYAN_{name}", raising=False)


def test_a_saved_profile_is_private_and_found_again() -> None:
    saved = Profile("http://market", "client", "secret")
    save_profile("default", saved)
    assert stat.S_IMODE(profiles_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(profiles_path().parent.stat().st_mode) == 0o700
    assert resolve() == saved
    save_profile("default", None)
    assert saved_profiles() == {}


def test_a_profile_never_shows_its_secret() -> None:
    assert "hush" not in repr(Profile("http://market", "client", "hush"))


def test_arguments_come_before_the_environment_and_that_before_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_profile("default", Profile("http://saved", "saved", "s1"))
    (tmp_path / "secret").write_text("s2\n")
    monkeypatch.setenv("SHUYAN_URL", "http://environment/")
    monkeypatch.setenv("SHUYAN_CLIENT_ID", "environment")
    monkeypatch.setenv("SHUYAN_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    assert resolve() == Profile("http://environment", "environment", "s2")
    assert resolve("http://argument", "argument", "s3") == Profile("http://argument", "argument", "s3")


def test_the_credentials_of_one_market_are_never_sent_to_another() -> None:
    save_profile("default", Profile("http://ours", "client", "secret"))
    save_profile("named", Profile("http://ours", "client", "secret"))
    assert resolve("http://elsewhere") == Profile("http://elsewhere")
    assert resolve("http://elsewhere", profile="named") == Profile("http://elsewhere")


@pytest.mark.parametrize("arguments", [
    {}, {"profile": "nobody"}, {"url": "http://x", "client_id": "half"}, {"url": "http://x", "client_secret": "half"}])
def test_what_cannot_be_resolved_is_said(arguments: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        resolve(**arguments)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"profiles": {"default": {"url": 1, "nonsense": 2}}}'])
def test_a_broken_profiles_file_is_said(content: str) -> None:
    profiles_path().parent.mkdir(parents=True)
    profiles_path().write_text(content)
    with pytest.raises(ConfigurationError, match=r"profiles\.json"):
        resolve()


def test_an_empty_secret_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("\n")
    monkeypatch.setenv("SHUYAN_CLIENT_ID", "c")
    monkeypatch.setenv("SHUYAN_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match="secret"):
        resolve("http://x")
