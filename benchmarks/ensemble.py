"""Ensembles: throughput of 1 to 8 producers into one trainer, peak memory, what a kill loses.

**Throughput.** Producers whose steps cost them a copy write into rings of their own; the consumer
copies each step, as a trainer does. Starting them, and the first steps, do not count. With more
processes than cores they share these: what holds then is told, not asked for. The processor time
of a step in the consumer's process is what several producers cost it, whoever uses the cores.

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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.report import Row, options, print_table, write_json
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
KILLED = 1
"""Which of the simulations is killed."""


@dataclass(frozen=True)
class Effort:
    """Producers, steps of all together, turns; steps of the run whose memory is measured."""

    setting: Setting
    producers: tuple[int, ...]
    steps: int
    turns: int
    memory_steps: int


FULL = Effort(Setting(), (1, 2, 4, 8), steps=480, turns=5, memory_steps=1200)
QUICK = Effort(Setting(), (1, 2), steps=64, turns=1, memory_steps=80)


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


def pace_of(count: int, effort: Effort) -> Pace:
    """Copy every step of so many producers; return what one takes."""
    # All are there when the clock begins: a ring's worth of steps waits in each.
    first = count * (WARM_UP + SLOTS)
    each = effort.steps + MOST_BEFORE
    run = Run.of(partial(prepared_stream, effort.setting.shape, each), count, each)
    mine = np.zeros((3, *effort.setting.shape), dtype=np.float32)
    came, joined = 0, False
    started = worked = 0.0
    for event in run.events():
        if not isinstance(event, Step):
            continue
        np.copyto(mine, event.values)
        if not (joined := joined or all(m.has_joined for m in run.stream.members.values())):
            time.sleep(SLOW)  # or the first ones would be done before the others begin
        came += joined
        if came == first:
            started, worked = time.perf_counter(), time.process_time()
        if came == first + effort.steps:
            break
    steps = max(1, came - first)
    return Pace((time.perf_counter() - started) / steps, (time.process_time() - worked) / steps)


def rate_rows(effort: Effort) -> Iterator[Row]:
    """Measure MB/s by number of producers, all of them in each turn."""
    megabytes = 3 * 4 * math.prod(effort.setting.shape) / 1e6
    turns = [
        {count: pace_of(count, effort) for count in effort.producers} for _ in range(effort.turns)
    ]
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    yield Row("cores", cores)
    for count in effort.producers:
        rate = statistics.median(megabytes / turn[count].clock for turn in turns)
        yield Row(f"{count} producers: MB/s", rate)
        if count == 1:
            continue
        share = statistics.median(turn[1].clock / turn[count].clock for turn in turns)
        work = statistics.median(turn[count].work / turn[1].work for turn in turns)
        name = f"{count} producers: MB/s, of one"
        yield Row(f"{count} producers: trainer's own work a step, of one", work)
        # One core is the consumer's.
        yield Row.at_least(name, share, 0.9) if count < cores + 1 else Row(name, share)


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
    torch.set_num_threads(1)
    setting = effort.setting
    learner, size = MODELS["AutoEncoder3D"]((3, *setting.chunk)), setting.batch_size
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    method = ExperienceReplay(
        setting.memory_samples, size, memory=SimulationMemory, generator=seeds[0]
    )
    trainer = EnsembleTrainer(
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
    rehearse(trainer, setting)
    before = resident("VmHWM")
    each = effort.memory_steps // count
    run = Run.of(partial(wakefield, setting.shape, each), count, each)
    for event in run.events():
        if isinstance(event, Step):
            samples = prepared(event.values, setting.chunk)
            if trainer.task is None:
                trainer.begin_task(0, "", samples)
            trainer.learn(samples, run.ensemble.place(event.iteration)[0])
            del samples  # before the next ones are made
    peak = resident("VmHWM") - before + model_bytes(trainer)
    sample = 4 * 3 * math.prod(setting.chunk)
    parts = {
        "rings": run.stream.bound_bytes,
        "recent samples": setting.recent_samples * sample,
        "sample of the task": setting.task_samples * sample,
        "memory of the method": method.memory_bytes(),
        "model, gradients, optimizer": model_bytes(trainer),
    }
    memory = method.memory
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
    print_table(rows)
    if parsed.json:
        write_json(rows, parsed.json)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
