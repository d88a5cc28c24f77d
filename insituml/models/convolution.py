"""The two halves of a convolutional autoencoder, for any number of grid dimensions up to 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from insituml.models.layers import activation as activation_layer

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Callable[..., tuple[Tensor, Tensor]]] = {
    1: F.max_pool1d_with_indices,
    2: F.max_pool2d_with_indices,
    3: F.max_pool3d_with_indices,
}


@dataclass(frozen=True)
class Sizes:
    """Channels and grid at each level, from the input down to the last block."""

    channels: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    downsampling: str

    @classmethod
    def of(cls, input_shape: Sequence[int], channels: Sequence[int], downsampling: str) -> Sizes:
        """Halve the grid once a block: rounded down by pooling, up by strided convolutions."""
        if downsampling not in ("strided", "pool"):
            raise ValueError(f"downsampling is {downsampling!r}; expected strided or pool")
        if not channels:
            raise ValueError("channels is empty; expected the channels of at least one block")
        round_half = math.ceil if downsampling == "strided" else math.floor
        grids = [tuple(input_shape[1:])]
        for _ in channels:
            grids.append(tuple(round_half(size / 2) for size in grids[-1]))
        if 0 in grids[-1]:
            raise ValueError(
                f"a grid of {grids[0]} cannot be halved {len(channels)} times by pooling; "
                "use fewer blocks (channels), larger samples, or downsampling=strided"
            )
        return cls((input_shape[0], *channels), tuple(grids), downsampling)

    @property
    def dimensions(self) -> int:
        return len(self.grids[0])

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of what is flattened before the latent."""
        return (self.channels[-1], *self.grids[-1])


class ConvolutionalEncoder(nn.Module):
    """Map ``(n, channels, *grid)`` to ``(latent, indices)``; indices is None when strided."""

    def __init__(self, sizes: Sizes, latent_size: int, convolutions: int, activation: str) -> None:
        super().__init__()
        self.pooled = sizes.downsampling == "pool"
        self.dimensions = sizes.dimensions
        conv = CONVOLUTIONS[sizes.dimensions]
        self.blocks = nn.ModuleList()
        for before, after in pairwise(sizes.channels):
            layers: list[nn.Module] = []
            for k in range(convolutions):
                stride = 2 if not self.pooled and k == convolutions - 1 else 1
                incoming = before if k == 0 else after
                layers += [
                    conv(incoming, after, 3, stride=stride, padding=1),
                    activation_layer(activation),
                ]
            self.blocks.append(nn.Sequential(*layers))
        self.latent = nn.Linear(math.prod(sizes.code_shape), latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor] | None]:
        indices = []
        for block in self.blocks:
            x = block(x)
            if self.pooled:
                x, index = _POOL[self.dimensions](x, 2)
                indices.append(index)
        return self.latent(x.flatten(start_dim=1)), indices if self.pooled else None


class ConvolutionalDecoder(nn.Module):
    """Map a latent back to ``(n, channels, *grid)``; without indices, up-sample for unpooling."""

    def __init__(self, sizes: Sizes, latent_size: int, convolutions: int, activation: str) -> None:
        super().__init__()
        self.pooled = sizes.downsampling == "pool"
        self.code_shape = sizes.code_shape
        self.grids = sizes.grids[-2::-1]
        self.activation = activation_layer(activation)
        self.latent = nn.Linear(latent_size, math.prod(sizes.code_shape))
        conv = TRANSPOSED[sizes.dimensions]
        self.blocks = nn.ModuleList()
        levels = zip(
            pairwise(reversed(sizes.channels)), pairwise(reversed(sizes.grids)), strict=True
        )
        for (before, after), (coarse, fine) in levels:
            layers: list[nn.Module] = []
            for k in range(convolutions):
                outgoing = after if k == convolutions - 1 else before
                if not self.pooled and k == 0:
                    # A stride of 2 gives 2 n - 1 points; the padding adds the even sizes' last.
                    extra = tuple(f - (2 * c - 1) for f, c in zip(fine, coarse, strict=True))
                    layers.append(
                        conv(before, outgoing, 3, stride=2, padding=1, output_padding=extra)  # type: ignore[arg-type]
                    )
                else:
                    layers.append(conv(before, outgoing, 3, padding=1))
                layers.append(activation_layer(activation))
            self.blocks.append(nn.Sequential(*layers))
        # The field itself takes any value: no activation after the last convolution.
        last = self.blocks[-1]
        self.blocks[-1] = last[:-1]  # type: ignore[index]

    def forward(self, latent: Tensor, indices: list[Tensor] | None) -> Tensor:
        x = self.activation(self.latent(latent)).unflatten(1, self.code_shape)
        for level, (block, grid) in enumerate(zip(self.blocks, self.grids, strict=True)):
            if self.pooled and indices is not None:
                x = _unpool(x, indices[-1 - level], grid)
            elif self.pooled:
                x = F.interpolate(x, size=grid)
            x = block(x)
        return x


def _unpool(x: Tensor, indices: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Put each value back where max-pooling found it, zeros elsewhere.

    The same as ``F.max_unpool``, which ``torch.func.vmap`` has no rule for.
    """
    empty = x.new_zeros(*x.shape[:2], math.prod(grid))
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).unflatten(2, grid)
