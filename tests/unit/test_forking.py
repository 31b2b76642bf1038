"""Commands that are forked behave as programs do."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from demo.commands import executable
from demo.processes import process_environment
from tests.factories import forking

STATUS = (executable("shuyan-node"), "--dir", "/nowhere", "status")


@pytest.mark.parametrize("command", [STATUS, (executable("shuyan-node"), "--no-such-option"), (executable("shuyan-market"), "--help"),
                                     (executable("shuyan-authority"), "--help")])
def test_the_same_is_said_with_the_same_code(command: tuple[str, ...]) -> None:
    environment = process_environment({})
    forked = forking.finished(command, environment=environment, timeout=60)
    program = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == (program.returncode, program.stdout, program.stderr)


def test_many_at_a_time_are_not_mixed_up(tmp_path: Path) -> None:
    def init(number: int) -> tuple[int, str]:
        done = forking.finished(("shuyan-node", "--dir", str(tmp_path / f"n{number}"), "init"), environment=process_environment({}), timeout=60)
        return done.returncode, done.stdout

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(init, range(8)))
    assert [code for code, _ in found] == [0] * 8
    assert all(f"n{number}" in said for number, (_, said) in enumerate(found))


def test_a_service_is_a_process_of_its_own_that_can_be_stopped(tmp_path: Path) -> None:
    environment = process_environment({"SHUYAN_DATA_DIR": str(tmp_path), "SHUYAN_NO_SUCH": "1"})
    with (tmp_path / "log").open("wb") as log:
        process = forking.start(("shuyan-market", "--help"), environment=environment, out=log.fileno(), err=log.fileno())
        assert process.wait(60) == 0
        assert forking.finished(("shuyan-market", "init"), environment=environment, timeout=60).returncode == 0
        process = forking.start(("shuyan-market", "serve"), environment=environment, out=log.fileno(), err=log.fileno())
    assert os.getsid(process.pid) == process.pid
    assert process.poll() is None
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    process.terminate()  # of what has ended nobody is told
