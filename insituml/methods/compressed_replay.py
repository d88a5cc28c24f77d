"""Experience replay from a memory that compresses with a bounded error."""

from __future__ import annotations

from collections.abc import Callable

import torch

from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch
from insituml.memory import CompressedReservoir, Memory
from insituml.methods.experience_replay import ExperienceReplay
from insituml.methods.sampling import draw_size


class CompressedReplay(ExperienceReplay):
    """Join each batch with samples from a memory that stores fields compressed.

    In the bytes of a plain memory there are 13 to 50 times as many of them, so that a few per
    cent of a stream's bytes hold nearly all of it, if not exactly.

    Parameters
    ----------
    memory_size
        The bytes which this many samples take uncompressed; None: ``memory`` says how many.
    replay_size
        Samples replayed with each batch; None: as many as the batch has.
    memory
        Makes the memory from ``memory_size`` and ``generator``, such as
        ``functools.partial(CompressedReservoir, rms_error=0.02)``.
    mixes
        Whether, in transit, what is replayed is mixed as new samples are, with what is stored of
        the same place at neighbouring iterations; only a :class:`CompressedReservoir` knows those.
    generator
        Chooses the samples stored and replayed.

    Raises
    ------
    ValueError
        If a size is below 1, and as in :class:`~insituml.memory.CompressedReservoir`.

    Notes
    -----
    What is replayed differs from what was seen by ``rms_error``, on which the error of a model is
    not to depend: choose it well below the error that is hoped for. Points, labels and conditions
    are no fields, and stored as they are: for them this is experience replay.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        memory: Callable[..., Memory] = CompressedReservoir,
        mixes: bool = False,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, replay_size, memory, generator=generator)
        self.mixes = mixes
        self._mix: IterationMixing | None = None

    def mix_replayed(self, mix: IterationMixing) -> None:
        self._mix = mix if self.mixes else None

    def _drawn(self, batch: Batch) -> Batch:
        if self._mix is None or not isinstance(self.memory, CompressedReservoir):
            return super()._drawn(batch)
        return self.memory.sample_mixed(draw_size(self.replay_size, batch), self._mix)
