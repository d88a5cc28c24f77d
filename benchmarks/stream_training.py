"""Training in transit at a realistic size: how long it waits for steps, and how much it stores.

**Waiting.** A free-running producer is faster than the trainer, so the ring is full whenever the
trainer comes back to it; what it then waits is what the ring costs. Where other processes keep the
cores busy, handing a slot back may cost the trainer its core, which no ring can help: this time, as
Linux counts it, is told by itself. A producer half as fast as the trainer is there for contrast.

**Memory.** A process of its own first rehearses: it trains the model on batches of noise, which
brings libraries, model, gradients, optimizer and the workspace of a step into memory. What the peak
of the resident memory grows by once the stream is read, and the bytes of the model with its
gradients and optimizer, are set against what may be stored: these, the ring, the buffers of the
trainer, the memory of the method. The ring counts whole, though the producer shares it.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Row
from insituml.data.chunks import chunk_volume
from insituml.data.lwfa import LwfaField
from insituml.data.step import Step
from insituml.data.task import Batch
from insituml.in_transit.trainer import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.methods import ExperienceReplay
from insituml.models import MLP, AutoEncoder3D
from insituml.stream import Description, Event, FieldStream, Finished, RingSource, Source

SCALE = 1e12
"""V/m that become 1."""
WARM_UP = 10
"""Steps whose waiting does not count: the ring fills, torch plans its convolutions."""
PROCESSES = Path("/proc")
SCHEDULER = PROCESSES / "thread-self/schedstat"

Build = Callable[[tuple[int, ...]], ContinualLearner]
MODELS: dict[str, Build] = {
    "MLP": partial(MLP, hidden_sizes=(32,), latent_size=8),
    "AutoEncoder3D": AutoEncoder3D,
}


@dataclass(frozen=True)
class Setting:
    """Points of a step and of the chunks that it is cut into along y, and what is stored."""

    shape: tuple[int, int, int] = (32, 320, 32)
    chunk: tuple[int, int, int] = (32, 32, 32)
    batch_size: int = 4
    recent_iterations: int = 4
    task_samples: int = 64
    memory_samples: int = 256
    slots: int = 8

    @property
    def recent_samples(self) -> int:
        return self.recent_iterations * self.shape[1] // self.chunk[1]


class Paced:
    """A source that takes at least ``seconds`` for each event."""

    def __init__(self, factory: Callable[[], Source], seconds: float) -> None:
        self.source = factory()
        self.seconds = seconds

    def describe(self) -> Description:
        return self.source.describe()

    def events(self, after: int | None = None) -> Iterator[Event]:
        for event in self.source.events(after):
            time.sleep(self.seconds)
            yield event


def wakefield(shape: tuple[int, int, int], iterations: int) -> FieldStream:
    return FieldStream(LwfaField(shape=shape, iterations=iterations))


def make_trainer(build: Build, setting: Setting) -> InTransitTrainer:
    """Return a trainer that replays as many samples as are new, one batch a step."""
    learner, size = build((3, *setting.chunk)), setting.batch_size
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    return InTransitTrainer(
        learner,
        ExperienceReplay(setting.memory_samples, size, generator=seeds[0]),
        torch.optim.Adam(learner.parameters(), lr=1e-3),
        now_samples=setting.recent_samples,
        task_samples=setting.task_samples,
        batches_per_arrival=1,
        batch_size=size,
        generator=seeds[1],
    )


@dataclass(frozen=True)
class Wait:
    """Seconds until a step came; of these, seconds in which a core was all that was missing."""

    seconds: float
    for_core: float


def learn_from(
    source: Source, trainer: InTransitTrainer, chunk: tuple[int, ...], task_steps: int
) -> Iterator[Wait]:
    """Train on every step of a stream; yield how long each was waited for."""
    events = source.events()
    count = 0
    while True:
        started, queued = time.perf_counter(), seconds_queued()
        event = next(events)
        waited = Wait(time.perf_counter() - started, seconds_queued() - queued)
        if isinstance(event, Finished):
            break
        assert isinstance(event, Step), event
        samples = prepared(event.values, chunk)
        if count % task_steps == 0:
            if count:
                trainer.end_task()
            trainer.begin_task(count // task_steps, "", samples)
        trainer.learn(samples)
        del samples  # before the next ones are made
        count += 1
        yield waited
    trainer.end_task()


def prepared(values: np.ndarray, chunk: tuple[int, ...]) -> Batch:
    """Cut a step into chunks of order 1."""
    chunks = chunk_volume(values, chunk)
    chunks /= SCALE
    return (torch.from_numpy(chunks),)


@dataclass(frozen=True)
class Waiting:
    """Seconds that a step takes, and the shares of it spent waiting for the ring, for a core."""

    seconds: float
    share: float
    share_for_core: float


def time_waited(build: Build, source: Source, setting: Setting) -> Waiting:
    """Train on a stream to its end."""
    trainer, waits = make_trainer(build, setting), []
    for waited in learn_from(source, trainer, setting.chunk, task_steps=50):
        waits.append(waited)
        if len(waits) == WARM_UP:
            started = time.perf_counter()
    seconds = time.perf_counter() - started
    for_core = sum(wait.for_core for wait in waits[WARM_UP:])
    for_ring = sum(wait.seconds for wait in waits[WARM_UP:]) - for_core
    return Waiting(seconds / (len(waits) - WARM_UP), for_ring / seconds, for_core / seconds)


def waiting_rows(steps: int, setting: Setting) -> Iterator[Row]:
    """Measure every model with a producer that is ahead, and one with a producer that is not."""
    factory = partial(wakefield, setting.shape, WARM_UP + steps)
    for name, build in MODELS.items():
        with RingSource(factory, slots=4, policy="block") as ring:
            ahead = time_waited(build, ring, setting)
        yield Row(f"{name}: milliseconds a step", 1e3 * ahead.seconds)
        yield Row.at_most(f"{name}: share of time waiting for the ring", ahead.share, 0.05)
        yield Row(f"{name}: share of time waiting for a core", ahead.share_for_core)
    slow = partial(
        Paced, partial(wakefield, setting.shape, WARM_UP + steps // 4), 2 * ahead.seconds
    )
    with RingSource(slow, slots=4, policy="block") as ring:
        share = time_waited(build, ring, setting).share
    yield Row(f"{name}: share of time waiting, producer half as fast", share)


@dataclass(frozen=True)
class Peak:
    """What was stored at most after so many steps, and what the producer held then; bytes."""

    steps: int
    own: int
    producer: int


def memory_rows(at: tuple[int, ...], setting: Setting) -> Iterator[Row]:
    """Measure peaks after these numbers of steps, ascending, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        parts, peaks = pool.submit(peaks_of_a_run, at, setting).result()
    bound = sum(parts.values())
    for name, size in parts.items():
        yield Row(f"bound: {name}, MB", size / 1e6)
    for peak in peaks:
        yield Row(f"peak memory after {peak.steps} steps, MB", peak.own / 1e6)
    first, last = peaks[0], peaks[-1]
    yield Row.at_most("peak memory, of the bound", last.own / bound, 1.1)
    growth = (last.own - first.own) / bound
    # A batch once finds no free place of its size, and takes a new one: no growth, but some MB.
    yield Row.at_most(f"growth after step {first.steps}, of the bound", growth, 0.02)
    yield Row("growth of the producer, MB", (last.producer - first.producer) / 1e6)


def peaks_of_a_run(at: tuple[int, ...], setting: Setting) -> tuple[dict[str, int], list[Peak]]:
    """Rehearse, then train on a stream; return the parts of the bound, and the peaks."""
    torch.set_num_threads(1)
    trainer = make_trainer(MODELS["AutoEncoder3D"], setting)
    rehearse(trainer, setting)
    before, peaks = resident("VmHWM"), []
    # The producer has not ended yet when the last peak is taken.
    factory = partial(wakefield, setting.shape, at[-1] + 2 * setting.slots)
    with RingSource(factory, slots=setting.slots) as ring:
        steps = learn_from(ring, trainer, setting.chunk, task_steps=at[0] // 4)
        for count, _ in enumerate(steps, 1):
            if count in at:
                (producer,) = multiprocessing.active_children()
                peak = resident("VmHWM") - before + model_bytes(trainer)
                peaks.append(Peak(count, peak, resident("VmRSS", producer.pid)))
        ring_bytes = ring.bound_bytes
    sample = 4 * 3 * math.prod(setting.chunk)
    parts = {
        "ring": ring_bytes,
        "recent samples": setting.recent_samples * sample,
        "sample of the task": setting.task_samples * sample,
        "memory of the method": trainer.method.memory_bytes(),
        "model, gradients, optimizer": model_bytes(trainer),
    }
    return parts, peaks


def rehearse(trainer: InTransitTrainer, setting: Setting) -> None:
    """Train on chunks of noise as on those of the stream, storing nothing."""
    learner, optimizer = trainer.learner, trainer.optimizer
    noise = np.random.default_rng(0).standard_normal((3, *setting.shape), dtype=np.float32)
    rows = torch.arange(setting.batch_size)
    for _ in range(20):
        (chunks,) = prepared(noise, setting.chunk)
        batch = torch.cat([chunks[rows], chunks[rows]])
        optimizer.zero_grad(set_to_none=True)
        learner.loss((batch,)).backward()
        optimizer.step()


def model_bytes(trainer: InTransitTrainer) -> int:
    """Return the bytes of the parameters, and of what a step of the optimizer leaves for each."""
    parameters = list(trainer.learner.parameters())
    states = [value for kept in trainer.optimizer.state.values() for value in kept.values()]
    return sum(p.nbytes + p.grad.nbytes for p in parameters) + sum(v.nbytes for v in states)


def seconds_queued() -> float:
    """Return how long this thread was ready to run without running; 0 where no one counts."""
    return int(SCHEDULER.read_text().split()[1]) / 1e9 if SCHEDULER.exists() else 0.0


def resident(field: str, process: int | None = None) -> int:
    """Return the memory of a process, this one by default: ``VmRSS`` now, ``VmHWM`` at most."""
    status = PROCESSES / ("self" if process is None else str(process)) / "status"
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(lines[field].split()[0])
