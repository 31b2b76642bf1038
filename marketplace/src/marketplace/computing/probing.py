"""Trying a job without asking anybody: its app runs up to the first question it would put to the departments.

Where that only asks which departments are in each group, it is taken that all are, and the app runs up to the next.

What an app refuses before it asks is heard here, and what it would ask is known without anything being spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from marketplace.logging import get_logger
from shuyan.federation import ring
from shuyan.federation.apps import InstalledApp
from shuyan.federation.egress import check_question
from shuyan.federation.grid import SecureGrid, Sum
from shuyan.federation.privacy.noise import VectorNoise
from shuyan.federation.transport import OpenReply, OpenRequest, TaskReply, TaskRequest, Transport
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant

log = get_logger("jobs")

_PRESENT: Final = "present"


@dataclass(frozen=True)
class Probe:
    """What a job would ask first.

    Attributes:
        rounds: questions planned in all, at most; 0 if the app does not say before it has answers.
        message_type: the first question's.
        expect: elements of each vector that every department would answer with.
        further: the question after one of presence, with its elements.
        noise: by vector, what every department would add by itself; empty for exact answers.
    """

    rounds: int
    message_type: str
    expect: Mapping[str, int]
    noise: Mapping[str, VectorNoise]
    further: tuple[str, Mapping[str, int]] | None = None


class _Asked(BaseException):
    """The app has put its first question. Not an exception that an app would catch."""


class _Nobody(Transport):
    """Nobody is there."""

    def connected(self) -> set[str]:
        return set()

    def submit(self, request: TaskRequest) -> Future[TaskReply]:
        raise NotImplementedError

    def open(self, request: OpenRequest) -> Future[OpenReply]:
        raise NotImplementedError

    def cancel(self, run_id: str) -> None:
        """There is no run."""


class _ProbeGrid(SecureGrid):
    found: Probe | None = None

    def _ask(self, message_type: str, content: Any, expect: Mapping[str, int]) -> Sum:
        check_question(self._app.manifest, message_type, expect, max_values=self._grant.max_output_values,
                       participants=max(3, len(self._participants)))
        if self.found is not None:
            self.found = replace(self.found, rounds=self._rounds, further=(message_type, dict(expect)))
            raise _Asked
        self.found = Probe(self._rounds, message_type, dict(expect), self._noise(message_type, expect, self._participants))
        if set(expect) != {_PRESENT} or self._noise(message_type, expect, self._participants):
            raise _Asked
        specs = self._app.manifest.actions[message_type]
        everybody = np.full(expect[_PRESENT], float(len(self._participants)))
        words = ring.encode(everybody, specs[_PRESENT].limbs, specs[_PRESENT].fraction_bits)
        return Sum({_PRESENT: words}, specs, self._grant.minimum_cohort * len(self._participants), self._participants)


def probe(app: InstalledApp, grant: Grant, params: Mapping[str, Any], participants: Sequence[str]) -> Probe | None:
    """What a job would ask first; ``None`` if that cannot be told.

    Raises:
        ProblemError: the app refuses, or its question is out of bounds.
    """
    grid = _ProbeGrid(_Nobody(), grant=grant, grant_jws="", run_id="probe", app=app, params=params, participants=participants)
    try:
        app.load().serve(grid, grid.params, grid.progress)
    except _Asked:
        pass
    except ProblemError:
        raise
    except Exception as error:  # a mistake of the app's, which its run will tell of
        log.warning("app could not be probed", app=app.name, error=type(error).__name__)
    return grid.found
