"""What the models share: activations and the initial weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """Return a new activation layer.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw Xavier-uniform weights and set biases to zero, in place.

    Parameters
    ----------
    module
        Every parameter of two or more dimensions is a weight, of one dimension a bias.
    generator
        Source of the weights; None: a fresh one with seed 0.

    References
    ----------
    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.
    """
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
