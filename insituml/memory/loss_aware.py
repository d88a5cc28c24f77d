"""Loss-aware memory: what is learned badly is stored with higher probability."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch
from insituml.memory.rows import RowMemory


class LossAwareMemory(RowMemory):
    """A weighted reservoir; the weight of a sample is ``loss ** exponent``.

    What it holds is distributed as if its samples had been drawn from everything seen one after
    the other, without replacement, each time in proportion to the weights of those left.

    Parameters
    ----------
    capacity
        Samples stored at most.
    exponent
        0: a uniform reservoir; the larger, the more the largest losses prevail.
    **options
        Further parameters of :class:`~insituml.memory.rows.RowMemory`.

    Raises
    ------
    ValueError
        If ``exponent`` is negative, and as in :class:`~insituml.memory.rows.RowMemory`.

    Notes
    -----
    A loss is that of the time when the sample was offered. :meth:`add` decides on the CPU: with
    losses on a GPU it waits for them.

    References
    ----------
    Efraimidis & Spirakis, "Weighted random sampling with a reservoir", Information Processing
    Letters 2006, algorithm A-Res.
    """

    needs_losses = True
    row_overhead = 16

    def __init__(
        self, capacity: int | None = None, *, exponent: float = 1.0, **options: Any
    ) -> None:
        super().__init__(capacity, **options)
        if exponent < 0:
            raise ValueError(f"exponent is {exponent}; expected 0 or more")
        self.exponent = exponent
        self._keys = torch.empty(0, dtype=torch.float64)

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        capacity, count, filled = self._allocate(samples), ranks.total(len(samples[0])), len(self)
        if len(self._keys) == 0:
            self._keys = torch.zeros(capacity, dtype=torch.float64)
        if losses is not None:
            (losses,) = rank_rows.everywhere((losses.detach().to("cpu", torch.float64),))
        keys = self._draw_keys(_checked(losses, count))
        # The largest keys stay, of those stored and those that come; of those stored, at most as
        # many as come can be displaced, the smallest ones.
        weakest = self._keys[:filled].topk(min(count, filled), largest=False).indices
        candidates = torch.cat([self._keys[weakest], keys])
        room = capacity - filled + len(weakest)
        enters = torch.zeros(len(candidates), dtype=torch.bool)
        enters[candidates.topk(min(room, len(candidates))).indices] = True
        chosen = enters[len(weakest) :].nonzero().flatten()
        replaced = weakest[~enters[: len(weakest)]].sort().values
        rows = torch.cat([replaced, filled + torch.arange(len(chosen) - len(replaced))])
        self._write(rows, samples, chosen, task)
        self._keys[rows] = keys[chosen]

    def _draw_keys(self, losses: Tensor) -> Tensor:
        """Return the logarithms of ``u ** (1 / weight)``, u being uniform in (0, 1)."""
        smallest = torch.finfo(torch.float64).tiny  # a loss of 0 comes last, but can be stored
        weights = losses.clamp(min=smallest).pow(self.exponent).clamp(min=smallest)
        uniform = torch.rand(len(losses), generator=self.generator, dtype=torch.float64)
        return (uniform.log() / weights).clamp(min=torch.finfo(torch.float64).min)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "keys": self._keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._keys = state["keys"].clone()


def _checked(losses: Tensor | None, count: int) -> Tensor:
    if losses is None or tuple(losses.shape) != (count,):
        arrived = None if losses is None else tuple(losses.shape)
        raise ValueError(f"losses are {arrived} for {count} samples; expected one number each")
    losses = losses.detach().to("cpu", torch.float64)
    smallest, largest = (float(bound) for bound in losses.aminmax()) if count else (0.0, 0.0)
    if not (smallest >= 0 and largest < float("inf")):  # true for NaN, too
        raise ValueError(
            f"the losses lie between {smallest} and {largest}; expected finite numbers of 0 or "
            "more (negative: a log-likelihood, use another memory; not finite: training diverges, "
            "try a smaller learning rate)"
        )
    return losses
