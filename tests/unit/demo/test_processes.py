"""The supervisor: nothing it starts outlives it, and an early end is noticed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from demo.processes import (
    Processes,
    ProcessFailed,
    Service,
    free_ports,
    port_ready,
    port_taken,
    process_environment,
)

LISTEN = """
import signal, socket, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True: time.sleep(60)
"""


def service(tmp_path: Path, name: str, port: int, *options: str, code: str = LISTEN, within: float = 20) -> Service:
    return Service(name, (sys.executable, "-c", code, str(port), *options), tmp_path / f"{name}.log",
                   port_ready("127.0.0.1", port), process_environment({}), within)


def test_start_kill_restart_stop(tmp_path: Path) -> None:
    one, two = free_ports(2)
    with Processes() as processes:
        processes.start(service(tmp_path, "one", one), service(tmp_path, "two", two))
        assert port_taken("127.0.0.1", one)
        before = processes.pid("one")
        processes.kill("one")
        assert not processes.alive("one")
        assert not port_taken("127.0.0.1", one)
        processes.restart("one")
        assert processes.pid("one") != before
        processes.stop("one")
        assert processes.names == ["two"]
        assert processes.alive("two")
    assert not port_taken("127.0.0.1", two)


def test_one_that_does_not_listen_to_reason_is_killed_with_its_group(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes() as processes:
        processes.start(service(tmp_path, "deaf", port, "deaf"))
        pid = processes.pid("deaf")
        processes.stop("deaf", within=0.2)
        assert not psutil.pid_exists(pid)


def test_an_early_end_names_the_process_and_shows_its_last_words(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes() as processes:
        with pytest.raises(ProcessFailed) as raised:
            processes.start(service(tmp_path, "broken", port, code="print('no such table'); raise SystemExit(3)"))
        assert (raised.value.name, raised.value.exit_code, raised.value.last_lines) == ("broken", 3, ["no such table"])
        assert processes.names == []


def test_when_one_fails_to_start_those_started_with_it_are_stopped(tmp_path: Path) -> None:
    one, two = free_ports(2)
    with Processes() as processes:
        with pytest.raises(ProcessFailed, match="never"):
            processes.start(service(tmp_path, "fine", one),
                            service(tmp_path, "never", two, code="import time; time.sleep(60)", within=0.5))
        assert not port_taken("127.0.0.1", one)


def test_what_ended_by_itself_is_reported(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes() as processes:
        processes.start(service(tmp_path, "one", port))
        assert processes.ended() == []
        pid = processes.pid("one")
        os.kill(pid, signal.SIGKILL)
        psutil.Process(pid).wait(10)
        assert [failure.name for failure in processes.ended()] == ["one"]


def test_no_process_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from demo.processes import Processes, Service, port_ready, process_environment
        processes = Processes()
        processes.start(Service("child", (sys.executable, "-c", {LISTEN!r}, "{port}"), Path("child.log"),
                                port_ready("127.0.0.1", {port}), process_environment({{}})))
        print(processes.pid("child"), flush=True)
        sys.stdin.read()
    """)
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "PYTHONPATH": str(root)}) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        child.wait(10)
    assert not child.is_running()


def test_settings_of_the_shell_do_not_leak_into_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUYAN_DATA_DIR", "/somewhere/else")
    monkeypatch.setenv("SHUYAN_LANG", "zh")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = process_environment({"SHUYAN_WEB_PORT": "1"})
    assert {key: value for key, value in environment.items() if key.startswith("SHUYAN_")} == {
        "SHUYAN_LANG": "zh", "SHUYAN_WEB_PORT": "1"}
    assert "PYTHONDONTWRITEBYTECODE" not in environment
