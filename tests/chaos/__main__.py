"""``python -m tests.chaos --kills 100 --seed 1``: exit code 0 when nothing was lost, doubled or left undecided."""

from __future__ import annotations

import argparse
import sys

from tests.chaos.play import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the market's folder")
    options = parser.parse_args()
    outcome = play(options.kills, options.seed, keep=options.keep, say=lambda text: print(text, flush=True))
    for sentence in outcome.findings.found:
        print(f"NOT SO: {sentence}")
    print(outcome.summary())
    return 1 if outcome.findings.found else 0


if __name__ == "__main__":
    sys.exit(main())
