"""REST: calling a bought product. One call is counted exactly once."""

from __future__ import annotations

import json
from typing import Any, Literal

from flask import Response, make_response
from pydantic import Field, RootModel

from marketplace.api.auth import actor, idempotency_key, scope
from marketplace.api.base import blueprint
from marketplace.api.schemas import IdPath, In
from marketplace.delivery import service as delivery

api = blueprint("products")
api.name = "api_delivery"


class CallIn(In):
    """``features`` for a model; ``group`` or nothing for statistics. Values are checked by the product itself."""

    features: dict[str, Any] | None = Field(None, max_length=1000)
    group: dict[str, str] | None = Field(None, max_length=16)


class ReportIn(In):
    language: Literal["zh", "en"] = "zh"


class CallOut(RootModel[dict[str, Any]]):
    """A statistics table or one of its cells, or a model's score."""


@api.post("/products/<id>/calls", summary="Call a product; metered", responses={200: CallOut})
@scope("deliver")
def call(path: IdPath, body: CallIn) -> Response:
    """Send an ``Idempotency-Key`` to be able to retry: the same key and body is one call, however often it is sent.

    The answer's ``Idempotency-Key`` names the call (made here if none was sent), ``Idempotency-Replayed: true`` says
    that it had been counted before.
    """
    done = delivery.deliver(actor(), path.id, body.model_dump(exclude_unset=True), idempotency_key(required=False))
    response = make_response(json.dumps(done.content, ensure_ascii=False, allow_nan=False))
    response.content_type = "application/json"
    return _counted(response, done)


@api.post("/products/<id>/report", summary="The report of a product delivered as one: a PDF; metered")
@scope("deliver")
def report(path: IdPath, body: ReportIn) -> Response:
    """Counted like a call, under the same rules for the ``Idempotency-Key``. The same version is the same file, byte for byte."""
    done = delivery.deliver_report(actor(), path.id, body.language, idempotency_key(required=False))
    response = make_response(done.pdf)
    response.content_type = "application/pdf"
    response.headers["Content-Disposition"] = f'attachment; filename="{path.id}-v{done.version}-{body.language}.pdf"'
    return _counted(response, done)


def _counted(response: Response, done: delivery.Delivery | delivery.Document) -> Response:
    response.headers["Idempotency-Key"] = done.idempotency_key
    response.headers["Idempotency-Replayed"] = "true" if done.repeated else "false"
    response.headers["Shuyan-Product-Version"] = str(done.version)
    response.headers["Shuyan-Registration-Code"] = done.registration_code
    response.headers["Cache-Control"] = "no-store"
    return response
