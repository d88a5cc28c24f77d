"""A network that adds what is missing to a field: a small U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insituml.models.convolution import CONVOLUTIONS
from insituml.models.residual import (
    ResidualBlock,
    cropped,
    doubling,
    halving,
    padded,
    start_as_identity,
    zero,
)


class Refinement(nn.Module):
    """Map a field ``(n, components, *grid)`` to a correction of the same shape, 0 at first.

    Parameters
    ----------
    shape
        ``(components, *grid)`` of one sample; the grid is padded to what the levels divide.
    channels
        Of each level; each halves the grid.
    code_size
        Width of the code that the coarsest level sees beside the field; 0: none.
    hidden_size
        Width of the layer between the code and the coarsest grid.

    Raises
    ------
    ValueError
        If there is no level.

    References
    ----------
    Ronneberger et al., "U-Net", MICCAI 2015; the first and last grids are halved at once.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        code_size: int = 0,
        hidden_size: int = 256,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels is empty; expected the channels of at least one level")
        components, dimensions = shape[0], len(shape) - 1
        widths = [components, *channels]
        self.multiple = 2 ** len(channels)
        self.down = nn.ModuleList(halving(dimensions, a, b) for a, b in pairwise(widths))
        self.before = nn.ModuleList(ResidualBlock(dimensions, c) for c in channels)
        self.bottom = ResidualBlock(dimensions, channels[-1])
        self.up = nn.ModuleList(
            doubling(dimensions, b, a) for a, b in reversed(list(pairwise(channels)))
        )
        self.after = nn.ModuleList(ResidualBlock(dimensions, c) for c in reversed(channels[:-1]))
        self.last = doubling(dimensions, channels[0], components)
        self.code = None
        if code_size:
            coarse = [-(-size // self.multiple) for size in shape[1:]]
            self.code = _CodeOnGrid(code_size, hidden_size, max(channels[-1] // 2, 1), coarse)
            joined = channels[-1] + max(channels[-1] // 2, 1)
            self.mix = CONVOLUTIONS[dimensions](joined, channels[-1], 1)

    def start_as_zero(self) -> None:
        """Zero the last weights: no correction, and blocks that change nothing yet."""
        start_as_identity(self)
        zero(self.last)

    def forward(self, field: Tensor, code: Tensor | None = None) -> Tensor:
        x = padded(field, self.multiple)
        levels: list[Tensor] = []
        for down, block in zip(self.down, self.before, strict=True):
            x = down(x)
            if self.code is not None and len(levels) == len(self.down) - 1:
                x = self.mix(torch.cat([x, self.code(code)], dim=1))
            x = block(x)
            levels.append(x)
        x = self.bottom(levels.pop())
        for up, block in zip(self.up, self.after, strict=True):
            x = block(up(x) + levels.pop())
        return cropped(self.last(x), field.shape[2:])


class _CodeOnGrid(nn.Module):
    """Spread a code ``(n, size)`` over the coarsest grid, ``(n, channels, *coarse)``."""

    def __init__(self, size: int, hidden_size: int, channels: int, coarse: Sequence[int]) -> None:
        super().__init__()
        self.shape = (channels, *coarse)
        points = torch.Size(self.shape).numel()
        self.hidden = nn.Linear(size, hidden_size)
        self.spread = nn.Linear(hidden_size, points)

    def forward(self, code: Tensor) -> Tensor:
        return self.spread(F.gelu(self.hidden(code))).unflatten(1, self.shape)
