"""Convolutional autoencoders in one, two and three dimensions, one implementation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from insituml.models.convolution import ConvolutionalDecoder, ConvolutionalEncoder, Sizes
from insituml.models.encoder_decoder import EncoderDecoder


class _AutoEncoder(EncoderDecoder):
    """Blocks of convolutions that halve the grid, a linear latent, and the mirror image.

    Parameters
    ----------
    input_shape
        ``(channels, *grid)`` of one sample; odd sizes work.
    channels
        Channels of each block; each block halves the grid.
    latent_size
        Width of the latent.
    convolutions
        Convolutions in each block, 1 or more.
    downsampling
        ``"strided"``: the block's last convolution has stride 2, and the latent is the whole
        code. ``"pool"``: max-pooling that keeps the indices, and the decoder unpools with them
        as the original does; a latent alone decodes by up-sampling instead.
    activation
        ``"tanh"``, ``"leaky_relu"`` or ``"relu"``.
    loss
        Reconstruction loss; see :class:`~insituml.learner.ContinualLearner`.
    generator
        Source of the Xavier-uniform initial weights; None: seed 0.

    Raises
    ------
    ValueError
        If the shape has the wrong number of dimensions, the grid is too small to be halved once a
        block, or an option is unknown.
    """

    dimensions: int

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int] = (16, 32),
        latent_size: int = 32,
        convolutions: int = 1,
        downsampling: str = "strided",
        activation: str = "leaky_relu",
        *,
        loss: str = "mse",
        generator: torch.Generator | None = None,
    ) -> None:
        if len(input_shape) != self.dimensions + 1:
            given = len(input_shape) - 1
            other = f"; for {given} choose AutoEncoder{given}D (model=autoencoder{given}d)"
            raise ValueError(
                f"input_shape is {tuple(input_shape)}; {type(self).__name__} expects "
                f"{self.dimensions + 1} numbers: channels, then {self.dimensions} grid size(s)"
                f"{other if 1 <= given <= 3 else ''}"
            )
        if convolutions < 1:
            raise ValueError(f"convolutions is {convolutions}; expected 1 or more per block")
        sizes = Sizes.of(input_shape, channels, downsampling)

        def build() -> tuple[nn.Module, nn.Module]:
            return (
                ConvolutionalEncoder(sizes, latent_size, convolutions, activation),
                ConvolutionalDecoder(sizes, latent_size, convolutions, activation),
            )

        super().__init__(build, loss=loss, generator=generator)

    def segments(self) -> list[nn.Module]:
        """Return the blocks."""
        return [*self.encoder.blocks, *self.decoder.blocks]  # type: ignore[misc]


class AutoEncoder1D(_AutoEncoder):
    __doc__ = (_AutoEncoder.__doc__ or "").replace("*grid", "points")
    dimensions = 1


class AutoEncoder2D(_AutoEncoder):
    __doc__ = (_AutoEncoder.__doc__ or "").replace("*grid", "height, width")
    dimensions = 2


class AutoEncoder3D(_AutoEncoder):
    __doc__ = (_AutoEncoder.__doc__ or "").replace("*grid", "nx, ny, nz")
    dimensions = 3
