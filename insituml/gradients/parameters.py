"""A module's trainable parameters and their gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes, in order."""
    return [p for p in module.parameters() if p.requires_grad]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the parameters' gradients; one that is missing becomes zeros."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients
