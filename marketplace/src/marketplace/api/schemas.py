"""Base models of the REST face: strict input that refuses what it does not know, and output made from rows."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shuyan.problems import ProblemError

T = TypeVar("T")


class In(BaseModel):
    """A request body: no coercion (``false`` is no number), no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Empty(In):
    """A body with nothing in it."""


class QueryIn(BaseModel):
    """Query parameters: text is read as what it stands for, unknown names are refused."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As pydantic makes it; made once, since flask-openapi3 reads it at every request."""
        return super().model_json_schema(*arguments, **options) if arguments or options else _schema_of(cls)


@cache
def _schema_of(query: type[QueryIn]) -> dict[str, Any]:
    return super(QueryIn, query).model_json_schema()


class PageQuery(QueryIn):
    cursor: str | None = Field(None, max_length=512, description="`next` of the page before.")
    limit: int = Field(20, ge=1, le=100, description="Items a page.")


class PathIn(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IdPath(PathIn):
    id: str = Field(max_length=64)


class Out(BaseModel):
    """A response, made from a table row or dataclass with the same field names. Times are UTC, ending in Z."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, row: object, **more: Any) -> dict[str, Any]:
        """``row`` as JSON-ready values; ``more`` adds what the row does not hold."""
        values = cls.model_validate(row, from_attributes=True) if not more else cls.model_validate(
            {name: more.get(name, getattr(row, name, None)) for name in cls.model_fields})
        return values.model_dump(mode="json", by_alias=True)


class ProblemOut(BaseModel):
    """RFC 9457 problem details: the one body of every error."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


class FieldProblem(BaseModel):
    field: str
    detail: str


ProblemOut.model_rebuild()

Time = dt.datetime


class Listing(BaseModel, Generic[T]):
    """The one shape of a list: its items, and the cursor of the next page, null on the last."""

    items: list[T]
    next: str | None = Field(None, description="Cursor of the next page; null on the last.")


def listing(items: list[dict[str, Any]], next_: str | None = None) -> dict[str, Any]:
    """A :class:`Listing` of what :meth:`Out.of` made."""
    return {"items": items, "next": next_}


def day(text: str, field: str) -> dt.date:
    """A day as ISO 8601 writes it. Raises ``invalid_input``."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ProblemError("invalid_input", field=field, reason="YYYY-MM-DD") from None
