"""Mean power of per-sample gradients, such as the diagonal Fisher information.

Closed forms where they hold, ``vmap`` elsewhere, a loop over samples where that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from insituml import ranks
from insituml.gradients.batch_pass import CANNOT_BATCH, layer_statistics
from insituml.gradients.closed_form import summed_powers
from insituml.gradients.layer_statistics import LayerCalls, parameter_name, supported_layers
from insituml.gradients.module import LossOf, evaluation_mode
from insituml.gradients.precision import wide_dtype
from insituml.gradients.sample_gradients import SampleGradients
from insituml.gradients.unchanged import unchanged

Rows = Callable[[int, int], tuple[Tensor, ...]]
"""Samples from one number to another, on the parameters' device."""

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
        If there is no sample, ``chunk_size`` is below 1, or a gradient is NaN.

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

    ℓ(x_n, θ) is each sample's own loss, the loss of a batch of this sample alone, whatever the
    loss of a larger batch makes of it (weights of classes, masks, sums).

    Linear and convolutional layers take a closed form where the loss is made of the module's
    ``output(batch)`` or ``forward(...)`` with a row for each sample, as a learner's is: one pass
    for many samples. Every pass is checked: each output and each layer's input must be the same in
    other company, and no weight be used behind its layer's back. All other parameters take chunked
    ``vmap(grad)``, and what ``vmap`` cannot batch, or computes otherwise than autograd does on
    two samples, a loop over the samples, which a warning mentions.

    Parameters
    ----------
    module
        Evaluated in ``eval`` mode, so that no sample's loss depends on its neighbours. Parameters,
        buffers, ``.grad``, modes, plain attributes and torch's global generators are left as they
        were; each sample finds the buffers as they were.
    loss
        ``loss(module, batch) -> scalar``.
    samples
        Tensors whose first dimension are the N samples; taken to the parameters' device chunk by
        chunk. On several ranks each has its own, and the mean is over those of all.
    power
        2: squares, the Fisher information. 1: absolute values.
    chunk_size
        Samples whose gradients ``vmap`` holds at once: memory is ``chunk_size`` × parameters. 1
        takes the samples one by one by plain autograd. The result does not depend on it, but for
        rounding.
    names
        Parameters to return; None: all that require a gradient.

    Returns
    -------
    dict
        ``{parameter name: mean}`` of each such parameter that requires a gradient, on its device:
        real, float32 at least.

    Raises
    ------
    ValueError
        If there is no sample, ``chunk_size`` is below 1, ``power`` is neither 1 nor 2, or a
        gradient is NaN.
    """
    count = len(samples[0])
    joint_count = ranks.total(count)
    if joint_count == 0:
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
    total = {n: torch.zeros_like(p, dtype=wide_dtype(p.dtype)) for n, p in trainable.items()}
    rows = rows_of(module, samples)
    with evaluation_mode(module), unchanged(module) as restore:
        closed: set[str] = set()
        if chunk_size > 1 and count > 1:
            closed = _closed_forms(module, loss, rows, count, power, total, restore)
        other = [name for name in trainable if name not in closed]
        if other and count:
            gradients = SampleGradients(module, loss, other, restore, batched=chunk_size > 1)
            for start in range(0, count, chunk_size):
                part = rows(start, start + chunk_size)
                _add(total, gradients.summed_powers(part, power, chunk_size).items())
    ranks.add_up(list(total.values()))
    return checked({name: value.div_(joint_count) for name, value in total.items()}, module)


def rows_of(module: nn.Module, samples: Sequence[Tensor]) -> Rows:
    """Return a function that cuts the samples, on the parameters' device."""
    device = next(module.parameters()).device

    def rows(start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple(t[start:stop].to(device) for t in samples)

    return rows


def checked(importance: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return the importance.

    Raises
    ------
    ValueError
        Naming a parameter whose importance is NaN. Of a model that has diverged the trainer tells.
    """
    spoilt = [name for name, value in importance.items() if bool(value.isnan().any())]
    if spoilt and all(bool(p.isfinite().all()) for p in module.parameters()):
        raise ValueError(
            f"the importance of parameter {spoilt[0]} is NaN: so is the gradient of some sample's "
            "own loss (a sample that is masked or ignored altogether has the loss 0/0 when it is "
            "alone); leave such samples out or let their loss be 0"
        )
    return importance


def _closed_forms(
    module: nn.Module,
    loss: LossOf,
    rows: Rows,
    count: int,
    power: int,
    total: dict[str, Tensor],
    restore: Callable[[], None],
) -> set[str]:
    """Add up what has a closed form; return the parameters for which it held all through."""
    layers, size = trusted_layers(module, loss, rows(0, 2), restore)
    layers = {n: x for n, x in layers.items() if any(own in total for own in _own_parameters(n))}

    def add(layer: str, calls: LayerCalls) -> None:
        _add(total, _named_powers({layer: calls}, power))

    held = batched_statistics(module, loss, rows, range(0, count, size), layers, restore, add)
    closed = {own for layer in held for own in _own_parameters(layer)} & total.keys()
    for name, value in total.items():
        if name not in closed:
            value.zero_()
    return closed


def batched_statistics(
    module: nn.Module,
    loss: LossOf,
    rows: Rows,
    starts: range,
    layers: Mapping[str, nn.Module],
    restore: Callable[[], None],
    add: Callable[[str, LayerCalls], None],
) -> dict[str, nn.Module]:
    """Hand the statistics of each layer on each chunk to ``add``.

    Returns
    -------
    dict
        The layers whose statistics were those of single samples in every chunk; what was added of
        others is void.
    """
    held = dict(layers)
    for start in starts:
        if not held:
            break
        batch = rows(start, min(start + starts.step, starts.stop))
        try:
            calls, failed = layer_statistics(module, loss, batch, held, restore)
        except CANNOT_BATCH:
            return {}
        held = {name: layer for name, layer in held.items() if name not in failed}
        for name, found in calls.items():
            add(name, found)
    return held


def trusted_layers(
    module: nn.Module, loss: LossOf, batch: tuple[Tensor, ...], restore: Callable[[], None]
) -> tuple[dict[str, nn.Module], int]:
    """Find the layers whose statistics give the gradients of two samples.

    Parameters
    ----------
    module
        In ``eval`` mode.
    loss
        As in :func:`mean_gradient_power`.
    batch
        Two samples, or one where there are no more.
    restore
        Undoes what a forward pass left in the module.

    Returns
    -------
    layers, size
        The layers by name, and how many samples to take statistics of at once.
    """
    layers = supported_layers(module)
    try:
        calls, failed = layer_statistics(module, loss, batch, layers, restore)
    except CANNOT_BATCH:
        return {}, 1
    closed = dict(_named_powers(calls, 2))
    reference = SampleGradients(module, loss, list(closed), restore, batched=False)
    expected = reference.summed_powers(batch, 2, 1)
    for name, value in closed.items():
        error, scale = (value - expected[name]).abs().max(), expected[name].max()
        # Rounding leaves about eps; a wrong closed form is wrong in the first digits.
        eps = torch.finfo(module.get_parameter(name).dtype).eps
        if not bool(error <= eps**0.5 * scale):
            failed.add(name.rpartition(".")[0])
    held = sum(_numbers_held(found) for found in calls.values())
    size = max(2, HELD * len(batch[0]) // max(1, held))
    return {name: layer for name, layer in layers.items() if name not in failed}, size


def _own_parameters(layer: str) -> tuple[str, str]:
    return parameter_name(layer, "weight"), parameter_name(layer, "bias")


def _named_powers(calls: Mapping[str, LayerCalls], power: int) -> Iterable[tuple[str, Tensor]]:
    for layer, found in calls.items():
        for name, value in summed_powers(found, power).items():
            yield parameter_name(layer, name), value


def _numbers_held(calls: LayerCalls) -> int:
    return sum(t.numel() for t in [*calls.inputs, *calls.output_gradients])


def _add(total: dict[str, Tensor], parts: Iterable[tuple[str, Tensor]]) -> None:
    for name, value in parts:
        if name in total:
            total[name] += value
