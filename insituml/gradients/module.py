"""What is asked of a module: its mode, its loss, its trainable parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

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
    # cuDNN's recurrent layers have no gradient outside of training mode; torch's own have.
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    try:
        with torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext():
            yield
    finally:
        for part, was_training in were_training:
            part.training = was_training


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes, in order."""
    return [p for p in module.parameters() if p.requires_grad]


def moving_parameters(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return those that the next step moves: the loss used them, so that they have a gradient.

    A gradient that is None stays None: zeros in its place would let an optimizer go on with its
    momentum and weight decay.
    """
    return [p for p in parameters if p.requires_grad and p.grad is not None]


@contextmanager
def dense_gradients(parameters: Iterable[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Lend the gradients of moving parameters, to be changed in place; sparse ones as dense."""
    gradients, sparse = [], []
    for parameter in parameters:
        gradient = parameter.grad
        assert gradient is not None
        if gradient.layout == torch.sparse_coo:
            dense = gradient.to_dense()
            sparse.append((parameter, dense, gradient.sparse_dim()))
            gradient = dense
        gradients.append(gradient)
    yield gradients
    for parameter, dense, dimensions in sparse:
        parameter.grad = dense.to_sparse(dimensions)
