"""The gradient of a loss on stored samples, without touching ``p.grad``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]


def reference_gradient(
    loss: Callable[[Batch], Tensor], parameters: Sequence[Tensor], batches: Iterable[Batch]
) -> tuple[Tensor, list[Tensor]]:
    """Mean loss and its gradient over all samples of ``batches``.

    Parameters
    ----------
    loss
        ``loss(batch) -> scalar``, a mean over the batch.
    parameters
        What to differentiate by.
    batches
        Tuples of tensors; a larger batch counts for more.

    Returns
    -------
    loss, gradients
        A detached scalar, and one tensor a parameter; zeros for one the loss does not use.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    parameters = list(parameters)
    count, total, sums = 0, None, [torch.zeros_like(p) for p in parameters]
    for batch in batches:
        weight = len(batch[0])
        value = loss(batch)
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        count += weight
        total = value.detach() * weight if total is None else total + value.detach() * weight
        for running, gradient in zip(sums, gradients, strict=True):
            if gradient is not None:
                running.add_(gradient, alpha=weight)
    if total is None:
        raise ValueError("the reference data are empty; store samples of a past task first")
    return total / count, [running / count for running in sums]
