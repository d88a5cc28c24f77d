"""Mixed precision: products and convolutions in bfloat16, weights and losses in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from insituml.execution.replaced import Replaced, trained_parts
from insituml.learner import ContinualLearner

PRECISIONS = ("float32", "bfloat16")


class _Autocast(Replaced):
    def trained(self, *inputs: Any, **options: Any) -> Any:
        device = next(self.module.parameters()).device.type
        with torch.autocast(device, torch.bfloat16):
            return _widened(self.usual(*inputs, **options))


def _widened(value: Any) -> Any:
    """Return float32 in place of bfloat16, in tuples and lists too."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if type(value) in (tuple, list):
        return type(value)(_widened(part) for part in value)
    return value


def train_in_bfloat16(learner: ContinualLearner) -> None:
    """Let the parts of a learner compute in bfloat16 while it is trained.

    bfloat16 has float32's range, so that no loss is scaled. Parameters, gradients, the optimizer,
    latents between the parts, losses, penalties and projections stay float32.

    Parameters
    ----------
    learner
        Changed in place.

    Raises
    ------
    ValueError
        If it has no parts, or its parameters are of another type than float32.
    """
    other = [n for n, p in learner.named_parameters() if p.dtype != torch.float32]
    if other:
        kind = learner.get_parameter(other[0]).dtype
        raise ValueError(
            f"precision is bfloat16, but {other[0]} of {type(learner).__name__} is {kind}; "
            "expected float32 parameters"
        )
    for part in parts_of(learner, "precision=bfloat16"):
        _Autocast(part)


def parts_of(learner: ContinualLearner, wanted: str) -> list[nn.Module]:
    """Return the trained parts of a learner.

    Raises
    ------
    ValueError
        If there are none, saying what they were ``wanted`` for.
    """
    parts = trained_parts(learner)
    if not parts:
        raise ValueError(
            f"{type(learner).__name__} has no submodule with parameters to train, which {wanted} "
            "is for; put its layers into one, such as self.encoder, or leave the option off"
        )
    return parts
