"""Errors of reconstructions in the unit of the data, of all samples of a task together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from insituml.data.normalisation import Normalisation
from insituml.physical_metrics import MAIN
from insituml.relative_error import RelativeError
from insituml.structural_similarity import has_similarity, structural_similarity

_VALUES_AT_ONCE = 2**20
"""That SSIM, which makes ten copies of them, is computed of."""


@dataclass(frozen=True, eq=False)
class PhysicalScale:
    """What normalised samples of one task mean.

    Parameters
    ----------
    components, units
        Of the samples' first axis, a unit each; empty where they have none.
    normalisation
        That of the samples.
    ranges
        ``(components,)``: largest less smallest value of each in the task's held-out data, in its
        unit; 0 of a constant one. PSNR and SSIM are relative to it, as is usual for fields, whose
        values are not bounded as those of images are.
    """

    components: tuple[str, ...]
    units: tuple[str, ...]
    normalisation: Normalisation
    ranges: np.ndarray

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        components: tuple[str, ...],
        units: tuple[str, ...],
        normalisation: Normalisation,
    ) -> Self:
        """Measure the ranges of a task's normalised held-out inputs ``(n, components, ...)``."""
        values = inputs.transpose(0, 1).flatten(start_dim=1)
        ranges = (values.amax(dim=1) - values.amin(dim=1)).double().cpu().numpy()
        return cls(components, units, normalisation, ranges * normalisation.std)


class PhysicalErrors:
    """Accumulates what the errors of a task are made of, batch by batch, in float64.

    Parameters
    ----------
    scale
        What the samples mean.
    similarity
        Whether SSIM is wanted: it takes longer than all others, and samples of two or three axes
        that hold its window.
    """

    def __init__(self, scale: PhysicalScale, *, similarity: bool = False) -> None:
        count = len(scale.components)
        self._scale = scale
        self._similarity = similarity
        self._differences = np.zeros(count)
        self._squares = np.zeros(count)
        self._largest = np.zeros(count)
        self._similarities = np.zeros(count)
        self._samples = 0
        self._values = 0  # of each component

    def update(self, originals: Tensor, decoded: Tensor) -> None:
        """Take in normalised samples ``(n, components, ...)`` and what became of them."""
        originals = originals.to(decoded.device)
        mean, std = (
            torch.from_numpy(values.astype(np.float64)).to(decoded.device)
            for values in (self._scale.normalisation.mean, self._scale.normalisation.std)
        )
        for c in range(len(self._scale.components)):  # one at a time: the copies stay small
            values = originals[:, c].double()
            differences = (decoded[:, c].double() - values) * std[c]
            self._differences[c] += float(differences.square().sum())
            self._squares[c] += float((values * std[c] + mean[c]).square().sum())
            self._largest[c] = np.maximum(self._largest[c], float(differences.abs().amax()))
        if self._similarity and has_similarity(originals.shape[1:]):
            self._add_similarities(originals, decoded, mean, std)
        else:
            self._similarities += np.nan
        self._samples += len(originals)
        self._values += originals[:, 0].numel()

    def _add_similarities(
        self, originals: Tensor, decoded: Tensor, mean: Tensor, std: Tensor
    ) -> None:
        beside = (-1, *(1,) * (originals.ndim - 2))
        known = self._scale.ranges > 0
        range_ = torch.from_numpy(np.where(known, self._scale.ranges, 1)).to(mean.device)
        factor, offset = ((v / range_).float().view(beside) for v in (std, mean))
        at_once = max(1, _VALUES_AT_ONCE // originals[0].numel())
        for rows in zip(decoded.split(at_once), originals.split(at_once), strict=True):
            found = structural_similarity(*(values * factor + offset for values in rows))
            self._similarities += np.where(known, found.double().sum(dim=0).cpu().numpy(), np.nan)

    def numbers(self) -> dict[str, float]:
        """Return the errors by name, ``relative_l2`` first.

        ``relative_l2`` is ‖x − x̂‖ / ‖x‖; ``psnr`` the range over the root mean square error, in
        decibels; ``rmse`` and ``max_error`` are in the components' unit. With ``.<component>``
        that of one, where there are several; without, of all together:

        - ``relative_l2`` of the vector, see :meth:`RelativeError.overall`;
        - ``psnr`` of the mean over components of their squared errors, each in parts of its range;
        - ``ssim`` the mean over components;
        - ``rmse`` and ``max_error`` over all values, where components share their unit.

        NaN has what is not defined: of a component that is 0, or constant, throughout; SSIM where
        it was not asked for.
        """
        scale = self._scale
        alike = len(set(scale.units)) <= 1
        relative = RelativeError.of_sums(self._differences, self._squares)
        count = max(self._values, 1)
        mean_squares = self._differences / count
        # A constant component has no range, an exact reconstruction no end of decibels.
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(scale.ranges > 0, mean_squares / scale.ranges**2, np.nan)
            decibels = -10 * np.log10(shares)
            overall = float(-10 * np.log10(_mean_of_known(shares, scale.ranges > 0)))
        similarities = self._similarities / max(self._samples, 1)
        nan = float("nan")
        numbers = {
            MAIN: (relative.overall(scale.units), relative.by_component()),
            "psnr": (overall, decibels),
            "ssim": (_mean_of_known(similarities, scale.ranges > 0), similarities),
            "rmse": (float(np.sqrt(mean_squares.mean())) if alike else nan, np.sqrt(mean_squares)),
            "max_error": (float(self._largest.max()) if alike else nan, self._largest),
        }
        named = {name: value for name, (value, _) in numbers.items()}
        if len(scale.components) > 1:
            for name, (_, values) in numbers.items():
                pairs = zip(scale.components, values, strict=True)
                named |= {f"{name}.{component}": float(value) for component, value in pairs}
        return named


def _mean_of_known(values: np.ndarray, known: np.ndarray) -> float:
    return float(values[known].mean()) if known.any() else float("nan")
