"""Trying an app on mock data: a federation of departments in this process, with the same grants, checks and masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shuyan.appkit.mock import Mock, arrays_of, schema_of
from shuyan.federation.apps.base import FederatedApp, InstalledApp
from shuyan.federation.local import LocalFederation, LocalResource


class MockFederation(LocalFederation):
    """Departments with mock tables and one app under trial.

    Args:
        app: the app, in this process.
        mock: the tables; see :class:`~shuyan.appkit.mock.Mock`.

    Attributes:
        mock: the same.
    """

    def __init__(self, app: FederatedApp, mock: Mock) -> None:
        tables = {f"department-{number}": {
            name: LocalResource.arrays(arrays_of(name, resource, number), schema_of(resource))
            for name, resource in mock.resources.items()} for number in range(mock.departments)}
        made = InstalledApp(app.manifest.name, app.manifest.version, "sha256:" + "0" * 64, app.manifest, app)
        super().__init__(tables, grant={"minimum_cohort": mock.minimum_cohort}, apps={made.name: made})
        self._app, self.mock = app, mock

    def try_out(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Run the app and return its content, which must be what it declares.

        Raises:
            ProblemError, NodeFailure: as in a real run.
            pydantic.ValidationError: the content is not as declared.
        """
        content = self.run(self._app.manifest.name, self.with_domains(params))
        if self._app.content_model is not None:
            import json

            self._app.content_model.model_validate_json(json.dumps(content, allow_nan=False))
        return content

    def with_domains(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters with the declared values of the dimensions they touch, as the marketplace fills them in."""
        domains: dict[str, list[str]] = {}
        for resource, needs in self._app.tables(self._app.params(params)).items():
            for name, need in needs:
                columns = self.mock.resources[resource].columns if resource in self.mock.resources else {}
                if need in ("dimension", "category") and name in columns:
                    domains[name] = list(columns[name].domain)
        return {**params, "domains": domains}


def federation(project: str | Path = ".") -> MockFederation:
    """The federation of a project's ``mock.toml`` with its app, for the project's own tests.

    Raises:
        ProblemError: ``project_invalid``.
        Exception: what importing the app raises.
    """
    from shuyan.appkit.loader import import_app
    from shuyan.appkit.project import Project

    read = Project.read(Path(project))
    return MockFederation(import_app(read.name, read.sources), read.mock)
