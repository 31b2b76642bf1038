"""One department by itself: its raw data, and what its administrator types to register it.

``python -m demo.department yanhe --data DIR --node DIR`` does it where the department's node runs, in a container
for instance; the demo on one machine calls :func:`register` for each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demo import data, scenes
from demo.commands import CommandFailed, run
from demo.data import DISTRICTS, District
from demo.processes import socket_ready
from demo.scenes import ResourceOffer

AGENT_WITHIN = 60.0  # seconds


def write_raw_data(district: District, folder: Path) -> None:
    """Write the department's own files into ``folder``; nothing where they exist."""
    if (folder / "enterprises.csv").exists():
        return
    patients = dict(zip((d.slug for d in DISTRICTS), data.patients(), strict=True))
    data.write_csv(folder / "breast_cancer.csv", patients[district.slug])
    data.write_csv(folder / "enterprises.csv", [*data.enterprises(district)])


def register(district: District, folder: Path, node: Path, run: Callable[..., str] = run) -> None:
    """Add the sources in ``folder`` to the agent of the directory ``node``, register the resources, allow the apps."""
    for scene in scenes.SCENES:
        offer = scene.resource
        try:
            run("shuyan-node", "--dir", node, "source", "add", offer.name, folder / offer.file)
        except CommandFailed:
            # An interrupted first start may have come this far.
            if offer.name not in {source["name"] for source in json.loads(run("shuyan-node", "--dir", node, "source", "list", "--json"))}:
                raise
        run("shuyan-node", "--dir", node, "resource", "register", offer.name, *_declaration(offer, district))
    allow_apps(node, run)


def allow_apps(node: Path, run: Callable[..., str] = run) -> None:
    """Let the apps that the scenes use run on a department's node."""
    run("shuyan-node", "--dir", node, "app", "allow", *scenes.APPS)


def _declaration(offer: ResourceOffer, district: District) -> list[str]:
    """The options with which a department declares its resource."""
    options = ["--source", offer.name, "--sector", offer.sector, "--grade", str(offer.grade), "--title", offer.title_zh,
               "--title-en", offer.title_en, "--description", offer.description,
               "--approval", "manual" if district.slug in offer.manual else "automatic"]
    for column in offer.columns:
        options += ["--column", column.name, "--column-title", f"{column.name}={column.title}"]
        options += ["--unit", f"{column.name}={column.unit}"] if column.unit else []
        options += ["--identifier", column.name] if column.identifier else []
        options += ["--dimension", column.name] if column.dimension else []
    return options


def main() -> int:
    """Write the raw data, wait for the agent, register."""
    parser = argparse.ArgumentParser(prog="python -m demo.department")
    parser.add_argument("district", choices=[district.slug for district in DISTRICTS])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--node", type=Path, required=True)
    options = parser.parse_args()
    district = next(d for d in DISTRICTS if d.slug == options.district)
    write_raw_data(district, options.data)
    ready, end = socket_ready(options.node / "node.sock"), time.monotonic() + AGENT_WITHIN
    while not ready():
        if time.monotonic() > end:
            sys.stderr.write("the node agent does not answer on its socket\n")
            return 1
        time.sleep(0.1)
    register(district, options.data, options.node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
