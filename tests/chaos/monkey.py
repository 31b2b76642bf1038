"""Kills processes with ``kill -9`` and starts again what a supervisor would start again."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable

import psutil
from demo.market import COORDINATOR, MARKET
from tests.factories.town import Town

# What is killed how often. "web worker" and "node worker" are children: their parents have to notice.
VICTIMS = {"coordinator": 3, "node": 3, "node worker": 2, "web": 2, "web worker": 2}


class Monkey:
    """Runs on the main thread, since the processes it starts are tied to the thread that starts them."""

    def __init__(self, market: Town, seed: int) -> None:
        self._market = market
        self._chance = random.Random(f"monkey {seed}")
        self.kills: Counter[str] = Counter()

    def rampage(self, kills: int, alive: Callable[[], None]) -> None:
        """Kill ``kills`` times at random moments; ``alive`` is called between kills and may raise."""
        while self.kills.total() < kills:
            self._pause(self._chance.uniform(0.1, 2.5), alive)
            victim = self._chance.choices([*VICTIMS], weights=[*VICTIMS.values()])[0]
            if getattr(self, "_kill_" + victim.replace(" ", "_"))():
                self.kills[victim] += 1

    def _pause(self, seconds: float, alive: Callable[[], None]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alive()
            self.revive()
            time.sleep(min(0.1, seconds))

    def revive(self) -> None:
        """Start again what ended by itself, as a service manager does: the web supervisor gives up when a worker dies
        within seconds of being started."""
        for ended in self._market.processes.ended():
            self._market.processes.restart(ended.name)

    def _kill_coordinator(self) -> bool:
        return self._kill_service(COORDINATOR)

    def _kill_web(self) -> bool:
        return self._kill_service(MARKET)

    def _kill_node(self) -> bool:
        return self._kill_service(self._chance.choice([one.slug for one in self._market.districts]))

    def _kill_service(self, name: str) -> bool:
        self._market.processes.kill(name)
        if self._chance.random() < 0.5:  # a supervisor does not always come at once
            time.sleep(self._chance.uniform(0.0, 2.0))
        self._market.processes.restart(name)
        return True

    def _kill_node_worker(self) -> bool:
        return self._kill_child(self._chance.choice([one.slug for one in self._market.districts]))

    def _kill_web_worker(self) -> bool:
        return self._kill_child(MARKET)

    def _kill_child(self, name: str) -> bool:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._market.processes.pid(name)).children(recursive=True)
            # multiprocessing's own helper holds nothing of ours
            children = [one for one in children if "resource_tracker" not in " ".join(one.cmdline())]
            if children:
                self._chance.choice(children).kill()
                return True
        return False
