"""Samples mixed with those of the same place at a neighbouring iteration: what lies in between.

A stream holds a field at some of its times only. Where fields superpose, a mixture of two of them
is another one that could have been; of plasma this holds nearly, the better the closer they are.

References
----------
Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018; here restricted to neighbours
in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch, sent


@dataclass(frozen=True)
class IterationMixing:
    """Mixes samples that lie iteration by iteration, each with the same places in the same order.

    A sample x becomes ``(1 − λ) x + λ x'``, λ uniform in [0, 1), where x' is of the same place and
    up to ``reach`` iterations before or after, each as likely as the others. Iterations count as
    they lie there. Where there are fewer, it is the first or the last one; these mixed with
    themselves stay as they are.

    Parameters
    ----------
    reach
        Iterations, 1 or more.
    samples_per_iteration
        Such as the chunks of a field.

    Raises
    ------
    ValueError
        If a number is below 1.
    """

    reach: int
    samples_per_iteration: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.reach, self.samples_per_iteration) < 1:
            raise ValueError(
                f"reach is {self.reach} and samples_per_iteration {self.samples_per_iteration}; "
                "expected 1 or more of each"
            )

    def check(self, count: int, where: str) -> None:
        """Raise ValueError, saying ``where``, unless so many samples are of whole iterations."""
        if count % self.samples_per_iteration:
            raise ValueError(
                f"{where} has {count} samples, but whole iterations have "
                f"{self.samples_per_iteration} each; only these can be mixed"
            )

    def draw(
        self, rows: Tensor, count: int, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw what samples are mixed with, and how much of it.

        Parameters
        ----------
        rows
            ``(n,)``, which of the samples are to be mixed.
        count
            How many there are. Some of the first iteration may be missing, as they are when a
            buffer lets go of the oldest samples, but none in between.
        generator
            Decides, on the CPU.

        Returns
        -------
        partners
            ``(n,)``, which sample each is mixed with.
        weights
            ``(n,)``, λ.
        """
        size = self.samples_per_iteration
        places = torch.randint(2 * self.reach, rows.shape, generator=generator)
        weights = torch.rand(rows.shape, generator=generator)
        offsets = places - self.reach  # without 0: -2, -1, 1, 2
        offsets = sent(offsets + (offsets >= 0), rows.device)
        before = rows.div(size, rounding_mode="floor")
        after = (count - 1 - rows).div(size, rounding_mode="floor")
        return rows + size * torch.minimum(torch.maximum(offsets, -before), after), weights

    def draw_stored(
        self, rows: Tensor, numbers: Tensor, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw as :meth:`draw` does, of samples of which only some are at hand, in any order.

        Each of those in reach that are at hand is as likely as the others. One that has none is
        mixed with itself, which leaves it as it is.

        Parameters
        ----------
        rows
            ``(n,)``, which of those at hand are to be mixed.
        numbers
            ``(m,)``, the place of each of those at hand in the stream, from 0.
        generator
            Decides, on the CPU.

        Returns
        -------
        partners, weights
            As of :meth:`draw`.
        """
        steps = torch.arange(-self.reach, self.reach + 1)
        wanted = numbers[rows, None] + self.samples_per_iteration * steps[steps != 0]
        ascending = numbers.argsort()
        nearest = torch.searchsorted(numbers[ascending], wanted).clamp(max=len(numbers) - 1)
        found = ascending[nearest]
        likeliness = torch.rand(wanted.shape, generator=generator)
        weights = torch.rand(rows.shape, generator=generator)
        is_there = numbers[found] == wanted
        chosen = likeliness.masked_fill(~is_there, -1).argmax(1, keepdim=True)
        partners = torch.where(is_there.any(1), found.gather(1, chosen).squeeze(1), rows)
        return partners, weights

    def randomly(
        self,
        batch: Batch,
        rows: Tensor,
        count: int,
        read: Callable[[Tensor], Tensor],
        *,
        generator: torch.Generator,
    ) -> Batch:
        """Return a batch whose inputs are mixed by chance; what belongs to them stays their own.

        Parameters
        ----------
        batch
            The inputs, then whatever belongs to them; not changed.
        rows, count, generator
            As in :meth:`draw`; on several ranks the rows of all, of which the batch has this one's.
        read
            Returns the inputs of rows, on any device; on several ranks, of this one's among them.
        """
        partners, weights = self.draw(rows, count, generator=generator)
        return mixed(batch, read(partners), weights[ranks.share()])


def mixed(batch: Batch, partners: Tensor, weights: Tensor) -> Batch:
    """Return a batch with inputs ``(1 − λ) x + λ x'``; what belongs to them stays their own.

    Parameters
    ----------
    batch
        The inputs x, then whatever belongs to them; not changed.
    partners
        x', of the shape of the inputs, on any device.
    weights
        ``(n,)``, λ.
    """
    inputs = batch[0]
    shape = (-1, *(1,) * (inputs.dim() - 1))
    others, share = sent(partners, inputs.device), sent(weights, inputs.device)
    between = torch.lerp(inputs, others, share.to(inputs.dtype).view(shape))
    return (between, *batch[1:])
