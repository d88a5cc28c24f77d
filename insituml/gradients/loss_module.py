"""A loss as a module."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

LossOf = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
"""``loss(module, batch) -> scalar``, a mean over the batch's samples."""


class Loss(nn.Module):
    """Make ``loss(module, batch)`` a forward pass, which is what ``functional_call`` swaps."""

    def __init__(self, module: nn.Module, loss: LossOf) -> None:
        super().__init__()
        self.module = module
        self.loss = loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.module, batch)
