"""The process behind the browser tests: ``serve`` builds the scene and serves it, ``play NAME [RESULT]`` runs one of its jobs."""

from __future__ import annotations

import pickle
import sys

from tests.browser import scene

from marketplace import cli
from marketplace.settings import settings


def market(*arguments: str) -> None:
    """One ``shuyan-market`` command in this process."""
    sys.argv = ["shuyan-market", *arguments]
    try:
        cli.main()
    except SystemExit as done:
        if done.code:
            raise


def main(arguments: list[str]) -> None:
    """See the module."""
    kept = settings().data_dir / "scene.pickle"
    if arguments[0] == "serve":
        market("init")
        kept.write_bytes(pickle.dumps(scene.build()))
        market("serve")
    else:
        name, what = arguments[1], arguments[2] if len(arguments) > 2 else "statistics"
        if what == "statistics":
            content, told = scene.statistics_content(), [(round_, 6, "round_finished", {}) for round_ in range(1, 7)]
        else:
            content, told = scene.computed(*scene.PARAMS[what][:2])
            told = [one for one in told if one[2] == "round_loss"]  # the rest would only take time
        scene.play(pickle.loads(kept.read_bytes()), name, content, told)


if __name__ == "__main__":
    main(sys.argv[1:])
