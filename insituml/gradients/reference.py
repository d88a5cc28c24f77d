"""The gradient of a loss on stored samples, without touching ``p.grad``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from insituml import ranks
from insituml.gradients.sample_loop import plain_gradients

Batch = tuple[Tensor, ...]


def reference_gradient(
    loss: Callable[[Batch], Tensor], parameters: Sequence[nn.Parameter], batches: Iterable[Batch]
) -> tuple[Tensor, list[Tensor]]:
    """Mean loss and its gradient over all samples of ``batches``.

    Parameters
    ----------
    loss
        ``loss(batch) -> scalar``, a mean over the batch.
    parameters
        What to differentiate by: all that require a gradient.
    batches
        Tuples of tensors; a larger batch counts for more. On several ranks each has its own, none
        perhaps, and the mean is over the samples of all.

    Returns
    -------
    loss, gradients
        A detached scalar, and one tensor a parameter, of float32 at least; zeros for one the loss
        does not use.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    parameters = list(parameters)
    count, total, sums = 0, torch.zeros(()), list[Tensor]()
    for batch in batches:
        weight, values = len(batch[0]), list[Tensor]()
        if weight == 0:
            continue

        def evaluate(batch: Batch = batch, values: list[Tensor] = values) -> Tensor:
            value = loss(batch)
            values.append(value.detach())
            return value

        found = plain_gradients(evaluate, parameters, parameters)
        gradients = [_wide(p, g) for p, g in zip(parameters, found, strict=True)]
        value = values[-1].to(torch.promote_types(values[-1].dtype, torch.float32))
        if count == 0:
            count, total, sums = weight, value, gradients
            continue
        # The mean so far moves towards the new one by the new one's share of the samples.
        count += weight
        share = weight / count
        total = torch.lerp(total, value, share)
        torch._foreach_lerp_(sums, gradients, share)
    if ranks.size() > 1:
        count, total, sums = _joint(parameters, count, total, sums)
    if count == 0:
        raise ValueError("the reference data are empty; store samples of a past task first")
    return total, sums


def _joint(
    parameters: Sequence[nn.Parameter], count: int, total: Tensor, sums: list[Tensor]
) -> tuple[int, Tensor, list[Tensor]]:
    """Return the number of samples of all ranks, and the means over them."""
    if not count:
        sums = [_wide(p, None) for p in parameters]
    device = parameters[0].device if parameters else total.device
    numbers = torch.tensor([0.0, count], dtype=torch.float64, device=device)
    if count:
        numbers[0] = total * float(count)
    torch._foreach_mul_(sums, float(count))
    ranks.add_up([*sums, numbers])
    torch._foreach_div_(sums, float(numbers[1]))
    return int(numbers[1]), numbers[0] / numbers[1], sums


def _wide(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    """Return the gradient, of float32 at least and still complex for a complex parameter."""
    kind = torch.promote_types(parameter.dtype, torch.float32)
    if gradient is None:
        return torch.zeros_like(parameter, dtype=kind)
    return gradient.to(kind)
