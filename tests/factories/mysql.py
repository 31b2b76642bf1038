"""A MySQL-compatible server of a test's own: MariaDB from the system's packages, on a Unix socket and a free local port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any


class Absent(Exception):
    """There is no server to start here; the text says why."""


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found:
            return found
    raise Absent("MariaDB's server is not installed here (Debian: apt-get install mariadb-server)")


class Server:
    """A fresh server in a temporary folder, started; ``socket`` is its socket's path, ``log`` has every statement.

    Raises:
        Absent: no binaries, or no account it could run as.
    """

    def __init__(self) -> None:
        install, server = _program("mariadb-install-db"), _program("mariadbd")
        self._client = _program("mariadb")
        self.folder = Path(tempfile.mkdtemp(prefix="shuyan-my-"))
        self.socket, self.log = self.folder / "s", self.folder / "statements.log"
        account: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            account = {"user": "mysql", "group": "mysql", "extra_groups": []}
            try:
                shutil.chown(self.folder, "mysql", "mysql")
            except LookupError:
                self.folder.rmdir()
                raise Absent("MariaDB cannot run as root and there is no mysql account here") from None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        quiet: dict[str, Any] = {"cwd": self.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **account}
        subprocess.run([install, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db",
                        "--auth-root-authentication-method=normal"], check=True, **quiet)
        self._process = subprocess.Popen(
            [server, "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.socket}",
             f"--port={self.port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}", "--general-log=1",
             f"--general-log-file={self.log}", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"], **quiet)
        while self._process.poll() is None and not self._answers():
            time.sleep(0.05)
        if self._process.returncode is not None:
            raise Absent("MariaDB does not start here")

    def _answers(self) -> bool:
        return subprocess.run([self._client, "--no-defaults", "-u", "root", "-S", self.socket, "-e", "SELECT 1"], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def run(self, statements: str, database: str = "") -> None:
        """Run statements as root."""
        subprocess.run([self._client, "--no-defaults", "-u", "root", "-S", self.socket, *([database] if database else [])],
                       input=statements, text=True, check=True)

    def stop(self) -> None:
        """Stop it at once."""
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        """Stop it and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
