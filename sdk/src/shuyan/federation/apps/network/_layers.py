"""A multi-layer perceptron in NumPy: the loss of rows, its gradient, and the gradient with every row's part clipped.

All weights are one vector: by layer the matrix (inputs by units, row by row), then the biases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from shuyan.federation.learning import bounded
from shuyan.federation.ring import Floats

Task = Literal["binary", "classes", "number"]
Times = Callable[[Floats, Floats], Floats]
"""A product of matrices."""


@dataclass(frozen=True)
class Network:
    """The shape of a network.

    Args:
        widths: units by layer, inputs and outputs included.
    """

    widths: Sequence[int]
    activation: Literal["relu", "tanh"]
    task: Task

    @property
    def size(self) -> int:
        """Weights and biases in all."""
        return sum((before + 1) * after for before, after in pairwise(self.widths))

    def layers(self, weights: Floats) -> list[tuple[Floats, Floats]]:
        """Matrix and biases by layer, as views."""
        found, at = [], 0
        for before, after in pairwise(self.widths):
            matrix = weights[at : at + before * after].reshape(before, after)
            at += before * after
            found.append((matrix, weights[at : at + after]))
            at += after
        return found

    def first(self, seed: int) -> Floats:
        """First weights (Glorot & Bengio 2010, uniform; biases nought), the same for the same seed."""
        random = np.random.Generator(np.random.PCG64(seed))
        weights = np.zeros(self.size)
        for matrix, _ in self.layers(weights):
            limit = (6 / sum(matrix.shape)) ** 0.5
            matrix[:] = random.uniform(-limit, limit, matrix.shape)
        return weights

    def outputs(self, weights: Floats, inputs: Floats) -> Floats:
        """What the last layer says, shape (n, outputs): log-odds, log-probabilities up to a constant, or numbers."""
        return self._forward(weights, inputs)[-1]

    def _forward(self, weights: Floats, inputs: Floats, times: Times = np.matmul) -> list[Floats]:
        layers, activations = self.layers(weights), [inputs]
        for place, (matrix, biases) in enumerate(layers):
            linear = times(activations[-1], matrix) + biases
            if place < len(layers) - 1:
                linear = np.maximum(linear, 0) if self.activation == "relu" else np.tanh(linear)
            activations.append(linear)
        return activations

    def loss(self, outputs: Floats, target: Floats) -> float:
        """The sum of the losses of rows: log-loss, or half the squared error."""
        if self.task == "number":
            error = outputs[:, 0] - target
            return float(error @ error) / 2
        if self.task == "binary":
            return float(np.sum(np.logaddexp(0, outputs[:, 0]) - target * outputs[:, 0]))
        return -float(np.sum(np.log(np.maximum(softmax(outputs)[np.arange(len(target)), target.astype(np.intp)], 1e-300))))

    def _deltas(self, outputs: Floats, target: Floats) -> Floats:
        if self.task == "number":
            return outputs - target[:, None]
        if self.task == "binary":
            return 0.5 * (1 + np.tanh(0.5 * outputs)) - target[:, None]
        probability = softmax(outputs)
        probability[np.arange(len(target)), target.astype(np.intp)] -= 1
        return probability

    def _backward(self, weights: Floats, activations: list[Floats], target: Floats, times: Times = np.matmul) -> list[Floats]:
        """The derivatives of each row's loss by each layer's linear part."""
        deltas = [self._deltas(activations[-1], target)]
        layers = self.layers(weights)
        for place in range(len(layers) - 1, 0, -1):
            before = activations[place]
            slope = before > 0 if self.activation == "relu" else 1 - before**2
            deltas.insert(0, times(deltas[0], layers[place][0].T) * slope)
        return deltas

    def gradient(self, weights: Floats, inputs: Floats, target: Floats, row_clip: float | None = None) -> Floats:
        """The sum of the rows' gradients, each of them no longer than ``row_clip``."""
        activations = self._forward(weights, inputs)
        deltas = self._backward(weights, activations, target)
        if row_clip is not None:
            # The gradient of one row by a matrix is an outer product, so its norm needs no such matrix (Goodfellow 2015).
            squares = sum((delta**2).sum(axis=1) * ((before**2).sum(axis=1) + 1)
                          for delta, before in zip(deltas, activations[:-1], strict=True))
            factor = np.minimum(1.0, row_clip / np.maximum(np.sqrt(squares), 1e-300))
            deltas = [delta * factor[:, None] for delta in deltas]
        gradient = np.empty(self.size)
        for (matrix, biases), delta, before in zip(self.layers(gradient), deltas, activations[:-1], strict=True):
            matrix[:] = before.T @ delta
            biases[:] = delta.sum(axis=0)
        return gradient

    def row_gradients(self, weights: Floats, inputs: Floats, target: Floats, row_clip: float) -> Floats:
        """Every row's gradient by itself, no longer than ``row_clip`` and the same whatever other rows there are, shape (n, size)."""
        activations = self._forward(weights, inputs, bounded.times)
        deltas = self._backward(weights, activations, target, bounded.times)
        parts = []
        for delta, before in zip(deltas, activations[:-1], strict=True):
            parts += [(before[:, :, None] * delta[:, None, :]).reshape(len(inputs), -1), delta]
        rows = np.concatenate(parts, axis=1)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        factor: Floats = np.minimum(1.0, row_clip / np.maximum(norms, 1e-300))
        return np.asarray(rows * factor[:, None])


def softmax(outputs: Floats) -> Floats:
    """Probabilities of classes."""
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
