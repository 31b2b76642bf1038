"""From a scenario to a grant: propose, ask for data with a preview, review, withdraw."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError

from shuyan._collection import Collection
from shuyan._http import Api, not_understood
from shuyan._models import Budget, Record


class Scenario(Record):
    """A purpose for which data may be asked; ``months`` is how long it is to run."""

    id: str
    organisation_id: str
    title: str
    purpose: str
    sector: str
    status: str
    necessity: str = ""
    public_benefit: bool = False
    benefit: str = ""
    effect: str = ""
    months: int = 12
    version: int = 1
    reason: str = ""


class Demand(Record):
    """The list of data that one scenario asks for. ``struck`` are the resources that its review left out."""

    id: str
    scenario_id: str
    organisation_id: str
    status: str
    body: dict[str, Any] = Field(default_factory=dict)
    version: int = 1
    follows_id: str | None = None
    struck: list[str] = Field(default_factory=list)
    reason: str = ""
    mode: str = ""
    agreement_id: str | None = None


class Finding(Record):
    """Something that stands against a list of data. ``line`` is the number of the resource, from 0, if it is about one."""

    field: str | None = None
    line: int | None = None
    code: str
    text: str


class Change(Record):
    """A difference between two versions of a list: ``what`` is ``columns``, ``reason`` (of resource ``key``) or ``term``."""

    what: str
    key: str
    before: Any = None
    after: Any = None


class Opinion(Record):
    """What one organisation is asked about a version of a scenario or demand, and what it says."""

    id: str
    kind: str
    subject: str
    version: int
    stage: str
    organisation_id: str
    party: str
    status: str
    struck: list[str] = Field(default_factory=list)
    comments: dict[str, str] = Field(default_factory=dict)
    note: str = ""
    due_at: dt.datetime
    decided_for: bool = False


class Hold(Record):
    """A withdrawal of a grant by one of those responsible, or what the operator asks the authority to withdraw."""

    id: str
    grant_id: str
    organisation_id: str | None = None
    status: str
    cause: str
    reason: str
    reached: int = 0
    """How many nodes have answered that they stopped."""


class NodeStop(Record):
    """A node of a grant that is withdrawn or revoked; ``seen_at`` is when it answered that it stopped, ``None`` before that."""

    node_id: str
    name: str
    organisation_id: str
    status: str
    connected: bool
    last_seen_at: dt.datetime | None = None
    seen_at: dt.datetime | None = None


class Permission(Record):
    """A grant as the market keeps it; ``jws`` is the authority's signed statement itself."""

    id: str
    demand_id: str
    scenario_id: str
    organisation_id: str
    digest: str
    status: str
    not_before: dt.datetime
    expires_at: dt.datetime
    state: str = ""
    """``active``, ``held`` (withdrawn until further notice), ``revoked``, ``expired``, or ``outdated``: signed by an earlier
    version and as good as expired."""
    release: str = "exact"
    own_figures: bool = False
    jws: str = ""
    claims: dict[str, Any] | None = None
    """What the statement says; only of a grant that was read by itself."""


@dataclass(frozen=True)
class Line:
    """A resource's columns in a list of data, and what they are needed for."""

    columns: Sequence[str]
    reason: str


class Scenarios(Collection[Scenario]):
    """Purposes for which data may be asked."""

    _path, _kind = "/scenarios", Scenario

    def propose(self, title: str, purpose: str, sector: str, *, necessity: str = "", public_benefit: bool = False,
                benefit: str = "", effect: str = "", months: int = 12, key: str | None = None) -> Scenario:
        """Draft a scenario. Handing it in takes ``necessity``, ``effect`` and, with a public benefit, ``benefit``."""
        return self._record(self._api.post(self._path, {
            "title": title, "purpose": purpose, "sector": sector, "necessity": necessity, "public_benefit": public_benefit,
            "benefit": benefit, "effect": effect, "months": months}, key=key, once=True))

    def edit(self, id: str, **changes: Any) -> Scenario:
        """Change a draft or returned scenario; what is not named stays."""
        now = self.get(id)
        names = ("title", "purpose", "sector", "necessity", "public_benefit", "benefit", "effect", "months")
        return self._record(self._api.put(f"{self._path}/{quote(id, safe='')}", {name: getattr(now, name) for name in names} | changes))

    def submit(self, id: str) -> Scenario:
        """Put a scenario forward: the operator checks it, the authority and the industry department argue it."""
        return self._do(id, "submit")

    def revise(self, id: str) -> Scenario:
        """Begin the next version of an accepted scenario."""
        return self._do(id, "revise")

    def withdraw(self, id: str) -> Scenario:
        """Withdraw a scenario without grants."""
        return self._do(id, "withdraw")

    def opinions(self, id: str) -> builtins.list[Opinion]:
        """Who is asked about the present version, and what they say."""
        return [_opinion(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/opinions")]


class Demands(Collection[Demand]):
    """Lists of data asked for under a scenario."""

    _path, _kind = "/demands", Demand

    def draft(self, scenario_id: str, resources: Mapping[str, Sequence[str] | Line], apps: Sequence[str], *,
              output_forms: Sequence[str], reason: str = "", minimum_cohort: int = 10, minimum_participants: int = 3,
              term_days: int = 90, privacy: Mapping[str, Any] | None = None, own_figures_reason: str = "",
              key: str | None = None) -> Demand:
        """Draft a list: ``{resource id: columns}``, or :class:`Line` where its reason is its own, to run ``apps`` on.

        Args:
            reason: what the columns are needed for, where a line does not say.
            privacy: answers carry noise under these terms: ``unit``, ``unit_columns`` (by resource name, the column that
                tells units apart), ``max_rows_per_unit``, ``max_groups_per_unit``, ``epsilon`` (or ``rho_nano``), ``delta``
                and ``honest_fraction``. Without it answers are exact.
            own_figures_reason: why results have to show single departments' own figures; they do not without one.
        """
        body = listed(resources, apps, output_forms=output_forms, reason=reason, minimum_cohort=minimum_cohort,
                      minimum_participants=minimum_participants, term_days=term_days, privacy=privacy,
                      own_figures_reason=own_figures_reason)
        return self._record(self._api.post(self._path, {"scenario_id": scenario_id, **body}, key=key, once=True))

    def preview(self, scenario_id: str, resources: Mapping[str, Sequence[str] | Line], apps: Sequence[str],
                **terms: Any) -> builtins.list[Finding]:
        """All that would be refused of a list, and why; takes what :meth:`draft` takes, and keeps nothing."""
        answer = self._api.post(f"{self._path}/preview", {"scenario_id": scenario_id, **listed(resources, apps, **terms)})
        return [Finding.model_validate(item) for item in answer["items"]]

    def check(self, id: str) -> builtins.list[Finding]:
        """All that would be refused of a draft as it stands."""
        row = self.get(id)
        answer = self._api.post(f"{self._path}/preview", {"scenario_id": row.scenario_id, "demand_id": id, **row.body})
        return [Finding.model_validate(item) for item in answer["items"]]

    def edit(self, id: str, resources: Mapping[str, Sequence[str] | Line], apps: Sequence[str], **terms: Any) -> Demand:
        """Replace the list of a draft or returned demand; takes what :meth:`draft` takes."""
        return self._record(self._api.put(f"{self._path}/{quote(id, safe='')}", listed(resources, apps, **terms)))

    def submit(self, id: str) -> Demand:
        """Put a list forward for review."""
        return self._do(id, "submit")

    def revise(self, id: str) -> Demand:
        """Begin the next version of a decided list; it is a demand of its own that follows this one."""
        return self._do(id, "revise")

    def withdraw(self, id: str) -> Demand:
        """Withdraw a list that is not granted yet."""
        return self._do(id, "withdraw")

    def opinions(self, id: str) -> builtins.list[Opinion]:
        """Who is asked about the present version, and what they say."""
        return [_opinion(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/opinions")]

    def changes(self, id: str) -> builtins.list[Change]:
        """How the list differs from its last version."""
        return [Change.model_validate(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/changes")]


def listed(resources: Mapping[str, Sequence[str] | Line], apps: Sequence[str], *, output_forms: Sequence[str], reason: str = "",
           minimum_cohort: int = 10, minimum_participants: int = 3, term_days: int = 90,
           privacy: Mapping[str, Any] | None = None, own_figures_reason: str = "") -> dict[str, Any]:
    """A list of data as the market takes it."""
    lines = {id: item if isinstance(item, Line) else Line(item, reason) for id, item in resources.items()}
    return {
        "resources": [{"resource_id": id, "columns": [*line.columns], "reason": line.reason} for id, line in lines.items()],
        "apps": [*apps], "output_forms": [*output_forms], "minimum_cohort": minimum_cohort,
        "minimum_participants": minimum_participants, "term_days": term_days,
        **({"release": "dp", "privacy": dict(privacy)} if privacy else {}),
        **({"own_figures": True, "own_figures_reason": own_figures_reason} if own_figures_reason else {})}


class Opinions:
    """Deciding about scenarios and demands, for those who are asked."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def approve(self, id: str, note: str = "", *, struck: Iterable[str] = (), comments: Mapping[str, str] | None = None) -> Opinion:
        """Approve, but for the ``struck`` resources; ``comments`` are by resource id."""
        return self._give(id, "approve", {"note": note, "struck": [*struck], "comments": dict(comments or {})})

    def send_back(self, id: str, note: str, *, comments: Mapping[str, str] | None = None) -> Opinion:
        """Return to be corrected, saying what."""
        return self._give(id, "return", {"note": note, "comments": dict(comments or {})})

    def refuse(self, id: str, note: str) -> Opinion:
        """Refuse; a source department refuses its own lines."""
        return self._give(id, "refuse", {"note": note})

    def _give(self, id: str, action: str, body: dict[str, Any]) -> Opinion:
        return _opinion(self._api.post(f"/opinions/{quote(id, safe='')}/{action}", body))


class Sectors:
    """Which industry department answers for which sector."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self) -> dict[str, str]:
        """By sector, the industry department's organisation."""
        return {item["sector"]: item["organisation_id"] for item in self._api.pages("/sectors")}

    def assign(self, sector: str, organisation_id: str | None) -> None:
        """Say which department answers for a sector. For the data authority."""
        self._api.put(f"/sectors/{quote(sector, safe='')}", {"organisation_id": organisation_id})


class Grants(Collection[Permission]):
    """Grants: what the data authority has signed."""

    _path, _kind = "/grants", Permission

    def budgets(self, id: str) -> builtins.list[Budget]:
        """Every privacy budget that jobs under a grant are charged to, as the departments' nodes last told."""
        return [Budget.model_validate(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/budgets")]

    def hold(self, id: str, reason: str) -> Hold:
        """Withdraw a grant until further notice: the nodes stop within seconds. For those responsible."""
        return Hold.model_validate(self._api.post(f"{self._path}/{quote(id, safe='')}/hold", {"reason": reason}))

    def release(self, id: str) -> Permission:
        """Lift one's own hold."""
        return self._do(id, "release")

    def ask_withdrawal(self, id: str, reason: str) -> Hold:
        """Ask the authority to withdraw a grant. For the operator."""
        return Hold.model_validate(self._api.post(f"{self._path}/{quote(id, safe='')}/ask-withdrawal", {"reason": reason}))

    def holds(self, id: str) -> builtins.list[Hold]:
        """Who has withdrawn a grant, and when it was lifted; the latest first."""
        return [Hold.model_validate(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/holds")]

    def stops(self, id: str) -> builtins.list[NodeStop]:
        """How far a withdrawal or revocation has got: the grant's nodes, and which have answered; empty for a usable grant."""
        return [NodeStop.model_validate(item) for item in self._api.pages(f"{self._path}/{quote(id, safe='')}/stops")]

    def decide(self, hold_id: str, follow: bool) -> Hold:
        """Follow what the operator asked for, or leave the grant as it is. For the data authority."""
        return Hold.model_validate(self._api.post(f"/withdrawals/{quote(hold_id, safe='')}/{'follow' if follow else 'dismiss'}"))


def _opinion(data: Any) -> Opinion:
    try:
        return Opinion.model_validate(data)
    except ValidationError as error:
        raise not_understood() from error
