"""The design matrix of a department: missing values filled in, levels as dummies, standardised. Node side.

All fits share the standardisation of fit 0, of which another fit's would only be another parametrisation (the
coordinator scales the penalties accordingly); what they fill in for missing values is their own. Where departments
standardise by their own means, each fit does so by the rows it is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shuyan.federation.inputs import Inputs
from shuyan.federation.learning import split as splits
from shuyan.federation.learning.columns import LearningParams, slices
from shuyan.federation.learning.frame import MISSING, Frame
from shuyan.federation.ring import Floats

Mask = npt.NDArray[np.bool_]

_CACHE = "learning.design"
CHUNK = 65_536
"""Rows worked on at once, so that temporary arrays stay small."""


@dataclass(frozen=True)
class Scaling:
    """What the coordinator found for the whole.

    Attributes:
        fill: shape (fits, imputed features): the number filled in, or the level's place.
        mean, sd: shape (p,), of fit 0; None where departments standardise by their own.
    """

    fill: Floats
    mean: Floats | None
    sd: Floats | None

    @classmethod
    def of(cls, params: LearningParams, arrays: Mapping[str, Floats]) -> Scaling:
        """From the arrays that came with a question."""
        imputed = len(params.imputed())
        fill = arrays["fill"].reshape(-1, imputed) if imputed else np.zeros((splits.fits(params.split), 0))
        return cls(fill, arrays.get("mean"), arrays.get("sd"))

    def lengths(self) -> dict[str, int]:
        """Of the arrays a question brings."""
        return {name: array.size for name, array in self.arrays().items()}

    def arrays(self) -> dict[str, Floats]:
        """As arrays for a question."""
        named = {"fill": self.fill.ravel(), "mean": self.mean, "sd": self.sd}
        return {name: array for name, array in named.items() if array is not None and array.size}


def scaling_lengths(params: LearningParams, *, pooled: bool) -> dict[str, int]:
    """The lengths of the arrays that :class:`Scaling` travels in."""
    terms = len(params.terms())
    lengths = {"fill": splits.fits(params.split) * len(params.imputed())}
    if pooled:
        lengths |= {"mean": terms, "sd": terms}
    return {name: length for name, length in lengths.items() if length}


class Design:
    """A department's design matrices.

    Args:
        frame: the usable rows, n of them.
        params: names the features.
        scaling: fill values, means and standard deviations.
    """

    def __init__(self, frame: Frame, params: LearningParams, scaling: Scaling) -> None:
        self.frame, self._params, self._scaling = frame, params, scaling
        self._training = splits.training(params.split)
        self._base = self._raw(0)
        if scaling.mean is not None and scaling.sd is not None:
            self._base[:, :-1] -= scaling.mean
            self._base[:, :-1] /= scaling.sd

    @classmethod
    def cached(cls, inputs: Inputs, frame: Frame, params: LearningParams, scaling: Scaling) -> Design:
        """The design of this run, made once."""
        key = b"".join(name.encode() + array.tobytes() for name, array in sorted(scaling.arrays().items()))
        found = inputs.cache.get(_CACHE)
        if found is None or found[0] != key:
            inputs.cache.pop(_CACHE, None)  # the old one goes before the new one is made
            found = (key, cls(frame, params, scaling))
            inputs.cache[_CACHE] = found
        design: Design = found[1]
        return design

    def rows(self, fit: int, parts: list[int]) -> tuple[Mask | slice, Floats]:
        """Which rows belong to ``parts``, and their matrix under one fit, shape (rows, p + 1), a last column of ones."""
        among = self.frame.among(parts)
        chosen: Mask | slice = slice(None) if among.all() else among  # all of them need no copy
        if self._scaling.mean is None:
            return chosen, self._own(fit)[chosen]
        matrix = self._base[chosen]
        return chosen, matrix if fit == 0 else self._refilled(matrix, fit, chosen)

    def training(self, fit: int) -> tuple[Mask | slice, Floats]:
        """The rows a fit is trained on, as for :meth:`rows`."""
        return self.rows(fit, self._training[fit])

    def _raw(self, fit: int) -> Floats:
        """Filled in but not standardised, with a last column of ones."""
        params, frame = self._params, self.frame
        matrix = np.empty((len(frame), len(params.terms()) + 1))
        matrix[:, -1] = 1.0
        imputed = params.imputed()
        for name, place in slices(params).items():
            block = matrix[:, place]
            if params.is_category(name):
                codes = frame.codes[name]
                if name in imputed:
                    codes = np.where(codes == MISSING, int(self._scaling.fill[fit, imputed.index(name)]), codes)
                for level in range(1, len(params.domains[name])):
                    block[:, level - 1] = codes == level
            else:
                values = frame.numbers[name]
                if name in imputed:
                    values = np.where(np.isnan(values), self._scaling.fill[fit, imputed.index(name)], values)
                block[:, 0] = values
            if params.has_indicator(name):
                block[:, -1] = self._missing(name)
        return matrix

    def _missing(self, name: str) -> Mask:
        if self._params.is_category(name):
            return np.asarray(self.frame.codes[name] == MISSING)
        return np.isnan(self.frame.numbers[name])

    def _refilled(self, matrix: Floats, fit: int, chosen: Mask | slice) -> Floats:
        """Another fit's fill values in place of fit 0's."""
        params, scaling = self._params, self._scaling
        places = slices(params)
        copied = not isinstance(chosen, slice)
        for at, name in enumerate(params.imputed()):
            before, after = scaling.fill[0, at], scaling.fill[fit, at]
            missing = self._missing(name)[chosen]
            if before == after or not missing.any():
                continue
            if not copied:
                matrix, copied = matrix.copy(), True
            start = places[name].start
            assert scaling.mean is not None
            assert scaling.sd is not None
            if not params.is_category(name):
                matrix[missing, start] = (after - scaling.mean[start]) / scaling.sd[start]
                continue
            for level in range(1, len(params.domains[name])):
                term = start + level - 1
                matrix[missing, term] = (float(after == level) - scaling.mean[term]) / scaling.sd[term]
        return matrix

    def _own(self, fit: int) -> Floats:
        """All rows, standardised by this department's mean and deviation over the rows the fit is trained on."""
        matrix = self._base.copy() if fit == 0 else self._raw(fit)
        training = matrix[self.frame.among(self._training[fit]), :-1]
        if len(training):
            shift = training[0].copy()  # a constant column is exactly nought away from it
            mean = shift + (training - shift).mean(axis=0)
            sd = np.sqrt(((training - mean) ** 2).mean(axis=0))
            matrix[:, :-1] -= mean
            matrix[:, :-1] /= np.where(sd > 0, sd, 1.0)
        return matrix


def chunks(rows: int) -> Iterator[slice]:
    """The rows in pieces."""
    return (slice(start, min(start + CHUNK, rows)) for start in range(0, rows, CHUNK))
