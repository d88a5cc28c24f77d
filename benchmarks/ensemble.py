"""Ensembles: throughput of 1 to 8 producers into one trainer, peak memory, what a kill loses.

**Throughput.** Producers whose steps cost them a copy write into rings of their own; the consumer
copies each step, as fast as it can. Starting them, and the first steps, do not count. With more
processes than cores they share these: what holds then is told, not asked for. The processor time
of a step in the consumer's process is what several producers cost it, whoever uses the cores.
Then the consumer is a trainer, which takes some fifty times as long for a step as a producer: cores
suffice, and several producers must feed it as one does.

**Memory.** As ``benchmarks/stream_training.py`` measures it for one producer: what the peak of the
resident memory grows by once the streams are read, against what may be stored: the rings, buffer
and sample of the trainer, the memory of the method, the model.

**Kill.** One of three producers is killed while all run; each of its iterations must have been
delivered or be named as lost, and none of the others' may be missing.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.report import Row, concluded, options
from benchmarks.stream_throughput import WARM_UP, prepared_stream
from benchmarks.stream_training import (
    MODELS,
    PROCESSES,
    Setting,
    model_bytes,
    prepared,
    rehearse,
    resident,
    wakefield,
)
from insituml.data.ensemble import Ensemble, Simulation, ensemble_windows, numbered
from insituml.data.step import Step
from insituml.data.windows import TaskWindows
from insituml.in_transit import EnsembleTrainer
from insituml.memory import SimulationMemory
from insituml.methods import ExperienceReplay
from insituml.stream import EnsembleStream, Lost, RingSource, Source, Started

SLOTS = 4
MOST_BEFORE, SLOW = 4000, 0.05
"""Steps that one may bring while others start, and seconds that each then takes."""
PATIENCE = 600.0
"""Seconds until a producer counts as missing, on a machine that others use too."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
KILLED = 1
"""Which of the simulations is killed."""


@dataclass(frozen=True)
class Effort:
    """Producers, steps of all together, turns; steps of the runs that train."""

    setting: Setting
    producers: tuple[int, ...]
    steps: int
    turns: int
    trained_steps: int
    memory_steps: int


FULL = Effort(Setting(), (1, 2, 4, 8), steps=480, turns=5, trained_steps=96, memory_steps=1200)
QUICK = Effort(Setting(), (1, 2), steps=64, turns=1, trained_steps=8, memory_steps=80)


@dataclass(frozen=True)
class Run:
    """A stream of several producers, each with so many iterations, all of them one task."""

    stream: EnsembleStream
    ensemble: Ensemble
    windows: TaskWindows
    iterations: range

    @classmethod
    def of(cls, factory: partial[Source], count: int, iterations: int, slots: int = SLOTS) -> Run:
        simulations = [Simulation(f"simulation_{k}") for k in range(count)]
        patient = {"open_timeout": PATIENCE, "stall_timeout": PATIENCE}
        rings = [partial(RingSource, factory, slots=slots, **patient)] * count
        stream = EnsembleStream(
            Started(simulations, rings), most=count, slots=slots, open_timeout=PATIENCE
        )
        one = TaskWindows.in_time(range(iterations), 1, 0.2)
        ensemble = numbered(count, one.last, "none")
        windows = ensemble_windows(one, ensemble, count)
        return cls(stream, ensemble, windows, range(iterations))

    def events(self) -> Iterator[object]:
        with self.stream:
            self.stream.describe()
            yield from self.stream.events(self.ensemble, self.windows, self.iterations)


@dataclass(frozen=True)
class Pace:
    """Seconds that a step takes: by the clock, and of the consumer's own work."""

    clock: float
    work: float


Use = Callable[[np.ndarray, int], None]
"""What the consumer does with an iteration of a simulation."""


def pace_of(count: int, steps: int, setting: Setting, use: Use) -> Pace:
    """Use every step of so many producers; return what one takes."""
    # All are there when the clock begins: a ring's worth of steps waits in each.
    first = count * (WARM_UP + SLOTS)
    each = steps + MOST_BEFORE
    run = Run.of(partial(prepared_stream, setting.shape, each), count, each)
    came, joined = 0, False
    started = worked = 0.0
    for event in run.events():
        if not isinstance(event, Step):
            continue
        use(event.values, run.ensemble.place(event.iteration)[0])
        if not (joined := joined or all(m.has_joined for m in run.stream.members.values())):
            time.sleep(SLOW)  # or the first ones would be done before the others begin
        came += joined
        if came == first:
            started, worked = time.perf_counter(), time.process_time()
        if came == first + steps:
            break
    steps = max(1, came - first)
    return Pace((time.perf_counter() - started) / steps, (time.process_time() - worked) / steps)


def rate_rows(effort: Effort) -> Iterator[Row]:
    """Measure MB/s by number of producers, all of them in each turn, copied and trained on."""
    setting = effort.setting
    mine = np.zeros((3, *setting.shape), dtype=np.float32)

    def copied(values: np.ndarray, simulation: int) -> None:
        np.copyto(mine, values)

    yield Row("cores", CORES)
    # One core is the consumer's.
    yield from _rows("copied", effort, effort.steps, copied, suffice=lambda count: count < CORES)
    if CORES > 1:
        trained = learning(trainer_of(setting), setting)
        yield from _rows("trained on", effort, effort.trained_steps, trained, lambda count: True)


def _rows(
    name: str, effort: Effort, steps: int, use: Use, suffice: Callable[[int], bool]
) -> Iterator[Row]:
    megabytes = 3 * 4 * math.prod(effort.setting.shape) / 1e6
    turns = [
        {count: pace_of(count, steps, effort.setting, use) for count in effort.producers}
        for _ in range(effort.turns)
    ]
    for count in effort.producers:
        rate = statistics.median(megabytes / turn[count].clock for turn in turns)
        yield Row(f"{count} producers, {name}: MB/s", rate)
        if count == 1:
            continue
        share = statistics.median(turn[1].clock / turn[count].clock for turn in turns)
        work = statistics.median(turn[count].work / turn[1].work for turn in turns)
        yield Row(f"{count} producers, {name}: consumer's own work a step, of one", work)
        what = f"{count} producers, {name}: MB/s, of one"
        yield Row.at_least(what, share, 0.9) if suffice(count) else Row(what, share)


def trainer_of(setting: Setting) -> EnsembleTrainer:
    """Return a trainer of an AutoEncoder3D with replay, on one thread."""
    torch.set_num_threads(1)
    learner, size = MODELS["AutoEncoder3D"]((3, *setting.chunk)), setting.batch_size
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    method = ExperienceReplay(
        setting.memory_samples, size, memory=SimulationMemory, generator=seeds[0]
    )
    return EnsembleTrainer(
        learner,
        method,
        torch.optim.Adam(learner.parameters(), lr=1e-3),
        now_samples=setting.recent_samples,
        task_samples=setting.task_samples,
        batches_per_arrival=1,
        batch_size=size,
        generator=seeds[1],
        one_task=True,
    )


def learning(trainer: EnsembleTrainer, setting: Setting) -> Use:
    """Return what learns from each iteration, all of one task."""

    def learn(values: np.ndarray, simulation: int) -> None:
        samples = prepared(values, setting.chunk)
        if trainer.task is None:
            trainer.begin_task(0, "", samples)
        trainer.learn(samples, simulation)
        # Samples are gone before the next ones are made.

    return learn


def kill_rows(effort: Effort, iterations: int = 60) -> Iterator[Row]:
    """Kill one of three producers, and count what became of its iterations."""
    run = Run.of(partial(prepared_stream, effort.setting.shape, iterations), 3, iterations)
    came: dict[int, set[int]] = {k: set() for k in range(3)}
    named: set[tuple[int, int]] = set()
    for event in run.events():
        if isinstance(event, Step):
            simulation, iteration = run.ensemble.place(event.iteration)
            came[simulation].add(iteration)
            ring = run.stream.members[f"simulation_{KILLED}"].ring
            if len(came[KILLED]) == iterations // 3 and ring and ring.process:
                os.kill(ring.process, signal.SIGKILL)
        elif isinstance(event, Lost):
            named |= {(event.simulation, n) for n in range(event.first, event.last + 1)}
    missing = {(k, n) for k in came for n in run.iterations if n not in came[k]}
    yield Row("killed one of 3: its iterations delivered", len(came[KILLED]))
    yield Row("killed one of 3: its iterations lost", sum(k == KILLED for k, _ in missing))
    others = sum(k != KILLED for k, _ in missing)
    yield Row.at_most("killed one of 3: iterations of others lost", others, 0)
    yield Row.at_most(
        "killed one of 3: lost and not named, or the reverse", len(missing ^ named), 0
    )


def memory_rows(effort: Effort, count: int = 4) -> Iterator[Row]:
    """Measure the peak of a training on several producers, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        parts, peak, counts = pool.submit(peak_of_a_run, effort, count).result()
    for name, size in parts.items():
        yield Row(f"bound: {name}, MB", size / 1e6)
    yield Row(f"peak memory with {count} producers, MB", peak / 1e6)
    yield Row.at_most("peak memory, of the bound", peak / sum(parts.values()), 1.1)
    yield Row.at_most(
        "samples of simulations in memory, most less fewest", max(counts) - min(counts), 1
    )


def peak_of_a_run(effort: Effort, count: int) -> tuple[dict[str, int], int, list[int]]:
    """Rehearse, then train on several producers; return bounds, peak, and shares of the memory."""
    setting = effort.setting
    trainer = trainer_of(setting)
    rehearse(trainer, setting)
    before = resident("VmHWM")
    each = effort.memory_steps // count
    run = Run.of(partial(wakefield, setting.shape, each), count, each)
    learn = learning(trainer, setting)
    for event in run.events():
        if isinstance(event, Step):
            learn(event.values, run.ensemble.place(event.iteration)[0])
    peak = resident("VmHWM") - before + model_bytes(trainer)
    sample = 4 * 3 * math.prod(setting.chunk)
    parts = {
        "rings": run.stream.bound_bytes,
        "recent samples": setting.recent_samples * sample,
        "sample of the task": setting.task_samples * sample,
        "memory of the method": trainer.method.memory_bytes(),
        "model, gradients, optimizer": model_bytes(trainer),
    }
    memory = trainer.method.memory  # type: ignore[attr-defined]
    assert isinstance(memory, SimulationMemory)
    return parts, peak, memory.simulations().bincount(minlength=count).tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = options(__doc__).parse_args(arguments)
    effort = QUICK if parsed.quick else FULL
    rows = [*rate_rows(effort), *kill_rows(effort)]
    if PROCESSES.is_dir():
        rows += memory_rows(effort)
    else:
        print(f"no peak memory: it is read from {PROCESSES}, which is not here")
    return concluded(rows, parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
