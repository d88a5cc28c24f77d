"""A faster transposed convolution, for a pass over many samples on a CPU.

torch's transposed convolution there takes several times as long as a convolution of the same
size, and so does the gradient of a convolution by its input, which is the same operation. Both are
done here as one convolution on the coarse grid, whose channels are then dealt out over the fine
grid: with stride s, the points y ≡ r (mod s) of the result are a convolution of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insituml.gradients.patches import CONVOLUTIONS, TRANSPOSED

CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
"""By the number of dimensions."""


def spread(layer: nn.Module, weight: Tensor, x: Tensor, space: tuple[int, ...]) -> Tensor:
    """Transposed convolution without its bias, or a convolution's gradient by its input.

    Parameters
    ----------
    layer
        Gives stride, padding and dilation, as numbers of each dimension.
    weight
        ``(channels of x, channels of the result, *kernel)``.
    x
        ``(n, channels, *grid)``.
    space
        Grid of the result.

    Returns
    -------
    Tensor
        ``(n, channels, *space)``.
    """
    assert isinstance(layer, CONVOLUTIONS + TRANSPOSED)
    padding = tuple(int(pad) for pad in layer.padding)
    taps, before, after = _taps(tuple(weight.shape), layer.stride, padding, layer.dilation)
    coarse = tuple(-(-size // step) for size, step in zip(space, layer.stride, strict=True))
    # A side may be negative: then the result does not reach these points of x.
    sides = [
        side
        for size, places, left, right in zip(x.shape[2:], coarse, before, after, strict=True)
        for side in (places + right - size, left)
    ][::-1]
    flat = F.pad(weight.flatten(), (0, 1))  # index -1 is where the kernel has no tap
    phases = flat[taps].flatten(0, 1)
    values = CONVOLVE[len(space)](F.pad(x, sides), phases)
    index = _places(space, coarse, weight.shape[1], layer.stride)
    return values.flatten(1).index_select(1, index).view(len(x), weight.shape[1], *space)


def is_dense(layer: nn.Module) -> bool:
    """Tell whether :func:`spread` wastes no more than three quarters of its multiplications.

    With strides of a few points and little dilation most phases have as many taps as any other.
    """
    assert isinstance(layer, CONVOLUTIONS + TRANSPOSED)
    used = 1.0
    for size, step, apart in zip(layer.kernel_size, layer.stride, layer.dilation, strict=True):
        offsets = (apart * (size - 1) + step - 1) // step + 1
        used *= size / (step * offsets)
    return used >= 0.25


@lru_cache(maxsize=32)
def _taps(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Tensor, list[int], list[int]]:
    """Return the coarse convolution's weight as an index into the flattened fine one.

    Tap t carries coarse point i to the fine point ``y = i · stride − padding + t · dilation``. With
    ``y = m · stride + r`` it belongs to phase r and the coarse offset ``i − m``.

    Returns
    -------
    taps, before, after
        Index ``(phases, result channels, channels, *offsets)``, −1 where there is no tap, and how
        far the offsets reach before and after m in each dimension.
    """
    channels, results, *kernel = shape
    dimensions = len(kernel)
    taps = torch.cartesian_prod(*(torch.arange(size) for size in kernel)).view(-1, dimensions)
    ahead = taps * torch.tensor(dilation) - torch.tensor(padding)
    offset = -ahead.div(torch.tensor(stride), rounding_mode="floor")
    first, last = offset.amin(0), offset.amax(0)
    index = torch.full((*stride, *(last - first + 1).tolist()), -1)
    index[(*(ahead % torch.tensor(stride)).T, *(offset - first).T)] = torch.arange(len(taps))
    index = index.flatten(0, dimensions - 1)[:, None, None]
    base = torch.arange(channels * results).view(channels, results).T * len(taps)
    base = base.view(1, results, channels, *[1] * dimensions)
    return torch.where(index < 0, -1, base + index), (-first).tolist(), last.tolist()


@lru_cache(maxsize=32)
def _places(
    space: tuple[int, ...], coarse: tuple[int, ...], channels: int, stride: tuple[int, ...]
) -> Tensor:
    """Return where in a flattened ``(phases, channels, *coarse)`` each fine point stands."""
    stored = torch.arange(math.prod(stride) * channels * math.prod(coarse))
    stored = stored.view(*stride, channels, *coarse)
    dimensions = len(space)
    fine = [
        torch.arange(size).view([-1 if axis == k else 1 for k in range(dimensions)])
        for axis, size in enumerate(space)
    ]
    phase = [y % step for y, step in zip(fine, stride, strict=True)]
    place = [y // step for y, step in zip(fine, stride, strict=True)]
    channel = torch.arange(channels).view(channels, *[1] * dimensions)
    return stored[(*phase, channel, *place)].flatten()
