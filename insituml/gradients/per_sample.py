"""The loss of each sample by itself, of any module: ``vmap`` or a plain loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from insituml.gradients.batch_pass import CANNOT_BATCH
from insituml.gradients.module import Loss, LossOf, evaluation_mode
from insituml.gradients.sample_gradients import one_by_one
from insituml.gradients.unchanged import unchanged


def per_sample_losses(
    module: nn.Module,
    loss: LossOf,
    batch: tuple[Tensor, ...],
    weights: Mapping[str, Tensor] | None = None,
    *,
    outputs: LossOf | None = None,
    batched: bool = True,
) -> Tensor:
    """Evaluate the loss of each sample of a batch, without a graph and in ``eval`` mode.

    Parameters
    ----------
    module
        Its mode is restored afterwards.
    loss
        ``loss(module, batch) -> scalar``; called with batches of one sample.
    batch
        Tensors whose first dimension are the n samples, on the module's device.
    weights
        Parameters to use in place of the module's own, by name.
    outputs
        ``outputs(module, batch) -> (n, ...)``, evaluated for the whole batch in one pass; ``loss``
        is then called with ``(output, *batch)``. Much faster than ``vmap`` through the layers.
    batched
        Use ``vmap``, where it can batch the loss; False takes the samples one by one.

    Returns
    -------
    Tensor
        ``(n,)``.
    """
    if len(batch[0]) == 0:
        return torch.zeros(0, device=batch[0].device)
    replaced = {f"module.{name}": value for name, value in (weights or {}).items()}
    wrapped = Loss(module, loss)

    def one(*sample: Tensor) -> Tensor:
        return functional_call(wrapped, replaced, tuple(t.unsqueeze(0) for t in sample))

    with evaluation_mode(module), unchanged(module) as restore, torch.no_grad():
        if outputs is not None:
            batch = (functional_call(Loss(module, outputs), replaced, batch), *batch)
            restore()
        if batched:
            try:
                return vmap(one, randomness="different")(*batch)
            except CANNOT_BATCH as error:
                one_by_one("the losses", error, "batched=False")
        losses = []
        for sample in zip(*batch, strict=True):
            restore()
            losses.append(one(*sample))
        return torch.stack(losses)
