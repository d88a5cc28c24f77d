"""Residual convolutions, and the steps between grids that they stand on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from insituml.models.convolution import CONVOLUTIONS, TRANSPOSED

NORMALISATIONS = ("layer", "none")


class ChannelNorm(nn.LayerNorm):
    """Normalise over the channels of each grid point.

    It knows neither the batch nor the rest of the grid, so a single sample, a chunk and the whole
    volume are normalised alike.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class ResidualBlock(nn.Module):
    """Add to ``(n, channels, *grid)`` what two convolutions make of it.

    Parameters
    ----------
    dimensions
        Axes of the grid, 1 to 3.
    channels
        Of input and output.
    normalisation
        Before each convolution: ``"layer"`` (:class:`ChannelNorm`) or ``"none"``.

    References
    ----------
    He et al., "Identity mappings in deep residual networks", ECCV 2016.
    """

    def __init__(self, dimensions: int, channels: int, normalisation: str = "none") -> None:
        super().__init__()
        conv = CONVOLUTIONS[dimensions]
        norm = ChannelNorm if normalisation == "layer" else nn.Identity
        self.norms = nn.ModuleList(norm(channels) for _ in range(2))
        self.convolutions = nn.ModuleList(conv(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        change = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            change = convolution(F.gelu(norm(change)))
        return x + change


def start_as_identity(module: nn.Module) -> None:
    """Let every residual block of a model change nothing yet, and its norms scale by 1."""
    for part in module.modules():
        if isinstance(part, ResidualBlock):
            zero(part.convolutions[-1])
        elif isinstance(part, ChannelNorm):
            part.reset_parameters()


def halving(dimensions: int, before: int, after: int) -> nn.Module:
    """Return a convolution of one grid point out of two along each axis."""
    return CONVOLUTIONS[dimensions](before, after, 2, stride=2)


def doubling(dimensions: int, before: int, after: int) -> nn.Module:
    """Return the mirror image of :func:`halving`."""
    return TRANSPOSED[dimensions](before, after, 2, stride=2)


def zero(layer: nn.Module) -> None:
    """Set weights and biases of a layer to zero, in place."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Continue a grid by the values at its far edges until ``multiple`` divides each axis.

    Parameters
    ----------
    x
        ``(n, channels, *grid)``.
    multiple
        Grid points that one point of the coarsest grid stands for.
    """
    missing = [-size % multiple for size in x.shape[2:]]
    if not any(missing):
        return x
    # The last axis comes first.
    return F.pad(x, [n for after in reversed(missing) for n in (0, after)], mode="replicate")


def cropped(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the first points of ``(n, channels, *grid)`` along each axis."""
    return x[(slice(None), slice(None), *(slice(size) for size in grid))]
