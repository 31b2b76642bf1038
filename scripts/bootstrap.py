"""Install everything the checkout needs into the checkout: ``uv`` into ``.tools/``, the packages into ``.venv/``.

Needs Python 3.11 or newer and nothing else: neither pip nor the venv module. Does nothing when nothing changed, so
that ``make demo`` starts at once the second time. Every failure is one sentence, and leaves no half-made ``.venv``.

Without ``uv`` on the PATH a pinned wheel of it is fetched from the package index that pip or uv is configured for
(``UV_DEFAULT_INDEX``, ``UV_INDEX_URL``, ``PIP_INDEX_URL``; PyPI otherwise) and checked against the SHA-256 below.
"""

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urldefrag, urljoin
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
VENV, TOOLS = ROOT / ".venv", ROOT / ".tools"
STAMP = VENV / ".shuyan-stamp"
UV_VERSION, UV_MINIMUM = "0.12.24", (0, 12)
NEEDED_BYTES = 2 * 1024**3
# The same hashes stand in uv.lock; a test compares them.
UV_WHEELS = {
    "x86_64": ("uv-0.12.24-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
               "e47005957dca320272ad68960b591b854b6bf0c3288368efb096d9ccd06b8404"),
    "aarch64": ("uv-0.12.24-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
                "94c9ed22c1b5d6861a72639e23c5707bb07a354b67ec0462e9a0169a9665b5fd"),
}


class Refusal(Exception):
    """A reason why nothing can be installed, in both languages."""

    def __init__(self, zh, en):
        self.zh, self.en = zh, en
        super().__init__(en)


def say(zh, en, stream=sys.stdout):
    wanted = next((os.environ[name] for name in ("SHUYAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
                   if os.environ.get(name)), "")
    print(zh if wanted.lower().startswith("zh") else en, file=stream, flush=True)


def fingerprint():
    """What the installation depends on: Python, the lock file, every pyproject.toml and this script."""
    digest = hashlib.sha256(f"{sys.version}\0{ROOT}\0{UV_VERSION}".encode())
    for path in (ROOT / "uv.lock", ROOT / "pyproject.toml", *sorted(ROOT.glob("*/pyproject.toml"))):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def is_current():
    try:
        return STAMP.read_text() == fingerprint() and (VENV / "bin" / "python").exists()
    except OSError:
        return False


def check_machine():
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells an older Python so
        raise Refusal(f"需要 Python 3.11 或更新版本，当前是 {platform.python_version()}（{sys.executable}）。"
                      "请安装后重试，或用 make PYTHON=/路径/python3.11 … 指定。",
                      f"Python 3.11 or newer is needed; this is {platform.python_version()} ({sys.executable}). "
                      "Install one, or name it: make PYTHON=/path/to/python3.11 …")
    if not os.access(ROOT, os.W_OK):
        raise Refusal(f"没有写入 {ROOT} 的权限。", f"{ROOT} is not writable for this user.")
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise Refusal(f"磁盘空间不足：{ROOT} 所在磁盘剩余 {free / 1024**3:.1f} GB，安装需要约 2 GB。",
                      f"Not enough disk: {free / 1024**3:.1f} GB free at {ROOT}, about 2 GB are needed.")


def version_of(uv):
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return tuple(int(part) for part in re.findall(r"\d+", answer)[:2])
    except (OSError, subprocess.SubprocessError, ValueError):
        return (0, 0)


def find_uv():
    """A fitting ``uv``: of the PATH, of an earlier run, or fetched now."""
    installed = TOOLS / f"uv-{UV_VERSION}"
    for candidate in (shutil.which("uv"), str(installed)):
        if candidate and version_of(candidate) >= UV_MINIMUM:
            return candidate
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform != "linux" or machine not in UV_WHEELS:
        raise Refusal(f"没有适用于 {sys.platform}/{machine} 的 uv 安装包，请先安装 uv {UV_VERSION} 并放入 PATH。",
                      f"There is no pinned uv for {sys.platform}/{machine}: install uv {UV_VERSION} and put it on the PATH.")
    name, sha256 = UV_WHEELS[machine]
    say(f"正在下载安装工具 uv {UV_VERSION} …", f"Fetching the installer uv {UV_VERSION} …")
    wheel = fetch_with_pip(name) or fetch_from_index(name)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        raise Refusal(f"下载的 {name} 校验和不符，已丢弃。请检查软件源是否可信。",
                      f"The downloaded {name} does not have the expected checksum and was thrown away.")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        binary = archive.read(f"uv-{UV_VERSION}.data/scripts/uv")
    TOOLS.mkdir(exist_ok=True)
    partial = TOOLS / f".uv-{os.getpid()}"
    partial.write_bytes(binary)
    partial.chmod(0o755)
    partial.rename(installed)
    return str(installed)


def fetch_with_pip(name):
    """The wheel through pip, which knows its own mirrors, proxies and certificates; ``None`` if it cannot."""
    folder = TOOLS / f".pip-{os.getpid()}"
    tags = [part for tag in name.removesuffix(".whl").split("-")[-1].split(".") for part in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               *tags, "--dest", str(folder), f"uv=={UV_VERSION}"]
    try:
        subprocess.run(command, capture_output=True, timeout=300, check=True)
        return (folder / name).read_bytes()
    except (OSError, subprocess.SubprocessError):
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Links(HTMLParser):
    """The addresses on a PEP 503 index page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if tag == "a" and key == "href" and value]


def fetch_from_index(name):
    environment = (os.environ.get(key, "").strip() for key in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))
    index = next((address for address in environment if address), "https://pypi.org/simple").rstrip("/")
    page = f"{index}/uv/"
    try:
        links = _Links()
        links.feed(read(page).decode("utf-8", "replace"))
        for address in links.addresses:
            target = urldefrag(urljoin(page, address)).url
            if target.rsplit("/", 1)[-1] == name:
                return read(target)
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Refusal(f"无法从软件源 {index} 下载：{reason}。请检查网络或代理设置后重试。",
                      f"Cannot download from {index}: {reason}. Check the network or the proxy settings and try again.") from None
    raise Refusal(f"软件源 {index} 中没有 {name}。", f"The package index {index} does not have {name}.")


def read(address):
    import ssl

    context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or None)
    with urlopen(Request(address, headers={"Accept": "text/html, */*"}), timeout=60, context=context) as answer:  # noqa: S310
        return answer.read()


def install(uv):
    """``uv sync`` from the lock file, with bytecode: without it Flower starts several times slower."""
    fresh = not VENV.exists()
    STAMP.unlink(missing_ok=True)
    say("正在把依赖安装到 .venv（首次约需下载 500 MB）…",
        "Installing the packages into .venv (about 500 MB to download the first time) …")
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_PROJECT_ENVIRONMENT": str(VENV)}
    environment.pop("VIRTUAL_ENV", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if environment.get("PIP_CERT"):
        environment.setdefault("SSL_CERT_FILE", environment["PIP_CERT"])
    command = [uv, "sync", "--frozen", "--compile-bytecode", "--quiet", "--project", str(ROOT),
               "--python", sys.executable]
    done = False
    try:
        result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        done = result.returncode == 0
    finally:
        if fresh and not done:
            shutil.rmtree(VENV, ignore_errors=True)
    if not done:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        reason = ": ".join(lines[:1] + causes[-1:]) or f"uv {result.returncode}"
        raise Refusal(f"安装依赖失败：{reason}。请检查网络和磁盘后重试，尚未安装任何内容。" if fresh else
                      f"更新依赖失败：{reason}。请检查网络和磁盘后重试。",
                      f"Installing the packages failed: {reason}. Check network and disk and try again"
                      + ("; nothing was left behind." if fresh else "."))
    STAMP.write_text(fingerprint())


def main():
    """Exit code 0 when the checkout is ready to run, 1 with one sentence when it cannot be."""
    if sys.version_info >= (3, 11) and is_current():
        return 0
    try:
        check_machine()
        install(find_uv())
    except Refusal as refusal:
        say(refusal.zh, refusal.en, sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("已中断。", "Interrupted.", sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
