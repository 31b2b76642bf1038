"""What the parts of a market have in common: things of one kind that are listed and read one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from shuyan._http import Api, not_understood
from shuyan._models import Record

R = TypeVar("R", bound=Record)


class Collection(Generic[R]):
    """Things of one kind that can be listed and read one by one."""

    _path: ClassVar[str]
    _kind: type[R]

    def __init__(self, api: Api) -> None:
        self._api = api

    def _record(self, data: dict[str, Any]) -> R:
        try:
            record = self._kind.model_validate(data)
        except ValidationError as error:
            raise not_understood() from error
        if "_api" in type(record).__private_attributes__:  # it can do things by itself
            record._api = self._api  # type: ignore[attr-defined]
        return record

    def list(self, *, limit: int | None = None, **filters: Any) -> Iterator[R]:
        """Each thing in turn, page after page; ``filters`` are the query parameters of the REST interface."""
        return (self._record(item) for item in self._api.pages(self._path, limit=limit, **filters))

    def get(self, id: str) -> R:
        """One thing by its identifier; :class:`NotFound` if there is none you may see."""
        return self._record(self._api.get(f"{self._path}/{quote(id, safe='')}"))

    def _do(self, id: str, action: str, body: dict[str, Any] | None = None, *, once: bool = False) -> R:
        return self._record(self._api.post(f"{self._path}/{quote(id, safe='')}/{action}", body, once=once))
