"""``python -m shuyan.sandbox``: close everything, here, and say what took hold."""

from __future__ import annotations

import sys

from shuyan import sandbox

if __name__ == "__main__":
    everything = sandbox.Confinement(hide=True)
    layers = [*sandbox.shut_in(everything), *sandbox.seal(everything)]
    sys.stdout.write(" ".join(layers) + "\n")
