"""What is done to the market of the browser tests: ``build`` makes the scene, ``play`` runs its jobs, each as a
line ``NAME RESULT`` of its input asks for it."""

from __future__ import annotations

import pickle
import sys

from tests.browser import scene

from marketplace import cli
from marketplace.settings import settings


def main(arguments: list[str]) -> None:
    """See the module."""
    kept = settings().data_dir / "scene.pickle"
    if arguments[0] == "build":
        sys.argv = ["shuyan-market", "init"]
        try:
            cli.main()
        except SystemExit as done:
            if done.code:
                raise
        kept.write_bytes(pickle.dumps(scene.build()))
    else:
        for line in sys.stdin:
            _play(pickle.loads(kept.read_bytes()), *line.split())


def _play(there: scene.Scene, name: str, what: str) -> None:
    if what == "statistics":
        content, told = scene.statistics_content(), [(round_, 6, "round_finished", {}) for round_ in range(1, 7)]
    else:
        content, told = scene.computed(*scene.PARAMS[what][:2])
        told = [one for one in told if one[2] == "round_loss"]  # the rest would only take time
    scene.play(there, name, content, told)


if __name__ == "__main__":
    main(sys.argv[1:])
