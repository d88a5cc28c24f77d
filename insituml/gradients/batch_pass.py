"""One pass over many samples that gives each one's own gradients, and its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from insituml.gradients.fast_convolutions import fast_convolutions
from insituml.gradients.graph import parameter_uses
from insituml.gradients.layer_statistics import LayerCalls, recording
from insituml.gradients.module import LossOf
from insituml.gradients.own_loss import NoCut, Outputs

CANNOT_BATCH = (NoCut, RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError)
"""What a module raises that takes one sample at a time only; a real fault is raised there again."""


def layer_statistics(
    module: nn.Module,
    loss: LossOf,
    batch: tuple[Tensor, ...],
    layers: Mapping[str, nn.Module],
    restore: Callable[[], None] = lambda: None,
) -> tuple[dict[str, LayerCalls], set[str]]:
    """Return inputs and output gradients of each used layer, for each sample's own loss.

    Parameters
    ----------
    module
        The whole model, in ``eval`` mode.
    loss
        As in :func:`~insituml.gradients.mean_gradient_power`; no mean need be meant.
    batch
        Columns of n samples, on the parameters' device.
    layers
        Of :func:`supported_layers`.
    restore
        Undoes what a forward pass left in the module.

    Returns
    -------
    calls, failed
        Statistics of the layers that were called; and the layers whose statistics are not those
        of single samples: called with other rows than the samples, within a pass that keeps no
        graph, or whose weight is used behind the layer's back.

    Raises
    ------
    NoCut
        If there is more than one sample, and their own losses cannot be told from the outputs or
        an output depends on its neighbours.
    """
    count = len(batch[0])
    outputs = Outputs(module, loss)
    restore()
    with torch.enable_grad():
        with fast_convolutions(layers.values()), recording(layers, count) as calls:
            value = outputs.evaluate(batch)
        if count == 1:
            roots, own = [value], [torch.ones_like(value)]
        else:
            parameters = [p for p in module.parameters() if p.requires_grad]
            gradients = outputs.own_gradients(batch, parameters, restore)
            pairs = [
                (t, g) for t, g in zip(outputs.leaves, gradients, strict=True) if g is not None
            ]
            roots, own = [t for t, _ in pairs], [g for _, g in pairs]
    # Under ``torch.no_grad()`` inside the model, or without a use, there is nothing to add.
    used = {name: found for name, found in calls.items() if found.inputs}
    failed = {n for n, found in used.items() if not found.separable or None in found.edges}
    uses, _ = parameter_uses(roots)
    for name, layer in layers.items():
        times = len(calls[name].inputs)
        if any(uses[id(p)] not in (0, times) for p in layer.parameters() if p.requires_grad):
            failed.add(name)
    if count > 1:
        failed |= _misaligned(module, loss, batch, layers, restore, outputs, calls)
    used = {name: found for name, found in used.items() if name not in failed}
    edges = [edge for found in used.values() for edge in found.edges]
    moving = [k for k, root in enumerate(roots) if root.requires_grad]
    slopes: list[Tensor | None] = [None] * len(edges)
    if edges and moving:
        slopes = list(
            torch.autograd.grad(
                [roots[k] for k in moving],
                edges,  # type: ignore[arg-type]
                [own[k] for k in moving],
                allow_unused=True,
            )
        )
    remaining = iter(slopes)
    for found in used.values():
        for x, shape in zip(found.inputs, found.outputs, strict=True):
            slope = next(remaining)
            found.output_gradients.append(x.new_zeros(shape) if slope is None else slope)
    return used, failed


def _misaligned(
    module: nn.Module,
    loss: LossOf,
    batch: tuple[Tensor, ...],
    layers: Mapping[str, nn.Module],
    restore: Callable[[], None],
    outputs: Outputs,
    calls: Mapping[str, LayerCalls],
) -> set[str]:
    """Return the layers whose rows are not the samples, in order.

    The samples pass once more, in other company and another order: what belongs to a sample alone
    comes out as before, up to rounding. No company shows a branch that all of them take.

    Raises
    ------
    NoCut
        If an output does not, or the model takes a number out of a tensor, as a branch does.
    """
    count = len(batch[0])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    failed = set()
    for rows in order.split([(count + 2) // 3, count - (count + 2) // 3]):
        here = rows.to(batch[0].device)
        part = tuple(t.index_select(0, rows.to(t.device)) for t in batch)
        again = Outputs(module, loss)
        restore()
        with (
            torch.no_grad(),
            fast_convolutions(layers.values()),
            recording(layers, len(rows)) as recorded,
            _Reads() as reads,
        ):
            again.evaluate(part)
        if reads.numbers:
            raise NoCut
        if len(again.leaves) != len(outputs.leaves):
            raise NoCut
        for left, right in zip(outputs.leaves, again.leaves, strict=True):
            if not _same(left.detach(), right, here):
                raise NoCut
        for name, found in calls.items():
            inputs = recorded[name].inputs
            if len(inputs) != len(found.inputs) or (
                found.separable
                and not all(
                    len(b) == len(rows) and _same(a, b, here)
                    for a, b in zip(found.inputs, inputs, strict=True)
                )
            ):
                failed.add(name)
    return failed


class _Reads(TorchDispatchMode):
    """Counts the numbers taken out of tensors: ``.item()``, ``bool(...)``, ``if x.sum() > 0``."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.numbers += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def _same(whole: Tensor, part: Tensor, rows: Tensor) -> bool:
    expected = whole.index_select(0, rows.to(whole.device))
    if expected.shape != part.shape:
        return False
    if not (expected.is_floating_point() or expected.is_complex()):
        return torch.equal(expected, part)
    if expected.numel() == 0:
        return True
    scale = torch.finfo(expected.dtype).eps ** 0.5 * expected.abs().max()
    return bool((expected - part).abs().max() <= scale)
