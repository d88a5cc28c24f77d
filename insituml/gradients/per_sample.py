"""The loss of each sample by itself, and its gradient, of any module: ``vmap`` or a plain loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from insituml.gradients.module import Loss, LossOf, evaluation_mode


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


class SampleGradients:
    """The gradient of each sample's own loss by the named parameters.

    Parameters
    ----------
    module, loss
        As in :func:`~insituml.gradients.mean_gradient_power`.
    names
        Parameters to differentiate by.
    """

    def __init__(self, module: nn.Module, loss: LossOf, names: Collection[str]) -> None:
        self._wrapped = Loss(module, loss)
        everything = {n: p.detach() for n, p in self._wrapped.named_parameters()}
        self._weights = {f"module.{name}": everything.pop(f"module.{name}") for name in names}
        self._constants = everything
        self._one = grad(self._sample_loss)

    def summed_powers(
        self, batch: tuple[Tensor, ...], power: int, chunk_size: int
    ) -> dict[str, Tensor]:
        """Return ``Σ_n |∂ℓ_n/∂θ|^power``; ``chunk_size`` gradients are held at once."""
        total = {name: torch.zeros_like(value) for name, value in self._weights.items()}
        batched = vmap(self._one, in_dims=(None, *(0 for _ in batch)), randomness="different")
        for start in range(0, len(batch[0]), chunk_size):
            chunk = tuple(t[start : start + chunk_size] for t in batch)
            if chunk_size == 1:
                single = self._one(self._weights, *(t[0] for t in chunk))
                gradients = {name: value.unsqueeze(0) for name, value in single.items()}
            else:
                try:
                    gradients = batched(self._weights, *chunk)
                except RuntimeError as error:
                    error.add_note(
                        "If vmap cannot batch this loss, chunk_size=1 does without vmap."
                    )
                    raise
            for name, gradient in gradients.items():
                raised = gradient.square() if power == 2 else gradient.abs()
                total[name] += raised.sum(dim=0)
        return {name.removeprefix("module."): value for name, value in total.items()}

    def _sample_loss(self, weights: dict[str, Tensor], *sample: Tensor) -> Tensor:
        single = tuple(t.unsqueeze(0) for t in sample)
        return functional_call(self._wrapped, {**self._constants, **weights}, single)
