"""A federation on mock data: nodes in this process, with the very apps, grants, checks, masks and noise of the real ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from shuyan import jobs
from shuyan.federation.apps.base import InstalledApp
from shuyan.federation.local import LocalFederation, LocalResource
from shuyan.federation.transport import NodeFailure
from shuyan.mockdata.description import Described, Description
from shuyan.mockdata.tables import Values
from shuyan.problems import ProblemError
from shuyan.trust.grants import Grant, GrantedApp, GrantedResource, ParticipantKeys
from shuyan.trust.keys import b64url


class MockedFederation(LocalFederation):
    """The departments of a description, with its grant, its budgets untouched and its differencing guards empty.

    Args:
        tables: by (node id, resource name), the mock table.
        own: an app of the developer's that the grant does not name yet; its digest is a package's.
    """

    def __init__(self, description: Description, tables: Mapping[tuple[str, str], Mapping[str, Values]],
                 own: InstalledApp | None = None) -> None:
        self._description, self._own = description, own
        resources: dict[str, dict[str, LocalResource]] = {one.node_id: {} for one in description.departments}
        for one in description.resources:
            resources[one.node_id][one.name] = LocalResource.arrays(tables[one.node_id, one.name], one.schema_)
        super().__init__(resources)
        if own is not None:
            self.apps = {**self.apps, own.name: own}
            for node in self.nodes.values():
                node.apps = self.apps

    def _everything(self) -> Grant:
        terms, now = self._description.terms, int(time.time())
        names = {one.node_id: one.name for one in self._description.departments}
        apps = {one.name: one for one in terms.apps}
        if self._own is not None:
            apps[self._own.name] = GrantedApp(name=self._own.name, digest=self._own.digest)
        return Grant(
            iss="sandbox", jti=self._description.sandbox, iat=now, nbf=now - 60, exp=now + 86_400,
            scenario=self._description.scenario, scenario_title=self._description.title, purpose=terms.purpose,
            grantee=terms.grantee, grantee_name=terms.grantee, resources=tuple(one.granted for one in self._description.resources),
            apps=tuple(apps.values()),
            nodes=tuple(ParticipantKeys(node_id=node_id, name=names[node_id], signing_key=b64url(node.key.public),
                                        agreement_key=b64url(node.key.public)) for node_id, node in self.nodes.items()),
            minimum_cohort=terms.minimum_cohort, minimum_participants=terms.minimum_participants,
            output_forms=terms.output_forms, max_output_values=terms.max_output_values, release=terms.release,
            privacy=terms.privacy, own_figures=terms.own_figures, sole_values=terms.sole_values)

    def __enter__(self) -> Self:
        return self

    def fill(self, app: InstalledApp, params: Mapping[str, Any]) -> jobs.Filled:
        """A job as it would be put to these nodes; see :func:`shuyan.jobs.fill`."""
        return jobs.fill(app, dict(params), self.grant, self._describe)

    def put(self, app: str, filled: jobs.Filled) -> dict[str, Any]:
        """Run a job and return the result's content.

        Raises:
            ProblemError: it is refused, or fails, as it would at the nodes.
        """
        try:
            return self.run(app, filled.params, participants=tuple(filled.departments))
        except NodeFailure as failure:
            raise ProblemError(failure.code, **{name: str(value) for name, value in failure.args_.items()}) from failure

    def _with_domains(self, app: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return dict(params)  # filled in already, as by the market

    def _describe(self, granted: list[GrantedResource]) -> list[jobs.Department]:
        found: dict[str, Described] = {one.resource_id: one for one in self._description.resources}
        names = {one.node_id: one.name for one in self._description.departments}
        return [jobs.Department(names[item.node_id], item,
                                {column.name: column.declared() for column in found[item.resource_id].columns})
                for item in granted]
