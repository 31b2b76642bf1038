"""``python -m shuyan.confinement``: close everything, here, and say what took hold."""

from __future__ import annotations

import sys

from shuyan import confinement

if __name__ == "__main__":
    everything = confinement.Confinement(hide=True)
    layers = [*confinement.shut_in(everything), *confinement.seal(everything)]
    sys.stdout.write(" ".join(layers) + "\n")
