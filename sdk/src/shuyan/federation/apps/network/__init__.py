"""Federated neural networks: multi-layer perceptrons trained with Flower's FedAvg, FedProx and FedAdam on secure sums.

A department's change of the weights is clipped, multiplied by its rows and added up under masks; the strategies see the
mean only, as if one node had sent it. Everything runs in NumPy.
"""

from __future__ import annotations

from shuyan.federation.apps.network._app import app
from shuyan.federation.apps.network._content import NetworkContent
from shuyan.federation.apps.network._params import NetworkParams

__all__ = ["NetworkContent", "NetworkParams", "app"]
