"""Convolutions with faster gradients by their inputs, for one pass over many samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from insituml.gradients.patches import CONVOLUTIONS, TRANSPOSED
from insituml.gradients.spread import CONVOLVE, is_dense, spread


@contextmanager
def fast_convolutions(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Replace the forward passes of convolutions on a CPU by faster ones.

    Only gradients by a layer's input and by what comes before exist inside: none by its own
    weight and bias. Subclasses, which may compute something else, are left alone.
    """
    changed = [layer for layer in layers if _is_plain(layer)]
    for layer in changed:
        layer.forward = _replacement(layer, layer.forward)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward


def _is_plain(layer: nn.Module) -> bool:
    return (
        type(layer) in CONVOLUTIONS + TRANSPOSED
        and "forward" not in vars(layer)
        and not isinstance(layer.padding, str)
        and layer.weight.device.type == "cpu"
        and is_dense(layer)
    )


def _replacement(layer: Any, own: Callable[..., Tensor]) -> Callable[..., Tensor]:
    function = _Transposed if isinstance(layer, TRANSPOSED) else _Convolution

    def forward(input: Tensor, *options: Any, **named: Any) -> Tensor:
        usual = input.dim() == layer.weight.dim() and input.dtype == layer.weight.dtype
        if options or named or not usual or torch.is_autocast_enabled("cpu"):
            return own(input, *options, **named)
        output: Tensor = function.apply(input, layer.weight, layer)
        if layer.bias is None:
            return output
        return output + layer.bias.view(-1, *[1] * (output.dim() - 2))

    return forward


class _Transposed(torch.autograd.Function):
    """A transposed convolution; its gradient by the input is a convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(weight)
        space = tuple(
            (places - 1) * step - 2 * pad + apart * (size - 1) + extra + 1
            for places, step, pad, apart, size, extra in zip(
                x.shape[2:],
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.kernel_size,
                layer.output_padding,
                strict=True,
            )
        )
        return spread(layer, weight, x, space)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return _convolved(ctx.layer, weight, gradient), None, None


class _Convolution(torch.autograd.Function):
    """A convolution; its gradient by the input is a transposed convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: Any) -> Tensor:
        ctx.layer, ctx.space = layer, tuple(x.shape[2:])
        ctx.save_for_backward(weight)
        return _convolved(layer, weight, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return spread(ctx.layer, weight, gradient, ctx.space), None, None


def _convolved(layer: Any, weight: Tensor, x: Tensor) -> Tensor:
    convolve = CONVOLVE[weight.dim() - 2]
    return convolve(x, weight, None, layer.stride, layer.padding, layer.dilation)
