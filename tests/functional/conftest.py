"""A market of real processes on free ports, for tests that go through public doors only.

``market`` is set up once a session: marketplace, coordinator and four enrolled nodes with both scenes' resources
registered. ``chain`` plays on it: ``chain.grant(scene)``, ``chain.submit(plan, grant)`` … Tests that stop or break
processes restart them by name (``market.processes.restart("coordinator")``) before they end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from demo import scenes
from demo.chain import Chain
from demo.layout import Layout, Ports
from demo.market import DemoMarket
from demo.processes import free_ports
from demo.screen import Screen


def new_layout(folder: Path) -> Layout:
    """A layout on free ports."""
    return Layout(folder, Ports(*free_ports(3)))


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoMarket]:
    """The running market."""
    with DemoMarket(new_layout(tmp_path_factory.mktemp("market"))) as market:
        Chain(market, Screen()).set_up()
        yield market


@pytest.fixture(scope="session")
def chain(market: DemoMarket) -> Chain:
    """The main job's links, to be played one by one."""
    return Chain(market, Screen())


@pytest.fixture(scope="session")
def played(chain: Chain) -> Chain:
    """A market on which both scenes were played: four products on sale, bought and called."""
    for scene in scenes.SCENES:
        chain.play_scene(scene)
    return chain
