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
    count, total, sums = 0, torch.zeros(()), list[Tensor]()
    for batch in batches:
        weight = len(batch[0])
        value = loss(batch)
        gradients = torch.autograd.grad(
            value, parameters, allow_unused=True, materialize_grads=True
        )
        if count == 0:
            count, total, sums = weight, value.detach(), list(gradients)
            continue
        # The mean so far moves towards the new one by the new one's share of the samples.
        count += weight
        share = weight / count
        total = torch.lerp(total, value.detach(), share)
        torch._foreach_lerp_(sums, gradients, share)
    if count == 0:
        raise ValueError("the reference data are empty; store samples of a past task first")
    return total, sums
