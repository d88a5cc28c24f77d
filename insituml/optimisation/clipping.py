"""Clip a gradient of which each rank holds a part."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from insituml import ranks
from insituml.shards import own_part


def clip_shards(parameters: Iterable[Tensor], largest: float) -> None:
    """Scale ``p.grad`` down, in place, where the Euclidean norm of all of it is above ``largest``.

    As ``torch.nn.utils.clip_grad_norm_`` does with whole gradients; of shards the norm is that of
    all ranks' parts.
    """
    own = [own_part(p.grad) for p in parameters if p.grad is not None]
    square = torch.nn.utils.get_total_norm(own).square()
    ranks.add_up([square])
    factor = (largest / (square.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in own:
        gradient.mul_(factor)
