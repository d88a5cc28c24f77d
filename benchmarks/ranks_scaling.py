"""Weak scaling of training on several ranks: as many samples a rank, one core each.

Seconds of a step of a convolutional autoencoder on one rank, over those on two with twice the
batch. Ranks are processes of this machine, each bound to a core of its own, that talk by gloo.
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

from benchmarks.report import Row, options, print_table, write_json
from insituml.data.task import Task
from insituml.methods import AGEM, EWC, ExperienceReplay, Method, Naive
from insituml.models import ConvolutionalAutoEncoder
from insituml.training import EpochRecord, train

SHAPE = (3, 16, 32, 16)
BATCH = 8
"""Samples of each rank in a step."""
STEPS = 24
GOAL = 0.9
MEASURED: dict[str, Callable[[torch.Generator], Method]] = {
    "naive": lambda generator: Naive(generator=generator),
    "ewc": lambda generator: EWC(1.0, 8, generator=generator),
    "experience replay": lambda generator: ExperienceReplay(64, generator=generator),
    "agem": lambda generator: AGEM(64, 2, 32, generator=generator),
}


def seconds_of_a_step(make: Callable[[torch.Generator], Method], steps: int) -> float:
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
        make(generator),
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
    seconds = {count: _measured(count, cores, steps) for count in (1, 2)}
    rows = []
    for name in MEASURED:
        one, two = seconds[1][name], seconds[2][name]
        rows.append(Row(f"{name}: milliseconds of a step on one rank", 1e3 * one))
        rows.append(Row.at_least(f"{name}: efficiency of two ranks", one / two, GOAL))
    print_table(rows)
    if parsed.json:
        write_json(rows, parsed.json)
    return 0 if all(row.ok for row in rows) else 1


def _measured(count: int, cores: Sequence[int], steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.ranks_scaling", "rank"]
        started = [
            subprocess.Popen([*command, *map(str, (rank, count, cores[rank], steps)), folder])
            for rank in range(count)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError("a rank has failed; see above")
        found: dict[str, float] = torch.load(Path(folder) / "seconds", weights_only=True)
        return found


def _rank(rank: int, count: int, core: int, steps: int, folder: Path) -> None:
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    if count > 1:
        meeting = f"file://{folder}/meeting"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    found = {name: seconds_of_a_step(make, steps) for name, make in MEASURED.items()}
    if rank == 0:
        torch.save(found, folder / "seconds")
    if count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        numbers = map(int, sys.argv[2:6])
        _rank(*numbers, Path(sys.argv[6]))
    else:
        raise SystemExit(main())
