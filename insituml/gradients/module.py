"""What is asked of a module: its mode, its loss, its trainable parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
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


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put the module in ``eval`` mode; each submodule's own mode is restored afterwards.

    Gradients are recorded as before: add ``torch.no_grad()`` where none are wanted.
    """
    were_training = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in were_training:
            part.training = was_training


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes, in order."""
    return [p for p in module.parameters() if p.requires_grad]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the parameters' gradients; one that is missing becomes zeros."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients
