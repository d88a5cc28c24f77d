"""The gradient of one loss by plain autograd, which takes all that training takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def plain_gradients(
    loss: Callable[[], Tensor],
    parameters: Sequence[nn.Parameter],
    everything: Sequence[nn.Parameter],
) -> list[Tensor | None]:
    """Return the gradient by each parameter, dense; None for one that the loss does not use.

    Parameters
    ----------
    loss
        Evaluates to a scalar.
    parameters
        What to differentiate by.
    everything
        All parameters of the module, whose ``.grad`` is left alone.
    """
    with torch.enable_grad():
        value = loss()
        if not value.requires_grad or not parameters:
            return [None] * len(parameters)
        try:
            found: Sequence[Tensor | None]
            found = torch.autograd.grad(value, parameters, allow_unused=True)
        except RuntimeError as error:
            if "heckpoint" not in str(error):
                raise
            # Reentrant activation checkpointing knows backward() alone.
            with _gradients_aside(everything):
                loss().backward()
                found = [p.grad for p in parameters]
    return [g.to_dense() if g is not None and g.layout != torch.strided else g for g in found]


@contextmanager
def _gradients_aside(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    held = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, held, strict=True):
            parameter.grad = gradient
