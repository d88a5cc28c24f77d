"""Summed powers of each sample's gradient: ``vmap`` where it can, else sample by sample."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from insituml.gradients.batch_pass import CANNOT_BATCH
from insituml.gradients.module import Loss, LossOf
from insituml.gradients.precision import raised, wide_dtype
from insituml.gradients.sample_loop import plain_gradients


class OneByOneWarning(UserWarning):
    """Samples are taken one by one, which takes longer."""


class SampleGradients:
    """The gradient of each sample's own loss by the named parameters.

    Parameters
    ----------
    module, loss
        As in :func:`~insituml.gradients.mean_gradient_power`.
    names
        Parameters to differentiate by.
    restore
        Undoes what a forward pass left in the module.
    batched
        Use ``vmap`` for chunks of several samples, after a comparison with autograd on the first.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: LossOf,
        names: Collection[str],
        restore: Callable[[], None] = lambda: None,
        *,
        batched: bool = True,
    ) -> None:
        self._module, self._loss, self._restore = module, loss, restore
        parameters = dict(module.named_parameters())
        self._parameters = {name: parameters[name] for name in names}
        self._everything = list(parameters.values())
        self._batched = batched
        self._compared = False

    def summed_powers(
        self, batch: tuple[Tensor, ...], power: int, chunk_size: int
    ) -> dict[str, Tensor]:
        """Return ``Σ_n |∂ℓ_n/∂θ|^power``; ``chunk_size`` gradients are held at once."""
        total = {
            name: torch.zeros_like(p, dtype=wide_dtype(p.dtype))
            for name, p in self._parameters.items()
        }
        for start in range(0, len(batch[0]), chunk_size):
            chunk = tuple(t[start : start + chunk_size] for t in batch)
            if self._batched and chunk_size > 1 and not self._compared:
                self._compare(tuple(t[:2] for t in chunk))
            if self._batched and chunk_size > 1:
                try:
                    added = self._by_vmap(chunk, power)
                except CANNOT_BATCH as error:
                    self._give_up(error)
                    added = self._by_loop(chunk, power)
            else:
                added = self._by_loop(chunk, power)
            for name, value in added.items():
                total[name] += value
        return total

    def _compare(self, batch: tuple[Tensor, ...]) -> None:
        """See whether ``vmap`` gives what autograd gives."""
        self._compared = True
        expected = self._by_loop(batch, 2)
        try:
            found = self._by_vmap(batch, 2)
        except CANNOT_BATCH as error:
            self._give_up(error)
            return
        for name, value in expected.items():
            if value.numel() == 0:
                continue
            tolerance = torch.finfo(self._parameters[name].dtype).eps ** 0.5 * value.max()
            if not bool((found[name] - value).abs().max() <= tolerance):
                self._give_up(None)
                return

    def _give_up(self, error: Exception | None) -> None:
        self._batched = False
        if error is not None:
            one_by_one("the gradients", error, "chunk_size=1")

    def _by_loop(self, batch: tuple[Tensor, ...], power: int) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for n in range(len(batch[0])):
            self._restore()
            sample = tuple(t[n : n + 1] for t in batch)
            found = plain_gradients(
                lambda sample=sample: self._loss(self._module, sample),  # type: ignore[misc]
                list(self._parameters.values()),
                self._everything,
            )
            for name, gradient in zip(self._parameters, found, strict=True):
                if gradient is not None:
                    value = raised(gradient, power)
                    total[name] = total[name].add_(value) if name in total else value
        return {
            name: total[name] if name in total else torch.zeros_like(p, dtype=wide_dtype(p.dtype))
            for name, p in self._parameters.items()
        }

    def _by_vmap(self, batch: tuple[Tensor, ...], power: int) -> dict[str, Tensor]:
        self._restore()
        wrapped = Loss(self._module, self._loss)
        constants = {n: p.detach() for n, p in wrapped.named_parameters()}
        weights = {f"module.{name}": p.detach() for name, p in self._parameters.items()}

        def one(weights: dict[str, Tensor], *sample: Tensor) -> Tensor:
            single = tuple(t.unsqueeze(0) for t in sample)
            return functional_call(wrapped, {**constants, **weights}, single)

        axes = (None, *(0 for _ in batch))
        try:
            with torch.enable_grad():
                gradients = vmap(grad(one), in_dims=axes, randomness="different")(weights, *batch)
            return {
                name.removeprefix("module."): raised(gradient, power).sum(dim=0)
                for name, gradient in gradients.items()
            }
        finally:
            self._restore()


def one_by_one(what: str, error: Exception, option: str) -> None:
    """Say that samples are taken one by one, and why."""
    reason = (str(error) or type(error).__name__).strip().splitlines()[0][:100]
    warnings.warn(
        f"{what} of single samples are taken one by one, which takes longer: vmap cannot batch "
        f"this loss ({reason}); {option} says so beforehand",
        OneByOneWarning,
        stacklevel=2,
    )
