"""Exact diagonal of the empirical Fisher information."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

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
    """Put the module in ``eval`` mode; each submodule's own mode is restored afterwards."""
    were_training = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in were_training:
            part.training = was_training


def diagonal_fisher(
    module: nn.Module,
    loss: LossOf,
    samples: Sequence[Tensor],
    *,
    chunk_size: int = 16,
) -> dict[str, Tensor]:
    """Mean over samples of the squared per-sample gradient.

    ``F_i = 1/N Σ_n (∂ℓ(x_n, θ)/∂θ_i)²``. Squaring the gradient of a batch mean instead would
    shrink F several-fold and make it depend on the batch size.

    Parameters
    ----------
    module
        Evaluated in ``eval`` mode, so that no sample's loss depends on its neighbours; its mode is
        restored afterwards and its ``.grad`` is left alone.
    loss
        ``loss(module, batch)``; called with batches of one sample.
    samples
        Tensors whose first dimension are the N samples; taken to the parameters' device chunk by
        chunk.
    chunk_size
        Samples whose gradients are held at once: memory is ``chunk_size`` × parameters. The
        result does not depend on it, but for rounding. 1 takes the samples one by one without
        ``vmap``, for layers and losses that ``vmap`` cannot batch (GRUs, ``.item()``).

    Returns
    -------
    dict
        ``{parameter name: F}`` of every parameter that requires a gradient, on its device.

    Raises
    ------
    ValueError
        If there is no sample, or ``chunk_size`` is below 1.

    References
    ----------
    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017, eq. 3.
    """
    count = len(samples[0])
    if count == 0:
        raise ValueError("the Fisher information of 0 samples is undefined; pass at least one")
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; expected 1 or more")

    wrapped = Loss(module, loss)
    weights = {name: p.detach() for name, p in wrapped.named_parameters() if p.requires_grad}

    def sample_loss(weights: dict[str, Tensor], *sample: Tensor) -> Tensor:
        return functional_call(wrapped, weights, tuple(t.unsqueeze(0) for t in sample))

    one_by_one = grad(sample_loss)
    batched = vmap(one_by_one, in_dims=(None, *(0 for _ in samples)), randomness="different")
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    device = next(module.parameters()).device
    with evaluation_mode(module):
        for start in range(0, count, chunk_size):
            chunk = tuple(t[start : start + chunk_size].to(device) for t in samples)
            if chunk_size == 1:
                gradients = one_by_one(weights, *(t[0] for t in chunk))
                for name, gradient in gradients.items():
                    total[name] += gradient.square()
                continue
            try:
                gradients = batched(weights, *chunk)
            except RuntimeError as error:
                error.add_note("If vmap cannot batch this loss, chunk_size=1 does without vmap.")
                raise
            for name, gradient in gradients.items():
                total[name] += gradient.square().sum(dim=0)
    return {name.removeprefix("module."): value / count for name, value in total.items()}
