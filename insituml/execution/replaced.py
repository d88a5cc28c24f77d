"""A module whose forward pass is done otherwise while it is trained, and as before otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Replaced:
    """Abstract: stands in for the forward pass of one module, which it goes on to hold.

    In evaluation mode and without gradients the module computes as ever: so do Fisher information,
    per-sample gradients, latents, errors and teachers. Names of parameters, checkpoints and copies
    of the module do not change.

    Parameters
    ----------
    module
        Changed in place; what stood in for its forward pass before is called within.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.inner: Callable[..., Any] | None = vars(module).get("forward")
        module.forward = self

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if self.module.training and torch.is_grad_enabled():
            return self.trained(*inputs, **options)
        return self.usual(*inputs, **options)

    def usual(self, *inputs: Any, **options: Any) -> Any:
        """Compute as the module would by itself."""
        if self.inner is not None:
            return self.inner(*inputs, **options)
        return type(self.module).forward(self.module, *inputs, **options)

    def trained(self, *inputs: Any, **options: Any) -> Any:
        """Compute the same in another way."""
        raise NotImplementedError


def trained_parts(learner: nn.Module) -> list[nn.Module]:
    """Return the outermost modules below a learner that have parameters to train.

    They are what it calls: an encoder and a decoder, say. Of a list of modules, its entries.
    """
    parts: list[nn.Module] = []
    for child in learner.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            parts += trained_parts(child)
        elif any(p.requires_grad for p in child.parameters()):
            parts.append(child)
    return parts
