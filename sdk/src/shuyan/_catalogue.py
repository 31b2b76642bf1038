"""The catalogue beyond one resource: counts, changes, DCAT, authoritative sources, the negative list, objections to quality."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from shuyan._collection import Collection
from shuyan._http import Api
from shuyan._models import Resource

_RESOURCES = "/resources"


class Resources(Collection[Resource]):
    """What the departments' nodes have registered.

    :meth:`list` takes ``q``, ``sort`` (relevance, title, newest, rows, quality, updated) and the filters of :meth:`facets`.
    """

    _path, _kind = _RESOURCES, Resource

    def facets(self, q: str = "", **filters: Any) -> dict[str, Any]:
        """How many resources have which value: ``{total, exact, counts}``.

        Args:
            filters: ``sector``, ``grade``, ``organisation_id``, ``frequency``, ``standard``, ``quality`` (60, 70, 80, 90, 95), ``tag``.
        """
        return _dict(self._api.get(f"{_RESOURCES}/facets", q=q or None, **filters))

    def changes(self, after: int = -1, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Changes of the catalogue, oldest first; ``after`` is the ``index`` of the last one that is known."""
        return self._api.pages(f"{_RESOURCES}/changes", limit=limit, after=after)

    def history(self, id: str, *, before: int | None = None, limit: int = 50) -> builtins.list[dict[str, Any]]:
        """Changes of one resource, newest first."""
        return _items(self._api.get(f"{_RESOURCES}/{quote(id, safe='')}/history", before=before, limit=limit))

    def quality(self, id: str, *, limit: int = 60) -> builtins.list[dict[str, Any]]:
        """Quality as the department's node measured it, oldest first."""
        return _items(self._api.get(f"{_RESOURCES}/{quote(id, safe='')}/quality", limit=limit))

    def dcat(self) -> Iterator[dict[str, Any]]:
        """The catalogue as DCAT 3 (JSON-LD), page after page, each a document of its own."""
        cursor: str | None = None
        while True:
            page = _dict(self._api.get("/dcat", cursor=cursor, limit=100))
            yield page
            found: dict[str, Any] = next((node["hydra:view"] for node in page.get("@graph", ()) if "hydra:view" in node), {})
            following = str(found.get("hydra:next", {}).get("@id", ""))
            if "cursor=" not in following:
                return
            cursor = unquote(following.partition("cursor=")[2].partition("&")[0])


class Departments:
    """The departments whose resources make the catalogue."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Departments with how many ``resources`` each has."""
        return self._api.pages("/departments", limit=limit)

    def get(self, id: str) -> dict[str, Any]:
        """One department with its ``stewards``, the offices that answer for its data."""
        return _dict(self._api.get(f"/departments/{quote(id, safe='')}"))


class Elements:
    """Data elements and the one authoritative source of each (一数一源)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Elements by name; ``status`` is ``clear``, ``conflict`` or ``settled``."""
        return self._api.pages("/elements", limit=limit, status=status)

    def get(self, name: str) -> dict[str, Any]:
        """One element with its ``claims`` and ``decisions``."""
        return _dict(self._api.get(f"/elements/{quote(name)}"))

    def settle(self, name: str, *, resource_id: str, column: str, reason: str) -> dict[str, Any]:
        """Decide which column is the authoritative source. For the data authority."""
        return _dict(self._api.post("/element-decisions", {"element": name, "resource_id": resource_id, "column": column, "reason": reason}))


class NegativeList:
    """What can be authorised to nobody (负面清单)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None, resource_id: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Entries, newest first."""
        return self._api.pages("/negative-list", limit=limit, status=status, resource_id=resource_id)

    def get(self, id: str) -> dict[str, Any]:
        """One entry with its ``versions``."""
        return _dict(self._api.get(f"/negative-list/{quote(id, safe='')}"))

    def check(self, resources: Mapping[str, Sequence[str]]) -> builtins.list[dict[str, Any]]:
        """What the list bars of some columns, by resource id: ``{resource_id, column, entry_id, reason}``."""
        return _items(self._api.post("/negative-list/check", {"resources": {key: [*value] for key, value in resources.items()}}))

    def enter(self, kind: str, reason: str, **entry: Any) -> dict[str, Any]:
        """Bar a ``resource``, a ``column`` or a ``pattern``. For the data authority.

        Args:
            entry: ``resource_id``; ``column``; ``field`` and ``pattern``; ``effective_from``.
        """
        return _dict(self._api.post("/negative-list", {"kind": kind, "reason": reason, **entry}))

    def revise(self, id: str, **entry: Any) -> dict[str, Any]:
        """Decide an entry anew, as its next version."""
        return _dict(self._api.post(f"/negative-list/{quote(id, safe='')}/revise", entry))

    def withdraw(self, id: str, reason: str) -> dict[str, Any]:
        """Take an entry off the list."""
        return _dict(self._api.post(f"/negative-list/{quote(id, safe='')}/withdraw", {"reason": reason}))


class QualityObjections:
    """Objections to a resource's quality: who is responsible answers by a day, and nothing of it is lost."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, status: str | None = None, resource_id: str | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Those that the caller's organisation is a side of or oversees."""
        return self._api.pages("/quality-objections", limit=limit, status=status, resource_id=resource_id)

    def get(self, id: str) -> dict[str, Any]:
        """One objection with its ``steps`` and the ``actions`` that the caller may take."""
        return _dict(self._api.get(f"/quality-objections/{quote(id, safe='')}"))

    def object(self, resource_id: str, measure: str, text: str, *, column: str = "") -> dict[str, Any]:
        """Object to ``completeness``, ``validity``, ``uniqueness``, ``timeliness`` or another measure of a resource."""
        return _dict(self._api.post("/quality-objections", {"resource_id": resource_id, "measure": measure, "text": text, "column": column}))

    def act(self, id: str, action: str, text: str = "") -> dict[str, Any]:
        """Take one of the objection's ``actions``."""
        return _dict(self._api.post(f"/quality-objections/{quote(id, safe='')}/{quote(action, safe='')}", {"text": text}))


def _dict(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer
    return found


def _items(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["items"]
    return found
