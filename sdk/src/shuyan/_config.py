"""Where the market is and who asks: arguments, environment, or a saved profile, in this order.

Profiles live in ``$XDG_CONFIG_HOME/shuyan/profiles.json`` (``~/.config`` by default), readable by their owner only.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from shuyan._errors import ConfigurationError
from shuyan._text import t

DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class Profile:
    """An address, and who asks there: a program by its client credentials, a person by the tokens of their sign-in
    (:mod:`shuyan._login`, by its name), or nobody, for public reading."""

    url: str
    client_id: str = ""
    client_secret: str = ""
    login: str = ""

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r}, client_id={self.client_id!r}, login={self.login!r}, client_secret=…)"


def profiles_path() -> Path:
    """The file of saved profiles."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "shuyan" / "profiles.json"


def saved_profiles() -> dict[str, Profile]:
    """Every saved profile by name.

    Raises:
        ConfigurationError: the file is there and cannot be understood.
    """
    path = profiles_path()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: Profile(**entry) for name, entry in content["profiles"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(t("无法读取配置文件 {path}，请修正或删除它。", "Cannot read {path}; mend or remove it.",
                                   path=path)) from error


def save_profile(name: str, profile: Profile | None) -> None:
    """Save a profile, or forget it with ``None``. The file is replaced as a whole, mode 0600."""
    path = profiles_path()
    profiles = saved_profiles()
    if profile is None:
        profiles.pop(name, None)
    else:
        profiles[name] = profile
    write_private(path, json.dumps({"v": 1, "profiles": {key: asdict(value) for key, value in sorted(profiles.items())}},
                                   ensure_ascii=False, indent=2))


def private_folder(folder: Path) -> None:
    """Make a folder of ours that nobody but its owner can look into; ``mkdir`` gives its mode to the last one only."""
    for one in dict.fromkeys((profiles_path().parent, folder)):
        one.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; nobody but its owner can read it, at any moment."""
    private_folder(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def resolve(url: str | None = None, client_id: str | None = None, client_secret: str | None = None,
            profile: str | None = None) -> Profile:
    """The address and credentials to use.

    Credentials come from one place only: those of another market's profile are never sent to ``url``.

    Raises:
        ConfigurationError: no address anywhere, a profile that does not exist, or half of a pair of credentials.
    """
    if (client_id is None) != (client_secret is None):
        raise ConfigurationError(t("client_id 和 client_secret 须同时给出。", "Give client_id and client_secret together."))
    environment = os.environ
    name = profile or environment.get("SHUYAN_PROFILE")
    stored = Profile("")
    if name or (url is None and not environment.get("SHUYAN_URL")):
        profiles = saved_profiles()
        if name and name not in profiles:
            raise ConfigurationError(t("没有名为“{name}”的登录配置，请先运行 shuyan login。",
                                       "There is no profile “{name}”; run shuyan login first.", name=name))
        stored = profiles.get(name or DEFAULT_PROFILE, stored)
    address = (url or environment.get("SHUYAN_URL") or stored.url).rstrip("/")
    if not address:
        raise ConfigurationError(t("不知道市场地址：请运行 shuyan login，或设置 SHUYAN_URL。",
                                   "No market address: run shuyan login, or set SHUYAN_URL."))
    if client_id is not None and client_secret is not None:
        return Profile(address, client_id, client_secret)
    if environment.get("SHUYAN_CLIENT_ID"):
        return Profile(address, environment["SHUYAN_CLIENT_ID"], _secret_from_environment())
    return stored if stored.url == address else Profile(address)


def _secret_from_environment() -> str:
    path = os.environ.get("SHUYAN_CLIENT_SECRET_FILE")
    if not path:
        raise ConfigurationError(t("设置了 SHUYAN_CLIENT_ID，还需用 SHUYAN_CLIENT_SECRET_FILE 指定密钥文件。",
                                   "SHUYAN_CLIENT_ID is set: name the file with its secret in SHUYAN_CLIENT_SECRET_FILE."))
    return read_secret(Path(path))


def read_secret(path: Path) -> str:
    """The secret in a file, without its line end.

    Raises:
        ConfigurationError: the file cannot be read or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(t("无法读取密钥文件 {path}。", "Cannot read the secret file {path}.", path=path)) from error
    if not secret:
        raise ConfigurationError(t("密钥文件 {path} 是空的。", "The secret file {path} is empty.", path=path))
    return secret
