"""The market as Python objects: :func:`connect` gives a :class:`Market`, whose parts list, get and do things."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import Field, PrivateAttr, ValidationError

from shuyan._agreements import Agreements, Files
from shuyan._audit import Audit
from shuyan._authorisation import Demands, Grants, Opinions, Permission, Scenarios, Sectors
from shuyan._catalogue import Departments, Elements, NegativeList, QualityObjections, Resources
from shuyan._clients import Clients
from shuyan._collection import Collection
from shuyan._config import resolve
from shuyan._errors import ConfigurationError, JobFailed, ShuyanError
from shuyan._http import Api, not_understood
from shuyan._members import Members
from shuyan._models import (
    App,
    Budget,
    CardPayment,
    Entitlement,
    Explanation,
    LogLine,
    Node,
    Order,
    Record,
    Review,
)
from shuyan._notices import Messages, Outbox, PublicNotices, WorkItem, waiting
from shuyan._products import ProductLives
from shuyan._programs import Programs
from shuyan._registration import Credit, Ownership, Partners, Registrations
from shuyan._results import Model, Result
from shuyan._sandboxes import MarginalsOf, Sandboxes
from shuyan._selections import Selections
from shuyan._text import t

if TYPE_CHECKING:
    from shuyan._sandbox import Sandbox

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


class Product(Record):
    """A product on the market, and calling it."""

    id: str
    organisation_id: str
    tier: int
    sector: str
    delivery_form: str
    title_zh: str
    title_en: str
    status: str
    _api: Api = PrivateAttr()

    def call(self, *, features: dict[str, Any] | None = None, group: dict[str, str] | None = None,
             key: str | None = None) -> dict[str, Any]:
        """Call the product under the caller's entitlement; counted once, also when retried.

        Args:
            features: for a model, the values to score.
            group: for a table, the one group to return; the whole table without it.
            key: idempotency key; a new one without it.
        """
        return call_product(self._api, self.id, features=features, group=group, key=key)


def call_product(api: Api, id: str, *, features: dict[str, Any] | None, group: dict[str, str] | None,
                 key: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {name: value for name, value in (("features", features), ("group", group)) if value is not None}
    answer: dict[str, Any] = api.post(f"/products/{quote(id, safe='')}/calls", body, key=key, once=True)
    return answer


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


def _id(grant: str | Permission) -> str:
    return grant if isinstance(grant, str) else grant.id


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


class Products(Collection[Product], ProductLives):
    """Products, from draft to sale; tests, reviews and retirement are in :class:`shuyan._products.ProductLives`."""

    _path, _kind = "/products", Product

    def publish(self, id: str) -> Product:
        """Put the newest registered version on the storefront."""
        return self._do(id, "list")

    def suspend(self, id: str, reason: str = "") -> Product:
        """Take the product off the storefront and stop its delivery; those who oversee the market say why."""
        return self._do(id, "suspend", {"reason": reason})

    def create(self, *, title_zh: str, title_en: str, sector: str, delivery_form: str, tier: int = 2,
               **texts: str) -> Product:
        """Draft a product; ``texts`` are ``summary_…``, ``description_…`` and ``terms_…`` with ``zh`` and ``en``."""
        return self._record(self._api.post(self._path, {
            "title_zh": title_zh, "title_en": title_en, "sector": sector, "delivery_form": delivery_form, "tier": tier,
            **texts}))

    def card(self, id: str) -> dict[str, Any]:
        """The model card of a product that delivers a model, as for :meth:`Job.card`.

        Raises:
            ProblemResponse: it delivers no model (``card_of_models_only``).
        """
        found: dict[str, Any] = self._api.get(f"/products/{id}/card")
        return found

    def call(self, id: str, *, features: dict[str, Any] | None = None, group: dict[str, str] | None = None,
             key: str | None = None) -> dict[str, Any]:
        """:meth:`Product.call` without reading the product first."""
        return call_product(self._api, id, features=features, group=group, key=key)


class Orders(Collection[Order]):
    """Purchases."""

    _path, _kind = "/orders", Order

    def place(self, product_id: str, *, key: str | None = None) -> Order:
        """Order a product; the same ``key`` (idempotency key) gives the same order."""
        return self._record(self._api.post(self._path, {"product_id": product_id}, key=key, once=True))

    def pay(self, id: str, *, bank_reference: str, amount_fen: int) -> Order:
        """Record that the buyer's transfer has arrived. For the operator."""
        return self._do(id, "payment", {"bank_reference": bank_reference, "amount_fen": amount_fen}, once=True)

    def cancel(self, id: str) -> Order:
        """Cancel an unpaid order; an open payment by card is closed first."""
        return self._do(id, "cancel")

    def pay_by_card(self, id: str) -> CardPayment:
        """Stripe's page on which the order can be paid by card: open ``url`` in a browser. Asked again, it is the same page while it is open."""
        return self._card(self._api.post(f"{self._path}/{quote(id, safe='')}/card"))

    def card(self, id: str) -> CardPayment:
        """How the newest payment by card stands; Stripe is asked. :class:`NotFound` if none was begun."""
        return self._card(self._api.get(f"{self._path}/{quote(id, safe='')}/card"))

    def _card(self, data: dict[str, Any]) -> CardPayment:
        try:
            return CardPayment.model_validate(data)
        except ValidationError as error:
            raise not_understood() from error

    def refund(self, id: str, *, bank_reference: str | None = None) -> Order:
        """Refund a paid order whose entitlement was never called; ``bank_reference`` is of the transfer, for one paid by bank. For the operator."""
        return self._do(id, "refund", {"bank_reference": bank_reference} if bank_reference else {})

    def give_back(self, id: str) -> Order:
        """Give card money back that does not match the order. For the operator."""
        return self._do(id, "give-back")

    def preview(self, id: str) -> dict[str, Any]:
        """The invoice as it would be now: fees, calls, and how the revenue is shared."""
        answer: dict[str, Any] = self._api.get(f"{self._path}/{quote(id, safe='')}/invoice-preview")
        return answer


class Entitlements(Collection[Entitlement]):
    """What the caller's organisation may call."""

    _path, _kind = "/entitlements", Entitlement


class Market:
    """One market. Use it as a context manager, or :meth:`close` it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.resources = Resources(api)
        self.departments = Departments(api)
        self.elements = Elements(api)
        self.negative_list = NegativeList(api)
        self.quality_objections = QualityObjections(api)
        self.apps = Apps(api)
        self.nodes = Nodes(api)
        self.scenarios = Scenarios(api)
        self.demands = Demands(api)
        self.opinions = Opinions(api)
        self.sectors = Sectors(api)
        self.grants = Grants(api)
        self.jobs = Jobs(api)
        self.reviews = Reviews(api)
        self.products = Products(api)
        self.orders = Orders(api)
        self.entitlements = Entitlements(api)
        self.programs = Programs(api)
        self.clients = Clients(api)
        self.members = Members(api)
        self.registrations = Registrations(api)
        self.credit = Credit(api)
        self.ownership = Ownership(api)
        self.partners = Partners(api)
        self.notices = PublicNotices(api)
        self.messages = Messages(api)
        self.outbox = Outbox(api)
        self.agreements = Agreements(api)
        self.selections = Selections(api)
        self.files = Files(api)
        self.sandboxes = Sandboxes(api)
        self.marginals = MarginalsOf(api)
        self.audit = Audit(api)

    @property
    def url(self) -> str:
        return self._api.profile.url

    def sandbox(self, scenario: str, *, rows: int | None = None, directory: str | Path | None = None) -> Sandbox:
        """A scenario's sandbox; see :func:`shuyan.sandbox`."""
        from shuyan._sandbox import open_sandbox

        return open_sandbox(scenario, self, rows=rows, directory=None if directory is None else Path(directory))

    def waiting(self, kind: str | None = None) -> list[WorkItem]:
        """What waits for the caller: overdue first, then by deadline, then oldest first."""
        return waiting(self._api, kind)

    # --- computing in one call ---

    def sql(self, query: str, *, grant: str | Permission, title: str = "", fresh: bool = False, key: str | None = None,
            timeout: float | None = None, progress: Progress | None = None) -> Result:
        """Ask one SELECT over granted resources of all departments and wait for the table.

        The result is there once the egress review has released it, by a person. Ctrl-C cancels the job.

        Args:
            query: resources stand after FROM; see the developer's guide for what it may say.
            grant: under which it is asked.
            fresh: compute again what was answered before.
            timeout: seconds to wait; the job itself goes on after that.
            progress: called with the job and its new log lines whenever something happened.

        Raises:
            InvalidInput: the query is refused; the sentence names the clause and where it stands.
            JobFailed: it ended without a result.
            TimeoutError: the time is over.
        """
        job = self.jobs.submit(_id(grant), "query", {"sql": query}, title=title, fresh=fresh, key=key)
        return finish(job, timeout=timeout, progress=progress)

    def explain(self, query: str, *, grant: str | Permission) -> Explanation:
        """What a query would do: what each node computes, what leaves it, rounds, cells, cost and expected error."""
        return Explanation.model_validate(self._api.post("/queries/explain", {"grant_id": _id(grant), "sql": query}))

    def train(self, family: str, *, grant: str | Permission, features: Sequence[str], target: str | None = None,
              resource: str | None = None, title: str = "", fresh: bool = False, key: str | None = None,
              timeout: float | None = None, progress: Progress | None = None, **params: Any) -> Model:
        """Train a model on rows of all departments and wait for it.

        Args:
            family: ``linear``, ``logistic``, ``multinomial``, ``poisson``, ``boosting``, ``network``, ``clustering``,
                ``components``, ``survival``, or the name of any app that gives a model.
            features: columns to learn from.
            target: the column to learn, for families that have one.
            resource: the table's name; needed only where the grant covers several.
            params: any other parameter of the family's app.

        Raises:
            as :meth:`sql`.
        """
        app, body = training(family, [*features], target, params)
        body["resource"] = resource or self._only_resource(grant)
        job = self.jobs.submit(_id(grant), app, body, title=title, fresh=fresh, key=key)
        model = finish(job, timeout=timeout, progress=progress)
        if not isinstance(model, Model):
            raise not_understood()
        return model

    def evaluate(self, family: str, *, grant: str | Permission, features: Sequence[str], target: str,
                 folds: int | None = None, fraction: float | None = None, column: str | None = None,
                 **options: Any) -> dict[str, Any]:
        """How well a model of a family does on rows it has not seen: by secure sums, over all departments.

        Args:
            folds: cross-validation with so many parts; 5 if nothing else is said.
            fraction: the share of rows to hold out instead.
            column: a column that says which rows are held out instead (those where it is 1).
            options: as of :meth:`train`.

        Returns:
            the model's evaluation: ``in_sample``, ``held_out`` and ``folds``.
        """
        split: dict[str, Any] = {"column": column} if column else {"fraction": fraction} if fraction else {"folds": folds or 5}
        return self.train(family, grant=grant, features=features, target=target, split=split, **options).evaluation

    def budgets(self, grant: str | Permission) -> list[Budget]:
        """Every privacy budget that jobs under a grant are charged to; empty for exact answers."""
        return self.grants.budgets(_id(grant))

    def _only_resource(self, grant: str | Permission) -> str:
        claims = self.grants.get(_id(grant)).claims or {}
        names = sorted({str(item["name"]) for item in claims.get("resources", ())})
        if len(names) == 1:
            return names[0]
        raise ConfigurationError(t("授权凭证包含多个数据资源（{names}），请指明 resource。",
                                   "The grant covers several resources ({names}): say which with resource=.",
                                   names=", ".join(names)))

    def me(self) -> dict[str, Any]:
        """Who the market takes the caller for."""
        answer: dict[str, Any] = self._api.get("/me")
        return answer

    def organisations(self) -> list[dict[str, Any]]:
        return [*self._api.pages("/organisations")]

    def close(self) -> None:
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def connect(
    url: str | None = None, *, client_id: str | None = None, client_secret: str | None = None, profile: str | None = None,
    timeout: float = 30.0, transport: httpx.BaseTransport | None = None,
) -> Market:
    """A market to work with. Nothing is sent before it is used.

    Args:
        url: the market's address; without it ``SHUYAN_URL``, else the profile saved by ``shuyan login``.
        client_id: with ``client_secret``, an API client of your organisation. Public reading needs none.
        client_secret: see ``client_id``.
        profile: name of a saved profile.
        timeout: seconds to wait for an answer.
        transport: an httpx transport, for tests and proxies.

    Raises:
        ConfigurationError: there is no address to be found.
    """
    return Market(Api(resolve(url, client_id, client_secret, profile), timeout=timeout, transport=transport))
