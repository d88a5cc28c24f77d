"""The loss of each sample by itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from insituml.gradients.evaluation_mode import evaluation_mode
from insituml.gradients.loss_module import Loss, LossOf


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
        Use ``vmap``; False takes the samples one by one, for losses that ``vmap`` cannot batch.

    Returns
    -------
    Tensor
        ``(n,)``.
    """
    replaced = {f"module.{name}": value for name, value in (weights or {}).items()}
    wrapped = Loss(module, loss)

    def one(*sample: Tensor) -> Tensor:
        return functional_call(wrapped, replaced, tuple(t.unsqueeze(0) for t in sample))

    with evaluation_mode(module), torch.no_grad():
        if outputs is not None:
            batch = (functional_call(Loss(module, outputs), replaced, batch), *batch)
        if not batched:
            return torch.stack([one(*sample) for sample in zip(*batch, strict=True)])
        try:
            return vmap(one, randomness="different")(*batch)
        except RuntimeError as error:
            error.add_note("If vmap cannot batch this loss, batched=False does without vmap.")
            raise
