"""Runs the product's own commands as a person would, and keeps what they said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from demo.processes import process_environment

Runner = Callable[..., subprocess.CompletedProcess[str]]
"""Runs a command to its end; see :func:`program`."""

BIN = Path(sys.executable).parent


class CommandFailed(Exception):
    """A command ended with an error.

    Attributes:
        command: what was run.
        exit_code: its exit code.
        output: what it said.
    """

    def __init__(self, command: tuple[str, ...], exit_code: int, output: str) -> None:
        self.command, self.exit_code, self.output = command, exit_code, output
        super().__init__(f"{' '.join(command)}\n{output.strip()} (exit code {exit_code})")


def executable(name: str) -> str:
    """The installed command ``name`` of the environment that runs us."""
    return str(BIN / name)


def program(command: Sequence[str], *, environment: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises :class:`subprocess.TimeoutExpired`."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)


def run(name: str, *arguments: str | os.PathLike[str], environment: Mapping[str, str] | None = None,
        timeout: float = 120.0, runner: Runner = program) -> str:
    """Run a command and return its output.

    Args:
        runner: how.

    Raises:
        CommandFailed: its exit code was not 0, or it took too long.
    """
    command = (name, *(os.fspath(argument) for argument in arguments))
    try:
        result = runner((executable(name), *command[1:]), environment=process_environment(environment or {}), timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(command, -1, f"no end after {timeout:g} s") from error
    if result.returncode:
        raise CommandFailed(command, result.returncode, result.stderr or result.stdout)
    return result.stdout
