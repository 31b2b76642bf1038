"""A developer's app that tells what it sees in every way it has; what it is told of a row, nobody else may see."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from shuyan.federation.kit import (
    ClientApp,
    Content,
    Context,
    Message,
    Params,
    Reads,
    VectorSpec,
    federated_app,
    reply,
)
from shuyan.problems import ProblemError

client_app = ClientApp()


class TattlerParams(Params):
    """Which column it reads, and how it tells."""

    column: str
    text: str
    mode: str = "sum"


class TattlerContent(Content):
    """A total."""

    kind: Literal["statistics"]
    total: float


@client_app.query("tally")
def tally(message: Message, context: Context) -> Message:
    """A sum, or one row's values where an error's text goes."""
    params, inputs = context.params, context.inputs
    rows = inputs.connection.execute(f'SELECT "{params.column}", "{params.text}" FROM data').fetchall()
    told = [row for row in rows if str(row[1]).startswith("canary")]
    total = math.fsum(float(row[0]) for row in rows)
    if params.mode == "raise":
        raise RuntimeError(f"could not read {told}")
    if params.mode == "problem":
        raise ProblemError("source_unavailable", resource=str(told), reason=str(told))
    if params.mode == "key":
        raise KeyError(told[0][1])
    if params.mode == "number":
        inputs.connection.execute(f'SELECT CAST("{params.text}" AS INTEGER) FROM data').fetchall()
    if params.mode == "name":
        return reply(message, {told[0][1]: np.array([total])}, len(rows))
    return reply(message, {"totals": np.array([total])}, len(rows))


def serve(grid, params, progress):
    """One question."""
    total = grid.secure_sum("query.tally", expect={"totals": 1})
    return {"kind": "statistics", "rows": total.cohort, "departments": len(total.participants),
            "total": float(total["totals"][0])}


app = federated_app(
    name="tattler", version="1.0.0", title_zh="多嘴应用", title_en="Tattler", output_form="statistics", client_app=client_app,
    serve=serve, params=TattlerParams, content=TattlerContent,
    reads=[Reads(param="column", need="number"), Reads(param="text", need="any")],
    actions={"query.tally": {"totals": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}})
