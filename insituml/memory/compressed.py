"""Compressed reservoir: a uniform sample of the stream, its fields stored with a bounded error."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows
from insituml.data.mixing import IterationMixing, mixed
from insituml.data.task import Batch
from insituml.memory.base import Memory
from insituml.memory.compressed_storage import CompressedStorage
from insituml.memory.places import Places


class CompressedReservoir(Memory):
    """A uniform sample of everything seen, as large as fits into a number of bytes.

    Fields, which are floating-point columns ``(n, components, *grid)`` with one to three grid axes,
    are compressed by zfp; how many samples fit depends on how smooth they are. All else (labels,
    conditions, latents, points) is stored as it is.

    Each sample draws a key from U(0, 1) when it comes, and those with the smallest keys are stored,
    as many as fit. Where one has to go, its key is the threshold that all later ones must be below:
    what is stored is all that has a key below the threshold.

    Parameters
    ----------
    capacity
        A size as that of other memories: the bytes which this many samples take in a
        :class:`~insituml.memory.ReservoirMemory`. Of compressed samples, many more fit.
    rms_error
        Largest root-mean-square error of a field of a sample, all components together, in the
        unit in which samples come; normalised fields have a deviation of about 1. It is measured
        when the sample is stored, not assumed; where zfp cannot keep it, values are stored exactly.
    capacity_bytes
        In place of ``capacity``, bytes at most, everything kept for each sample included.
    dtype, device
        Of other memories; here None, or ``"cpu"``. Samples come back on the CPU.
    pin
        Give them back in page-locked memory, where CUDA is available.
    total_tasks
        Of other memories; here without use.
    generator
        Draws keys, and the samples of a batch; None: its own, with seed 0.

    Raises
    ------
    ValueError
        If a size or ``rms_error`` is out of range; when the first samples arrive, if one of
        them, uncompressed, does not fit; where a field to store is not finite.
    ImportError
        When the first samples arrive, if they are fields and zfpy is not installed.

    Notes
    -----
    The threshold depends on what has to fit below it, and so, a little, on each sample: one that
    takes d bytes more than another is stored more seldom by d / capacity_bytes at most. Among
    samples of one size all are equal.

    Bytes are those of the state: besides the samples, their keys, tasks, numbers and lengths, 32
    bytes each. The interpreter's own of about 50 a sample are not among them.

    References
    ----------
    Cohen & Kaplan, "Summarizing data using bottom-k sketches", PODC 2007; for samples of one
    size, Vitter, "Random sampling with a reservoir", ACM TOMS 1985.
    """

    row_overhead = 32

    def __init__(
        self,
        capacity: int | None = None,
        *,
        rms_error: float = 0.05,
        capacity_bytes: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
        pin: bool = False,
        total_tasks: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        if dtype is not None or device not in (None, "cpu"):
            raise ValueError(
                f"dtype is {dtype!r} and device {device!r}; a compressed memory lies on the cpu, "
                "and rms_error says how exact it is: leave both out"
            )
        self._samples = CompressedStorage(
            capacity,
            capacity_bytes,
            rms_error,
            overhead=self.row_overhead,
            row_bytes=Memory.row_overhead,
            pin=pin,
        )
        self.samples_seen = 0
        self.threshold = 1.0
        """What is stored has a key below it: the share of the stream that is."""
        self._keys: list[float] = []  # ascending, as the samples stored and their tasks are
        self._tasks: list[int] = []
        self._numbers: list[int] = []  # how many samples were offered before each

    @property
    def bytes(self) -> int:
        """Bytes in use, everything kept for each sample included."""
        return self._samples.bytes

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes at most; None as long as samples have not become bytes."""
        return self._samples.capacity_bytes

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        samples = rank_rows.everywhere(samples)  # all of it is stored everywhere: it is small
        self._samples.prepare(samples)
        count = len(samples[0])
        keys = torch.rand(count, generator=self.generator, dtype=torch.float64).tolist()
        for number, key in enumerate(keys):
            if key < self.threshold:
                place = bisect(self._keys, key)
                self._samples.insert(place, tuple(column[number] for column in samples))
                self._keys.insert(place, key)
                self._tasks.insert(place, task)
                self._numbers.insert(place, self.samples_seen + number)
                self._make_room()
        self.samples_seen += count
        self._tell_tasks()

    def sample_mixed(self, size: int | None, mix: IterationMixing) -> Batch:
        """Draw as :meth:`sample` does, and mix each with another that is stored.

        Parameters
        ----------
        size
            Samples to draw; None: all there are.
        mix
            Says which ones can be mixed. Whole iterations must have been offered, in order.

        Raises
        ------
        ValueError
            If nothing was ever stored.
        """
        rows = self.draw(size)
        if len(rows) == 0:
            return self._read(rows)
        numbers = torch.tensor(self._numbers)
        partners, weights = mix.draw_stored(rows, numbers, generator=self.generator)
        own = self.owned(rows)
        return mixed(self._read(rows[own]), self._read(partners[own])[0], weights[own])

    def revise(self, task: int, revised: Callable[[Batch], Batch], batch_size: int = 256) -> None:
        """Replace the stored samples of a task, as :meth:`Memory.revise` does.

        What comes back as it was read keeps its bytes: its error does not grow. Where more bytes
        are needed than there are, the samples with the largest keys go.
        """
        for part in self._rows_of(task).split(batch_size):
            left = part[part < len(self._keys)]
            if len(left) == 0:
                break
            samples = revised(self._samples.read(left))
            self._samples.prepare(samples)
            for number, place in enumerate(left.tolist()):
                self._samples.replace(place, tuple(column[number] for column in samples))
            self._make_room()
        self._tell_tasks()

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples": self._samples.state_dict(),
            "keys": torch.tensor(self._keys, dtype=torch.float64),
            "tasks": self.tasks(),
            "numbers": torch.tensor(self._numbers, dtype=torch.int64),
            "threshold": self.threshold,
            "samples_seen": self.samples_seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._samples.load_state_dict(state["samples"])
        self._keys, self._tasks = state["keys"].tolist(), state["tasks"].tolist()
        self._numbers = state["numbers"].tolist()
        counts = [len(part) for part in (self._samples, self._keys, self._tasks, self._numbers)]
        if len(set(counts)) > 1:
            raise ValueError(
                "the stored memory has {} samples, {} keys, {} tasks and {} numbers; it is "
                "damaged".format(*counts)
            )
        self.threshold = state["threshold"]
        self.samples_seen = state["samples_seen"]
        self._tell_tasks()

    def _make_room(self) -> None:
        bound = self._samples.capacity_bytes
        assert bound is not None
        while self._samples.bytes > bound:
            self._samples.pop()
            self._tasks.pop()
            self._numbers.pop()
            self.threshold = self._keys.pop()

    def _tell_tasks(self) -> None:
        self._task_of_row = torch.tensor(self._tasks, dtype=torch.int64)
        self._filled = len(self._tasks)

    def _read(self, rows: Places) -> Batch:
        return self._samples.read(rows)
