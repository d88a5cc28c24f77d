"""Weak scaling of training on several ranks: as many samples a rank, one core each.

Seconds of a step of a convolutional autoencoder on one rank, over those on two with twice the
batch. Ranks are processes of this machine, each bound to a core of its own, that talk by gloo.

Beside it stands what two processes reach that know nothing of each other, each with its own batch:
cores share memory, caches and clock, and no ranks can do better than these.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.report import Row, concluded, options
from insituml.data.task import Task
from insituml.methods import AGEM, EWC, ExperienceReplay, Method, Naive
from insituml.models import ConvolutionalAutoEncoder
from insituml.training import EpochRecord, train

SHAPE = (3, 16, 32, 16)
BATCH = 8
"""Samples of each rank in a step."""
STEPS = 24
GOAL = 0.9
Make = Callable[[int, torch.Generator], Method]
"""Builds a method for so many ranks."""
MEASURED: dict[str, Make] = {
    "naive": lambda ranks, generator: Naive(generator=generator),
    "ewc": lambda ranks, generator: EWC(1.0, 8, generator=generator),
    "experience replay": lambda ranks, generator: ExperienceReplay(64, generator=generator),
    "agem": lambda ranks, generator: AGEM(64 * ranks, 2, 32 * ranks, generator=generator),
}


def seconds_of_a_step(make: Make, steps: int) -> float:
    """Return the seconds of a step of the second task, when methods have a past."""
    count = dist.get_world_size() if dist.is_initialized() else 1
    generator = torch.Generator().manual_seed(0)
    tasks = [
        Task(k, f"{k}", (torch.randn(steps * BATCH * count, *SHAPE, generator=generator),), ())
        for k in range(2)
    ]
    learner = ConvolutionalAutoEncoder(SHAPE, (8, 16), generator=generator)
    ends: list[float] = []  # of each epoch

    def report(record: object) -> None:
        if isinstance(record, EpochRecord):
            ends.append(time.perf_counter())

    for _ in train(
        learner,
        make(count, generator),
        tasks,
        torch.optim.Adam(learner.parameters()),
        epochs=2,
        batch_size=BATCH * count,
        generator=generator,
        report=report,
    ):
        pass
    return (ends[3] - ends[2]) / steps  # the second epoch: all is warm, nothing is observed


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = options(__doc__).parse_args(arguments)
    steps = STEPS // 3 if parsed.quick else STEPS
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("two ranks need two cores, and here is one: nothing is measured")
        return 0
    alone, apart, joint = (_measured(*how, cores, steps) for how in ((1, 1), (1, 2), (2, 1)))
    rows = []
    for name, one in alone.items():
        rows.append(Row(f"{name}: milliseconds of a step on one rank", 1e3 * one))
        rows.append(Row(f"{name}: efficiency of two processes apart", one / apart[name]))
        rows.append(Row.at_least(f"{name}: efficiency of two ranks", one / joint[name], GOAL))
    return concluded(rows, parsed.json)


def _measured(count: int, times: int, cores: Sequence[int], steps: int) -> dict[str, float]:
    """Measure ``count`` ranks, ``times`` side by side; the slowest says how long a step took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.ranks_scaling", "rank"]
        started = [
            subprocess.Popen([*command, *map(str, (place, count, cores[place], steps)), folder])
            for place in range(count * times)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError("a rank has failed; see above")
        found = [torch.load(path, weights_only=True) for path in Path(folder).glob("seconds*")]
        return {name: max(each[name] for each in found) for name in MEASURED}


def _rank(place: int, count: int, core: int, steps: int, folder: Path) -> None:
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    if count > 1:
        meeting = f"file://{folder}/meeting"
        dist.init_process_group("gloo", init_method=meeting, rank=place, world_size=count)
    found = {name: seconds_of_a_step(make, steps) for name, make in MEASURED.items()}
    torch.save(found, folder / f"seconds{place}")
    if count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        numbers = map(int, sys.argv[2:6])
        _rank(*numbers, Path(sys.argv[6]))
    else:
        raise SystemExit(main())
