"""The market as a Python object: :func:`connect` gives a :class:`Market`, whose parts list, get and do things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from shuyan._agreements import Agreements, Files
from shuyan._audit import Audit
from shuyan._authorisation import Demands, Grants, Opinions, Permission, Scenarios, Sectors
from shuyan._catalogue import Departments, Elements, NegativeList, QualityObjections, Resources
from shuyan._clients import Clients
from shuyan._commerce import Entitlements, Orders, Products
from shuyan._computing import Apps, Jobs, Nodes, Progress, Reviews, finish, training
from shuyan._config import resolve
from shuyan._errors import ConfigurationError
from shuyan._http import Api, not_understood
from shuyan._members import Members
from shuyan._models import Budget, Explanation
from shuyan._notices import Messages, Outbox, PublicNotices, WorkItem, waiting
from shuyan._programs import Programs
from shuyan._registration import Credit, Ownership, Partners, Registrations
from shuyan._results import Model, Result
from shuyan._sandboxes import MarginalsOf, Sandboxes
from shuyan._selections import Selections
from shuyan._text import t

if TYPE_CHECKING:
    from shuyan._sandbox import Sandbox


def _id(grant: str | Permission) -> str:
    return grant if isinstance(grant, str) else grant.id


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
