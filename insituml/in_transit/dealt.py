"""Samples that ranks have together, each its share, as they arrive from a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insituml import ranks
from insituml.data.blocks import Block
from insituml.data.normalisation import RunningMoments
from insituml.data.task import Batch
from insituml.data.task_files import Columns
from insituml.rank_rows import dealt, everywhere, handed


@dataclass(frozen=True)
class Dealt:
    """This rank's share of joint samples: of W ranks, rank r has r, r + W, r + 2W, ...

    Parameters
    ----------
    share
        Its columns.
    count
        How many samples all ranks have.
    """

    share: Batch
    count: int


Samples = Batch | Dealt
"""Samples that every rank has, or those that are dealt."""


def count_of(samples: Samples) -> int:
    """Return how many samples all ranks have together."""
    return samples.count if isinstance(samples, Dealt) else len(samples[0])


def share_of(samples: Samples) -> Batch:
    """Return this rank's share."""
    if isinstance(samples, Dealt):
        return samples.share
    return tuple(column[ranks.share()] for column in samples)


def whole_of(samples: Samples) -> Batch:
    """Return all samples, on every rank."""
    return everywhere(samples.share) if isinstance(samples, Dealt) else samples


class Reading:
    """Who reads which samples of an iteration, and how they go to who is to have them.

    Parameters
    ----------
    blocks
        What each rank reads; None: the first reads all.
    places
        Where each chunk of an iteration begins, ``(chunks, axes)``; None: samples have no place.
    """

    def __init__(self, blocks: Sequence[Block] | None, places: np.ndarray | None) -> None:
        self._readers: Tensor | None = None
        if blocks is not None:
            assert places is not None
            self._readers = torch.zeros(len(places), dtype=torch.int64)
            for rank, block in enumerate(blocks):
                self._readers[torch.from_numpy(block.holds(places))] = rank

    def deal(self, batch: Batch) -> Dealt:
        """Give each rank its share of what all have read."""
        readers = self._of(batch)
        return Dealt(handed(batch, readers, dealt(len(readers))), len(readers))

    def to_first(self, columns: Columns) -> Columns:
        """Give the first rank all that was read, and the others nothing."""
        tensors = [torch.from_numpy(column) for column in columns.values()]
        readers = self._of(tensors)
        found = handed(tensors, readers, torch.zeros_like(readers))
        return {name: column.numpy() for name, column in zip(columns, found, strict=True)}

    def merged(self, measured: RunningMoments) -> RunningMoments:
        """Return the moments of what all ranks have read, each of which has its own."""
        joint = RunningMoments(measured.mean.size)
        for moments in ranks.gathered_objects(measured):
            joint.merge(moments)
        return joint

    def _of(self, columns: Sequence[Tensor]) -> Tensor:
        if self._readers is not None:
            return self._readers
        return torch.zeros(ranks.total(len(columns[0])), dtype=torch.int64)
