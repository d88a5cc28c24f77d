"""Mean power of per-sample gradients, such as the diagonal Fisher information.

Closed forms where they hold, ``vmap`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor, nn

from insituml.gradients.closed_form import summed_powers
from insituml.gradients.layer_statistics import (
    LayerCalls,
    layer_statistics,
    parameter_name,
    supported_layers,
)
from insituml.gradients.module import LossOf, evaluation_mode
from insituml.gradients.per_sample import SampleGradients

HELD = 2**21
"""Numbers of layer inputs and output gradients held at once; more is no faster."""


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
    module, loss, samples, chunk_size
        As in :func:`mean_gradient_power`: linear and convolutional
        layers take a closed form, other parameters ``vmap``; ``chunk_size`` bounds the latter.

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
    return mean_gradient_power(module, loss, samples, 2, chunk_size=chunk_size)


def mean_gradient_power(
    module: nn.Module,
    loss: LossOf,
    samples: Sequence[Tensor],
    power: int,
    *,
    chunk_size: int = 16,
    names: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Mean over samples of ``|∂ℓ(x_n, θ)/∂θ_i|^power``, exactly.

    Linear and convolutional layers take a closed form, all other parameters chunked
    ``vmap(grad)``. A closed form is wrong where a weight is used behind its layer's back or the
    loss is no mean over samples: on the first two samples both ways are compared, and what
    differs goes through ``vmap``. So does a loss that draws random numbers.

    Parameters
    ----------
    module
        Evaluated in ``eval`` mode, so that no sample's loss depends on its neighbours; its mode is
        restored afterwards and its ``.grad`` is left alone.
    loss
        ``loss(module, batch)``, a mean over the batch.
    samples
        Tensors whose first dimension are the N samples; taken to the parameters' device chunk by
        chunk.
    power
        2: squares, the Fisher information. 1: absolute values.
    chunk_size
        Samples whose gradients ``vmap`` holds at once: memory is ``chunk_size`` × parameters. 1
        takes the samples one by one without ``vmap`` or closed forms, for layers and losses that
        ``vmap`` cannot batch (GRUs, ``.item()``). The result does not depend on it, but for
        rounding.
    names
        Parameters to return; None: all that require a gradient.

    Returns
    -------
    dict
        ``{parameter name: mean}`` of each such parameter that requires a gradient, on its device.

    Raises
    ------
    ValueError
        If there is no sample, ``chunk_size`` is below 1, or ``power`` is neither 1 nor 2.
    """
    count = len(samples[0])
    if count == 0:
        raise ValueError("the importance on 0 samples is undefined; pass at least one")
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; expected 1 or more")
    if power not in (1, 2):
        raise ValueError(f"power is {power}; expected 1 (absolute values) or 2 (squares)")

    trainable = {
        name: p
        for name, p in module.named_parameters()
        if p.requires_grad and (names is None or name in names)
    }
    total = {name: torch.zeros_like(p) for name, p in trainable.items()}
    device = next(module.parameters()).device

    def rows(start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple(t[start:stop].to(device) for t in samples)

    with evaluation_mode(module):
        layers: dict[str, nn.Module] = {}
        size = count
        if chunk_size > 1:
            layers, size = trusted_layers(module, loss, rows(0, 2), chunk_size=2)
            layers = {
                layer: found
                for layer, found in layers.items()
                if any(own in trainable for own in _own_parameters(layer))
            }
        closed = {own for layer in layers for own in _own_parameters(layer)}
        other = [name for name in trainable if name not in closed]
        for start in range(0, count if layers else 0, size):
            calls = layer_statistics(module, loss, rows(start, start + size), layers)
            _add(total, _named_powers(calls, power))
        if other:
            gradients = SampleGradients(module, loss, other)
            for start in range(0, count, chunk_size):
                part = rows(start, start + chunk_size)
                _add(total, gradients.summed_powers(part, power, chunk_size))
    return {name: value.div_(count) for name, value in total.items()}


def trusted_layers(
    module: nn.Module, loss: LossOf, batch: tuple[Tensor, ...], *, chunk_size: int
) -> tuple[dict[str, nn.Module], int]:
    """Find the layers whose statistics give the gradient of each sample.

    Parameters
    ----------
    module
        In ``eval`` mode.
    loss
        As in :func:`mean_gradient_power`.
    batch
        Two samples, or one where there are no more.
    chunk_size
        1 does without ``vmap``. With ``vmap`` a loss that branches on values is refused, which
        two samples may not show.

    Returns
    -------
    layers, size
        The layers by name, and how many samples to take statistics of at once.
    """
    layers = supported_layers(module)
    calls = layer_statistics(module, loss, batch, layers)
    closed = dict(_named_powers(calls, 2))
    reference = SampleGradients(module, loss, closed).summed_powers(batch, 2, chunk_size)
    trusted = dict(calls)
    for name, value in closed.items():
        error, scale = (value - reference[name]).abs().max(), reference[name].max()
        # Rounding leaves about eps; a wrong closed form is wrong in the first digits, but where
        # both are zero nothing is shown.
        if not (scale > 0 and error <= torch.finfo(value.dtype).eps ** 0.5 * scale):
            trusted.pop(name.rpartition(".")[0], None)
    held = sum(_numbers_held(found) for found in trusted.values())
    size = max(1, HELD * len(batch[0]) // max(1, held))
    return {name: layers[name] for name in trusted}, size


def _own_parameters(layer: str) -> tuple[str, str]:
    return parameter_name(layer, "weight"), parameter_name(layer, "bias")


def _named_powers(calls: dict[str, LayerCalls], power: int) -> Iterable[tuple[str, Tensor]]:
    for layer, found in calls.items():
        for name, value in summed_powers(found, power).items():
            yield parameter_name(layer, name), value


def _numbers_held(calls: LayerCalls) -> int:
    return sum(t.numel() for t in [*calls.inputs, *calls.output_gradients])


def _add(total: dict[str, Tensor], parts: Iterable[tuple[str, Tensor]] | dict[str, Tensor]) -> None:
    for name, value in parts.items() if isinstance(parts, dict) else parts:
        if name in total:
            total[name] += value
