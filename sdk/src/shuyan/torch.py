"""A released neural network as a PyTorch module, to go on with it: fine-tuning on data of one's own, embedding, exporting.

Needs the extra ``shuyan[torch]``. Departments train in NumPy and need none of it; see ``docs/decisions.md``.

>>> network = Network(model.content)                     # or model.to_torch()
>>> optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
>>> network.loss(network(network.inputs(rows)), network.targets(answers)).backward()
>>> shuyan.scoring.score(network.content(), rows[0])     # served as a released model is
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shuyan.scoring import _features
from shuyan.scoring.network import inputs_of

__all__ = ["Network"]


class Network(nn.Module):  # type: ignore[misc,unused-ignore]
    """A multi-layer perceptron with a released model's weights, in double precision as it was trained.

    Its layers are ``network.layers``, an ``nn.Sequential``, so that ``state_dict``, ``torch.export`` and ONNX see nothing unusual.

    Args:
        content: what the app ``network`` gave.

    Raises:
        ValueError: it is a model of another family.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        if content.get("family") != "neural_network":
            raise ValueError("only neural networks become PyTorch modules")
        super().__init__()
        self._content = copy.deepcopy(dict(content))
        found = content["layers"]
        widths = [len(found[0]["weights"]), *(len(layer["biases"]) for layer in found)]
        parts: list[nn.Module] = []
        for (before, after), layer in zip(pairwise(widths), found, strict=True):
            linear = nn.Linear(before, after, dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(layer["weights"], dtype=torch.float64).T)
                linear.bias.copy_(torch.tensor(layer["biases"], dtype=torch.float64))
            parts += [linear, nn.ReLU() if content["activation"] == "relu" else nn.Tanh()]
        self.layers = nn.Sequential(*parts[:-1])

    @property
    def task(self) -> str:
        """``binary``, ``classes`` or ``number``."""
        return str(self._content["task"])

    def inputs(self, rows: Iterable[Mapping[str, Any]]) -> Tensor:
        """Cases as the network reads them: numbers standardised as in training, categories one-hot, shape (n, inputs).

        Raises:
            ProblemError: as :func:`shuyan.scoring.score`, naming the feature.
        """
        return torch.tensor([inputs_of(self._content, row) for row in rows], dtype=torch.float64).reshape(-1, self.layers[0].in_features)

    def targets(self, answers: Sequence[Any]) -> Tensor:
        """True answers as :meth:`loss` reads them: 0 and 1, classes by name or place, or numbers."""
        if self.task == "classes":
            classes = self._content["classes"]
            return torch.tensor([classes.index(_features.level(answer)) for answer in answers])
        found = torch.tensor([float(answer) for answer in answers], dtype=torch.float64)
        return (found - self._content["scale"]["mean"]) / self._content["scale"]["sd"] if self.task == "number" else found

    def forward(self, inputs: Tensor) -> Tensor:
        """What the last layer says, shape (n, outputs): log-odds, log-probabilities up to a constant, or standardised numbers."""
        outputs: Tensor = self.layers(inputs)
        return outputs

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss that departments minimise: log loss, or half the squared error of standardised numbers."""
        if self.task == "classes":
            return functional.cross_entropy(outputs, targets)
        if self.task == "binary":
            return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets)
        return functional.mse_loss(outputs[:, 0], targets) / 2

    @torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
    def predict(self, rows: Iterable[Mapping[str, Any]]) -> Tensor:
        """Probabilities of class 1, shape (n,); of every class, shape (n, classes); or numbers, shape (n,)."""
        outputs = self(self.inputs(rows))
        if self.task == "classes":
            return outputs.softmax(dim=1)
        if self.task == "binary":
            return outputs[:, 0].sigmoid()
        return outputs[:, 0] * self._content["scale"]["sd"] + self._content["scale"]["mean"]

    def content(self) -> dict[str, Any]:
        """The model with the weights as they are now, as ``score`` reads it.

        Figures that the federation measured are left out once weights have changed: they were about others. What is
        said of privacy stays true of the departments' rows, whatever is done with the weights.
        """
        layers = [{"weights": part.weight.detach().T.tolist(), "biases": part.bias.detach().tolist()}
                  for part in self.layers if isinstance(part, nn.Linear)]
        found = copy.deepcopy(self._content)
        if layers != found["layers"]:
            found |= {"layers": layers, "metrics": {}, "history": []}
            found.pop("audit", None)
        return found
