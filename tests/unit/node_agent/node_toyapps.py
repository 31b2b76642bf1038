"""A federated app that does what its parameters say, good or bad. It runs in real workers."""

from __future__ import annotations

import os
import sys
import time
from typing import Literal

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from pydantic import BaseModel, ConfigDict

from shuyan.federation import _flower
from shuyan.federation.apps import AppManifest, FederatedApp, InstalledApp, Limits, VectorSpec

client = ClientApp()


class Params(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    resource: str
    columns: list[str]
    mode: Literal["sum", "crash", "hang", "spin", "memory", "raise", "nan", "undeclared", "large", "bound", "stray",
                  "environment", "files", "rounds", "exit_reply"] = "sum"


def _sums(context: Context, columns: list[str]) -> tuple[np.ndarray, int]:
    inputs = context.inputs
    values = []
    for name in columns:
        (total,) = inputs.connection.execute(
            f'SELECT coalesce(sum("{name}"), 0) FROM data WHERE NOT isnan("{name}"::DOUBLE)').fetchone()
        values.append(float(total))
    return np.array(values), inputs.row_count()


@client.query("tally")
def tally(message: Message, context: Context) -> Message:
    params = context.params
    vectors, cohort = {}, 0
    if params.mode == "crash":
        os._exit(3)
    if params.mode == "hang":
        time.sleep(3600)
    if params.mode == "spin":
        while True:
            pass
    if params.mode == "memory":
        hoard = []
        while True:
            hoard.append(np.ones(8_000_000))
    if params.mode == "raise":
        raise RuntimeError("patient Zhang San is 41 years old")
    totals, cohort = _sums(context, params.columns)
    vectors = {"totals": totals}
    if params.mode == "nan":
        vectors = {"totals": np.full_like(totals, np.nan)}
    if params.mode == "undeclared":
        vectors = {"totals": totals, "rows": totals}
    if params.mode == "large":
        vectors = {"totals": np.zeros(200_000)}
    if params.mode == "bound":
        vectors = {"totals": np.full_like(totals, 1e13)}
    if params.mode == "stray":
        sys.stdout.write("chatter\n")
    if params.mode == "environment":
        inherited = [name for name in os.environ if "SECRET" in name]
        vectors = {"totals": np.full_like(totals, float(len(inherited)))}
    if params.mode == "files":
        try:
            context.inputs.connection.execute("SELECT count(*) FROM glob('/*')").fetchall()
        except Exception:
            vectors = {"totals": np.full_like(totals, 7.0)}
    if params.mode == "rounds":
        context.inputs.cache["n"] = context.inputs.cache.get("n", 0) + 1
        vectors = {"totals": np.full_like(totals, float(context.inputs.cache["n"]))}
    return _flower.reply(message, vectors, cohort)


def _serve(grid: object, params: object, progress: object) -> dict[str, object]:
    raise NotImplementedError("only its node side is used")


app = FederatedApp(
    manifest=AppManifest(
        name="toy", version="1", title_zh="测试应用", title_en="Toy", output_form="statistics",
        actions={"query.tally": {"totals": VectorSpec(limbs=2, fraction_bits=40, bound=1e12)}}, limits=Limits(seconds=60)),
    client_app=client, serve=_serve, params_model=Params,
    needs=lambda params: tuple((name, "number") for name in params.columns))

DIGEST = "sha256:" + "ab" * 32

INSTALLED = InstalledApp("toy", "1", DIGEST, app.manifest, app)
