"""Federated computations and what they run on: apps, nodes, jobs, and the reviews of what comes out."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from pydantic import Field, PrivateAttr

from shuyan._collection import Collection
from shuyan._errors import JobFailed, ShuyanError
from shuyan._http import Api
from shuyan._models import App, Explanation, LogLine, Node, Record, Review
from shuyan._results import Model, Result
from shuyan._text import t

DONE = "completed"
ENDED = frozenset({DONE, "failed", "cancelled", "rejected"})


class Job(Record):
    """A federated computation, and what can be done with it."""

    id: str
    organisation_id: str
    grant_id: str
    title: str = ""
    app_name: str
    status: str
    round: int = 0
    rounds: int = 0
    error_code: str | None = None
    reused_from: str | None = None
    """The job whose released result this one has; nothing was computed for it."""
    waiting_for: dict[str, str] = Field(default_factory=dict)
    """While ``awaiting_approval``: node id → number of the approval its department was asked for."""
    _api: Api = PrivateAttr()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to this job."""
        return self.status in ENDED

    def refresh(self) -> Job:
        """Read the job's state again, in place."""
        self._take(self._api.get(f"/jobs/{self.id}"))
        return self

    def _take(self, data: dict[str, Any]) -> None:
        fresh = Job.model_validate(data)
        for name in type(self).model_fields:
            setattr(self, name, getattr(fresh, name))
        for name, value in (fresh.model_extra or {}).items():
            setattr(self, name, value)

    def log(self, after: int = 0) -> list[LogLine]:
        """The log lines with a sequence number above ``after``."""
        answer = self._api.get(f"/jobs/{self.id}/log", after=after)
        return [LogLine.model_validate(line) for line in answer["items"]]

    def cancel(self) -> Job:
        """Ask for the job to stop; :meth:`wait` sees it end."""
        self._api.post(f"/jobs/{self.id}/cancel", once=True)
        return self.refresh()

    def wait(self, *, timeout: float | None = None, progress: Callable[[Job, list[LogLine]], object] | None = None,
             poll: float = 0.25, until: Iterable[str] = ENDED) -> Job:
        """Wait until the job's status is one of ``until`` or it has ended.

        A job that is ``awaiting_approval`` is waited for too: it goes on once the departments of :attr:`waiting_for`
        have approved, which takes as long as it takes them.

        Args:
            timeout: seconds to wait at most; ``None`` waits for ever.
            progress: called with the job and its new log lines whenever something happened.
            poll: seconds between two looks.

        Raises:
            TimeoutError: the time is over; the job itself goes on.
        """
        enough = ENDED | frozenset(until)
        end = None if timeout is None else time.monotonic() + timeout
        seen, before = 0, ""
        while True:
            self.refresh()
            if progress is not None:
                lines = self.log(seen)
                seen = max([seen, *(line.sequence for line in lines)])
                state = f"{self.status} {self.round}/{self.rounds}"
                if lines or state != before:
                    progress(self, lines)
                before = state
            if self.status in enough:
                return self
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(t("任务 {id} 在 {n:g} 秒内没有结束，当前状态：{status}。",
                                     "Job {id} did not end within {n:g} s; its status is {status}.",
                                     id=self.id, n=timeout, status=self.status))
            time.sleep(poll)

    def result(self) -> dict[str, Any]:
        """The approved result.

        Raises:
            JobFailed: the job ended without one.
            ProblemResponse: it has not been approved yet.
        """
        if self.status in ENDED - {DONE}:
            reason = getattr(self, "error", None)
            text = reason.get("detail") if isinstance(reason, dict) else reason
            raise JobFailed(text or t("任务 {id} 没有产生结果（{status}）。", "Job {id} gave no result ({status}).",
                                      id=self.id, status=self.status),
                            job_id=self.id, status=self.status, code=self.error_code)
        answer: dict[str, Any] = self._api.get(f"/jobs/{self.id}/result")
        return answer

    def card(self) -> dict[str, Any]:
        """The model card: what an approved model is for, what it was trained on, how well it does, what is known of its risks.

        ``sections`` has the same to read, in both languages.

        Raises:
            ProblemResponse: it has not been approved yet, or is no model (``card_of_models_only``).
        """
        answer: dict[str, Any] = self._api.get(f"/jobs/{self.id}/card")
        return answer

    def released(self) -> Result:
        """:meth:`result` as rows, Arrow, pandas, or a :class:`Model` that scores."""
        answer = self.result()
        return (Model if answer["content"].get("kind") == "model" else Result)(self, answer)


Progress = Callable[["Job", list[LogLine]], object]

FAMILIES: Final[Mapping[str, str]] = {
    "linear": "regression", "logistic": "regression", "multinomial": "regression", "poisson": "regression",
}
"""Families of models that are a parameter of an app; any other name is an app's own."""


def training(family: str, features: list[str], target: str | None, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The app of a family of models, and its parameters."""
    body: dict[str, Any] = {"features": features, **({"target": target} if target is not None else {}), **params}
    return (FAMILIES[family], {"family": family, **body}) if family in FAMILIES else (family, body)


def finish(job: Job, *, timeout: float | None = None, progress: Progress | None = None) -> Result:
    """Wait for a job and take its released result; Ctrl-C cancels it as far as it still can be.

    Raises:
        JobFailed: it ended without one.
        TimeoutError: the time is over; the job itself goes on.
    """
    try:
        job.wait(timeout=timeout, progress=progress)
    except KeyboardInterrupt:
        with suppress(ShuyanError):
            job.cancel()
        raise
    return job.released()


class Apps(Collection[App]):
    """The federated apps that this market runs; :meth:`get` takes a name."""

    _path, _kind = "/apps", App

    def __call__(self) -> builtins.list[App]:
        """All of them."""
        return [*self.list()]


class Nodes(Collection[Node]):
    """The departments' nodes."""

    _path, _kind = "/nodes", Node

    def invite(self, organisation_id: str, name: str) -> str:
        """An invitation token for a new node; it works once. For the operator."""
        return str(self._api.post("/nodes/invitations", {"organisation_id": organisation_id, "name": name})["token"])

    def revoke(self, id: str) -> Node:
        """Cut a node off for good. For the operator."""
        return self._do(id, "revoke")


class Jobs(Collection[Job]):
    """Federated computations."""

    _path, _kind = "/jobs", Job

    def submit(self, grant_id: str, app: str, params: Mapping[str, Any], *, title: str = "", key: str | None = None,
               fresh: bool = False, sandbox_run: str = "") -> Job:
        """Submit a job under a grant; the same ``key`` (idempotency key) gives the same job.

        A question that was answered and released before is not computed again: the job is completed at once
        (:attr:`Job.reused_from`), unless it is to be ``fresh``.

        Args:
            sandbox_run: the run in the scenario's sandbox that this job is, unchanged. Where the market asks for one and none
                is named, any run of the same job that succeeded will do.
        """
        body = {"grant_id": grant_id, "app": app, "params": dict(params), "title": title,
                **({"fresh": True} if fresh else {}), **({"sandbox_run": sandbox_run} if sandbox_run else {})}
        return self._record(self._api.post(self._path, body, key=key, once=True))

    def explain(self, grant_id: str, app: str, params: Mapping[str, Any]) -> Explanation:
        """What a job would do; nothing is asked of a department and nothing spent."""
        return Explanation.model_validate(self._api.post(
            f"{self._path}/explain", {"grant_id": grant_id, "app": app, "params": dict(params)}))


class Reviews(Collection[Review]):
    """Egress reviews: whether a job's output may leave the domain."""

    _path, _kind = "/egress-reviews", Review

    def approve(self, id: str, note: str = "", *, override: str = "") -> Review:
        """Agree that an output leaves the domain; it does once everybody who is asked has agreed.

        Args:
            override: why, where findings of its report stand against it.
        """
        return self._do(id, "approve", {"note": note, **({"override": override} if override else {})})

    def reject(self, id: str, note: str) -> Review:
        return self._do(id, "reject", {"note": note})
