"""Whole iterations as samples: time and memory of a step, and of the way from stream to checkpoint.

A volume of (3, 128, 1280, 128), 252 MB, is one sample. One thread a process.

**A step.** A process of its own takes two Adam steps on one sample. Its peak memory is told above
what it held with the sample alone: model, gradients, optimizer and activations. The goal for time
is in seconds of a core, as the process counts them: on an idle machine, those of the clock.

**The way.** A producer computes iterations of the closed-form wakefield and puts them into the
ring; each is normalised, trained on with a replayed one, stored in float16 within a bound in bytes,
and a checkpoint is written from which training would go on. The ring, which both processes share,
counts once. What the trainer holds between iterations must not grow.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from benchmarks.report import Row, concluded, options
from benchmarks.stream_training import PROCESSES, resident, wakefield
from insituml.checkpoint import save_checkpoint
from insituml.data.step import Step
from insituml.data.windows import Window
from insituml.execution import Execution
from insituml.in_transit import Arrivals, Cutter, HeldOut, InTransitTrainer, TaskWindows
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.methods import ExperienceReplay
from insituml.models import AutoEncoder3D, ConvolutionalAutoEncoder
from insituml.stream import RingSource

GIB = 2**30
SLOTS = 2
TASK = 3
"""Iterations of a task of the stream."""

Build = Callable[[tuple[int, ...]], ContinualLearner]


def strided(shape: tuple[int, ...]) -> ContinualLearner:
    """Return five strided levels and a dense latent."""
    return AutoEncoder3D(shape, channels=(8, 16, 32, 64, 128), latent_size=512)


def convolutional(shape: tuple[int, ...]) -> ContinualLearner:
    """Return a model without a dense layer; its latent is a field on a grid 32 times as coarse."""
    return ConvolutionalAutoEncoder(shape, channels=(8, 16, 32, 64, 64), latent_channels=8)


@dataclass(frozen=True)
class Case:
    """A model, and how its step is computed."""

    build: Build
    execution: Execution = field(default_factory=Execution)

    @property
    def name(self) -> str:
        chosen = [key for key, value in asdict(self.execution).items() if value is True]
        return ", ".join([self.build.__name__, *chosen])


STRIDED = Case(strided)
CASES = [
    STRIDED,
    Case(strided, Execution(activation_checkpointing=True)),
    Case(strided, Execution(channels_last=True)),
    Case(convolutional),
    Case(convolutional, Execution(activation_checkpointing=True)),
]


@dataclass(frozen=True)
class Effort:
    """Points of a volume, and iterations streamed."""

    shape: tuple[int, int, int] = (128, 1280, 128)
    iterations: int = 50

    @property
    def early(self) -> int:
        """Iteration from which on nothing may grow: memories are full, and a task was replayed."""
        return min(10, self.iterations // 2)

    @property
    def sample_bytes(self) -> int:
        return 4 * 3 * math.prod(self.shape)


FULL = Effort()
QUICK = Effort((32, 320, 32), 4 * TASK)


@dataclass(frozen=True)
class Taken:
    """What a step took: seconds of a core and of the clock, bytes at the peak."""

    core: float
    clock: float
    peak: int


def in_a_process(function: Callable[..., object], *arguments: object) -> object:
    """Call a function where nothing was allocated before; return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def take_steps(case: Case, shape: tuple[int, ...]) -> Taken:
    """Take two steps of Adam, the second of which has everything to carry."""
    torch.set_num_threads(1)
    batch = (torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(0)),)
    before = resident("VmRSS")
    learner = case.build((3, *shape)).train()
    case.execution.apply(learner)
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    for _ in range(2):
        core, clock = time.process_time(), time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        learner.loss(batch).backward()
        optimizer.step()
        taken = time.process_time() - core, time.perf_counter() - clock
    return Taken(*taken, resident("VmHWM") - before)


def step_rows(effort: Effort) -> Iterator[Row]:
    for case in CASES:
        taken = in_a_process(take_steps, case, effort.shape)
        assert isinstance(taken, Taken)
        of = f"step of {case.name}"
        if case == STRIDED:
            yield Row.at_most(f"{of}: seconds of a core", taken.core, 7)
            yield Row.at_most(f"{of}: GiB above data", taken.peak / GIB, 2.5)
        else:
            yield Row(f"{of}: seconds of a core", taken.core)
            yield Row(f"{of}: GiB above data", taken.peak / GIB)
        yield Row(f"{of}: seconds of the clock", taken.clock)


@dataclass(frozen=True)
class Iteration:
    """What one iteration took, and what was held when it was done."""

    core: float
    clock: float
    held: int
    checkpoint: int


@dataclass(frozen=True)
class Way:
    """All iterations, and the peaks of trainer and producer."""

    iterations: list[Iteration]
    peak: int
    producer: int


def go_the_way(effort: Effort, folder: Path) -> Way:
    """Stream, learn, replay and write a checkpoint, iteration by iteration."""
    torch.set_num_threads(1)
    # The producer has not ended yet when its memory is looked at last.
    factory = partial(wakefield, effort.shape, effort.iterations + 2 * SLOTS)
    taken: list[Iteration] = []
    with RingSource(factory, slots=SLOTS, policy="block", stall_timeout=600) as ring:
        windows = tasks(effort.iterations + 2 * SLOTS)
        cutter = Cutter(ring.describe())
        arrivals = Arrivals(
            cutter, windows, HeldOut(len(windows), 2**50, effort.sample_bytes), normalise_by=1
        )
        trainer = make_trainer(cutter.sample_shape, effort)
        core, clock = time.process_time(), time.perf_counter()
        for event in ring.events():
            assert isinstance(event, Step), event
            for arrival in arrivals.take(event):
                assert arrival.batch is not None
                if trainer.task not in (None, arrival.task):
                    trainer.end_task()
                if trainer.task is None:
                    trainer.begin_task(arrival.task, "", arrival.batch)
                trainer.learn(arrival.batch)
                del arrival
            checkpoint = write(trainer, folder / "resume.pt")
            now = time.process_time(), time.perf_counter()
            held = resident("VmRSS")
            taken.append(Iteration(now[0] - core, now[1] - clock, held, checkpoint))
            core, clock = now
            most = resident("VmHWM") / GIB
            said = f"{held / GIB:.2f} GiB held, {most:.2f} at most"
            print(f"iteration {len(taken)}: {said}", flush=True)
            if len(taken) == effort.iterations:
                (producer,) = multiprocessing.active_children()
                return Way(taken, resident("VmHWM"), resident("VmHWM", producer.pid))
    raise AssertionError("the stream ended before its last iteration")


def tasks(iterations: int) -> TaskWindows:
    """Cut iterations into tasks, all of them to be trained on."""
    starts = range(0, iterations, TASK)
    return TaskWindows([Window("", tuple(range(k, min(k + TASK, iterations))), ()) for k in starts])


def make_trainer(shape: tuple[int, ...], effort: Effort) -> InTransitTrainer:
    """Return a trainer that replays one stored volume with each new one."""
    learner = strided(shape)
    Execution(activation_checkpointing=True, channels_last=True).apply(learner)
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    memory = partial(ReservoirMemory, capacity_bytes=2 * effort.sample_bytes, dtype="float16")
    return InTransitTrainer(
        learner,
        ExperienceReplay(None, 1, memory, generator=seeds[0]),
        torch.optim.Adam(learner.parameters(), lr=1e-3),
        now_samples=1,
        task_samples=1,
        batches_per_arrival=1,
        batch_size=1,
        generator=seeds[1],
    )


def write(trainer: InTransitTrainer, file: Path) -> int:
    """Write everything that training would go on from; return its bytes."""
    save_checkpoint(
        file,
        trainer.learner,
        method=trainer.method,
        optimizer=trainer.optimizer,
        generator=trainer.generator,
        metadata={"trainer": trainer.state_dict()},
    )
    return file.stat().st_size


def way_rows(effort: Effort, folder: Path) -> Iterator[Row]:
    way = in_a_process(go_the_way, effort, folder)
    assert isinstance(way, Way)
    number = effort.early
    early, last = way.iterations[number - 1], way.iterations[-1]
    later = way.iterations[number:]
    of = "stream to checkpoint"
    yield Row(f"{of}: core seconds an iteration", sum(i.core for i in later) / len(later))
    yield Row(f"{of}: clock seconds an iteration", sum(i.clock for i in later) / len(later))
    yield Row(f"{of}: peak of the trainer, GiB", way.peak / GIB)
    yield Row(f"{of}: peak of the producer, GiB", way.producer / GIB)
    ring = SLOTS * effort.sample_bytes  # shared: once
    yield Row.at_most(f"{of}: both peaks, GiB", (way.peak + way.producer - ring) / GIB, 6)
    # Of a whole task each: its beginning and its end hold more than the rest.
    first, end = (
        max(i.held for i in part)
        for part in (way.iterations[number - TASK : number], way.iterations[-TASK:])
    )
    yield Row(f"{of}: held up to iteration {number}, GiB", first / GIB)
    yield Row(f"{of}: held up to iteration {len(way.iterations)}, GiB", end / GIB)
    yield Row.at_most(f"{of}: growth of what is held", end / first, 1.05)
    yield Row(f"{of}: checkpoint, GB", last.checkpoint / 1e9)
    growth = last.checkpoint / early.checkpoint
    yield Row.at_most(f"{of}: last checkpoint, of iteration {number}'s", growth, 1.001)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--iterations", type=int, metavar="N", help=f"streamed; {4 * TASK} or more")
    parser.add_argument("--skip", choices=("steps", "stream"), help="leave one of both out")
    parser.add_argument("--folder", type=Path, help="where checkpoints go for a while (1.8 GB)")
    parsed = parser.parse_args(arguments)
    effort = QUICK if parsed.quick else FULL
    if parsed.iterations is not None:
        if parsed.iterations < 4 * TASK:
            parser.error(f"--iterations is {parsed.iterations}; expected {4 * TASK} or more")
        effort = Effort(effort.shape, parsed.iterations)
    if not PROCESSES.is_dir():
        print(f"not measured: peak memory is read from {PROCESSES}, which is not here")
        return 0
    rows: list[Row] = []
    if parsed.skip != "steps":
        rows += step_rows(effort)
    if parsed.skip != "stream":
        with tempfile.TemporaryDirectory(dir=parsed.folder) as folder:
            rows += way_rows(effort, Path(folder))
    return concluded(rows, parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
