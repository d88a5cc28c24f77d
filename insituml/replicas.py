"""The learner that several ranks hold: alike when they begin, and looked at after each task."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from insituml import ranks
from insituml.shards import is_shard

ROUNDING = 1e-3
"""By how much weights may differ, as a share of a tensor's largest: what is computed on every rank
may be rounded differently on other hardware."""


def make_alike(learner: nn.Module, generators: Sequence[torch.Generator], **facts: Any) -> None:
    """Give all ranks the first one's parameters, buffers and states of generators.

    Of what is shared out, each has a part of its own, which stays as it is.

    Parameters
    ----------
    learner
        Changed in place, but on the first rank.
    generators
        Each the same one's counterpart on all ranks.
    facts
        What must have been given alike, by name: numbers and the like.

    Raises
    ------
    ValueError
        On all ranks, if the facts differ, or the names or shapes of the learner's tensors.
    """
    if ranks.size() == 1:
        return
    named = list(chain(learner.named_parameters(), learner.named_buffers()))
    shapes = {name: (tuple(t.shape), str(t.dtype)) for name, t in named}
    known = ranks.gathered_objects({**facts, "model": shapes})
    for what in known[0]:
        for rank, theirs in enumerate(known):
            if theirs.get(what) != known[0][what]:
                values = "" if what == "model" else f" ({theirs.get(what)}, not {known[0][what]})"
                raise ValueError(
                    f"rank {rank} has another {what} than rank 0{values}; call all "
                    "ranks with the same arguments"
                )
    for own, first in ranks.beside_first([t for _, t in named if not is_shard(t)]):
        if not torch.equal(own, first):
            own.copy_(first)
    for generator in generators:
        ranks.agree_on(generator)


def check_alike(learner: nn.Module, when: str) -> None:
    """Look whether all ranks still hold the same weights.

    Raises
    ------
    ValueError
        On all ranks, if a tensor differs by more than rounding; ``when`` says when it was seen.
    """
    if ranks.size() == 1:
        return
    tensors = [t for t in chain(learner.parameters(), learner.buffers()) if not is_shard(t)]
    shapes = ranks.gathered_objects([tuple(t.shape) for t in tensors])
    differ = any(each != shapes[0] for each in shapes)
    if not differ:
        pairs = ranks.beside_first(tensors)
        differ = ranks.total(sum(not _is_alike(own, first) for own, first in pairs)) > 0
    if differ:
        raise ValueError(
            f"ranks hold different weights {when}; all must draw the same random numbers, and what "
            "a method makes of its own rank's samples must be joined (docs/ranks.md)"
        )


def _is_alike(own: Tensor, first: Tensor) -> bool:
    own, first = own.to(torch.float64), first.to(torch.float64)
    largest = float(first.abs().max()) if first.numel() else 0.0
    return torch.allclose(own, first, rtol=0.0, atol=ROUNDING * largest, equal_nan=True)
