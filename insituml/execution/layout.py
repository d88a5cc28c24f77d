"""Memory layout of convolutions: the channels of a grid point beside each other."""

from __future__ import annotations

import torch
from torch import nn

from insituml.learner import ContinualLearner

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of axes of a convolution's weight."""
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def lay_channels_last(learner: ContinualLearner) -> None:
    """Lay out the weights of two- and three-dimensional convolutions with the channels last.

    Their outputs follow. The numbers are the same; sums in the kernels are rounded otherwise.

    Parameters
    ----------
    learner
        Changed in place; parameters stay the same objects.

    Raises
    ------
    ValueError
        If it has no such convolution.
    """
    layers = [part for part in learner.modules() if isinstance(part, CONVOLUTIONS)]
    if not layers:
        raise ValueError(
            f"channels_last is for convolutions in two and three dimensions, of which "
            f"{type(learner).__name__} has none; leave it off"
        )
    for layer in layers:
        weight = layer.weight
        weight.data = weight.data.contiguous(memory_format=LAYOUTS[weight.dim()])
