"""What a developer's federated app is written with. Everything an app needs can be imported from here.

>>> app = federated_app(
...     name="mean_age", version="1.0.0", title_zh="平均年龄", title_en="Mean age", output_form="statistics",
...     client_app=client_app, serve=serve, params=MeanParams, content=MeanContent,
...     reads=[Reads(param="column", need="number")],
...     actions={"query.sums": {"sum": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}})  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from pydantic import BaseModel, ConfigDict, Field

from shuyan.appkit.reads import DeclaredArrays, DeclaredNeeds, Length, Reads
from shuyan.federation._flower import arrays_of, reply
from shuyan.federation.apps.base import AppManifest, FederatedApp, Limits, Progress, Question
from shuyan.federation.inputs import Inputs
from shuyan.federation.schema import dimension_sql, double_sql, quote
from shuyan.federation.vectors import VectorSpec

__all__ = [
    "AppManifest", "ClientApp", "Content", "Context", "FederatedApp", "Field", "Inputs", "Length", "Limits", "Message", "Params",
    "Progress", "Question", "Reads", "VectorSpec", "arrays_of", "dimension_sql", "double_sql", "federated_app", "quote", "reply",
]


class Params(BaseModel):
    """A job's parameters; add fields of your own.

    Attributes:
        resource: the resource's name at every department.
        domains: the declared values of every dimension; the marketplace fills them in.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    resource: str = Field(min_length=1, max_length=200)
    domains: dict[str, list[str]] = Field(default={})


class Content(BaseModel):
    """A result; add fields of your own, and give ``kind`` the value of your output form."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rows: int = Field(ge=0)
    departments: int = Field(ge=3)


Kind = Literal["integer", "number", "text", "boolean"]


def federated_app(
    *, name: str, version: str, title_zh: str, title_en: str, output_form: Literal["statistics", "model"],
    client_app: ClientApp, serve: Callable[..., dict[str, Any]], params: type[BaseModel], content: type[BaseModel],
    reads: Sequence[Reads], actions: Mapping[str, Mapping[str, VectorSpec]],
    config: Mapping[str, Mapping[str, Kind]] | None = None, arrays: Mapping[str, Mapping[str, str]] | None = None,
    limits: Limits | None = None,
) -> FederatedApp:
    """An app that says everything a node must know as data.

    Args:
        client_app: runs at every department; handlers return ``reply(message, vectors, rows)``.
        serve: ``serve(grid, params, progress) -> content``; runs once, over sums only.
        params: a subclass of :class:`Params`.
        content: a subclass of :class:`Content`: exactly what ``serve`` returns.
        reads: the columns it touches.
        actions: by message type, the vectors a department may answer with.
        config: by message type, the small values that come with the question.
        arrays: by message type, the arrays that come with it, and how long they are (:mod:`shuyan.appkit.reads`).
        limits: what one task may use up.

    Raises:
        pydantic.ValidationError: a declaration cannot be right.
    """
    lengths = {action: {name: Length(text=text) for name, text in given.items()} for action, given in (arrays or {}).items()}
    asked = config or {}
    questions = {action: Question(config=dict(asked.get(action, {})), arrays=tuple(sorted(lengths.get(action, {}))))
                 for action in sorted({*asked, *lengths})}
    needs = DeclaredNeeds(tuple(reads))
    manifest = AppManifest(
        name=name, version=version, title_zh=title_zh, title_en=title_en, output_form=output_form,
        actions={action: dict(vectors) for action, vectors in actions.items()}, questions=questions,
        limits=limits or Limits())
    return FederatedApp(manifest=manifest, client_app=client_app, serve=serve, params_model=params, needs=needs,
                        arrays=DeclaredArrays(lengths), relations=needs.relations, content_model=content)
