"""Throughput of data-parallel training, predicted from constants, checked against processes here.

Without options it measures the constants of this machine: the step of one process, and the
all-reduce of a small and a large tensor between two, which give latency and bandwidth of their
link. It then trains with 1, 2 and 3 processes, one thread each, which average their gradients by
gloo, and tells predicted and measured throughput. ``--constants FILE``, a JSON object with the
parameters of ``benchmarks.scaling_model.Machine``, predicts for another machine and measures
nothing.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import distributed, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from benchmarks.report import Row, options, print_table, write_json
from benchmarks.scaling_model import COMPUTING, HOST, STREAM, Machine
from insituml.models import MLP
from insituml.plots import save, scaling_curves

RANKS = tuple(sorted({round(10 ** (k / 24)) for k in range(73)}))
TOLD = (1, 8, 64, 1000)
SMALL, LARGE = 1024, 2**22
"""Numbers of the tensors whose all-reduce shows latency and bandwidth."""
PETABYTE = 1e15


@dataclass(frozen=True)
class Effort:
    """Width of the model that is trained, steps, and numbers of processes."""

    width: int = 1024
    steps: int = 30
    ranks: tuple[int, ...] = (1, 2, 3)
    batch: int = 64


FULL = Effort()
QUICK = Effort(steps=8)


@dataclass(frozen=True)
class Measured:
    """Seconds of a step by number of processes; of all-reduces between two by tensor size."""

    step_seconds: dict[int, float]
    all_reduce_seconds: dict[int, float]
    parameters: int
    effort: Effort

    @property
    def batch_bytes(self) -> int:
        return 4 * self.effort.batch * self.effort.width

    @property
    def machine(self) -> Machine:
        """The constants of this machine; processes of it share its cores."""
        latency, bandwidth = 0.0, math.inf
        if self.all_reduce_seconds:
            latency, bandwidth = link_of(self.all_reduce_seconds)
        return Machine(
            step_seconds=self.step_seconds[1],
            batch_bytes=self.batch_bytes,
            gradient_bytes=4 * self.parameters,
            link_bandwidth=bandwidth,
            link_latency=latency,
            ranks_per_host=1000,
            devices_per_host=os.cpu_count() or 1,
        )

    @property
    def throughput(self) -> dict[int, float]:
        """Bytes trained on in a second, by number of processes."""
        return {n: n * self.batch_bytes / seconds for n, seconds in self.step_seconds.items()}


def link_of(all_reduce_seconds: dict[int, float]) -> tuple[float, float]:
    """Return latency and bandwidth of a link from two all-reduces between two ranks.

    Of b bytes each takes ``2 (b / 2 / B + α)``.
    """
    (few, short), (many, long) = sorted(all_reduce_seconds.items())
    slope = max(long - short, 1e-9) / (4 * (many - few))
    return max(0.0, short / 2 - slope * 2 * few), 1 / slope


def work(rank: int, world: int, folder: str, effort: Effort) -> Measured:
    """Train in one of ``world`` processes; each number of processes in turn, the others waiting."""
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", world)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    try:
        learner = MLP(effort.width, (effort.width, effort.width), 64)
        parameters = sum(p.numel() for p in learner.parameters())
        taken: dict[int, float] = {}
        for ranks in effort.ranks:
            group = distributed.new_group(list(range(ranks)))
            if rank < ranks:
                step = step_of(learner, effort, group if ranks > 1 else None)
                taken[ranks] = typical(step, effort.steps)
            distributed.barrier()
        reduced = {}
        pair = distributed.new_group([0, 1]) if world > 1 else None
        for numbers in (SMALL, LARGE) if pair is not None and rank < 2 else ():
            values = torch.zeros(numbers)
            reduced[numbers] = typical(
                lambda values=values: distributed.all_reduce(values, group=pair), effort.steps
            )
        distributed.barrier()
        return Measured(taken, reduced, parameters, effort)
    finally:
        distributed.destroy_process_group()


def step_of(
    learner: MLP, effort: Effort, group: distributed.ProcessGroup | None
) -> Callable[[], None]:
    """Return a step on a batch, its gradients averaged over a group."""
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    batch = (torch.randn(effort.batch, effort.width, generator=torch.Generator().manual_seed(0)),)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        learner.loss(batch).backward()
        if group is not None:
            average(list(learner.parameters()), group)
        optimizer.step()

    return step


def average(parameters: Sequence[nn.Parameter], group: distributed.ProcessGroup) -> None:
    """Replace gradients by their mean over a group, in one all-reduce."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = _flatten_dense_tensors(gradients)
    distributed.all_reduce(together, group=group)
    together /= distributed.get_world_size(group)
    for own, mean in zip(gradients, _unflatten_dense_tensors(together, gradients), strict=True):
        own.copy_(mean)


def typical(act: Callable[[], object], turns: int) -> float:
    """Return the median time of something, in seconds."""
    times = []
    for turn in range(turns + 2):
        started = time.perf_counter()
        act()
        if turn >= 2:  # the first ones warm up
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(effort: Effort) -> Measured:
    """Train here, in as many processes as are asked for at most."""
    world = max(effort.ranks)
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(world, mp_context=context) as pool,
    ):
        waiting = [pool.submit(work, rank, world, folder, effort) for rank in range(world)]
        return waiting[0].result()


def measured_rows(measured: Measured) -> list[Row]:
    """Set what was measured against what is predicted."""
    machine, rows = measured.machine, []
    rows.append(Row("step of one process, milliseconds", 1e3 * machine.step_seconds))
    rows.append(Row("gradients, MB", machine.gradient_bytes / 1e6))
    rows.append(Row("link: latency, microseconds", 1e6 * machine.link_latency))
    rows.append(Row("link: bandwidth, GB/s", machine.link_bandwidth / 1e9))
    for ranks, found in measured.throughput.items():
        rows.append(Row(f"{ranks} processes: measured, MB/s", found / 1e6))
        rows.append(Row(f"{ranks} processes: predicted, MB/s", machine.throughput(ranks) / 1e6))
    return rows


def predicted_rows(machine: Machine) -> list[Row]:
    """Tell throughput, efficiency and memory from one rank to a thousand."""
    rows = []
    for ranks in TOLD:
        found = machine.throughput(ranks)
        rows.append(Row(f"{ranks} ranks: GB/s", found / 1e9))
        rows.append(Row(f"{ranks} ranks: efficiency", machine.efficiency(ranks)))
        rows.append(Row(f"{ranks} ranks: hours for a PB", PETABYTE / found / 3600))
        rows.append(Row(f"{ranks} ranks: GB of memory each", machine.bytes_per_rank(ranks) / 1e9))
    return rows


def say_limit(machine: Machine) -> None:
    first = machine.first_saturated(max(RANKS))
    if first is None:
        print(f"up to {max(RANKS)} ranks nothing but computing is the limit")
    else:
        print(f"from {first[0]} ranks on {first[1]} is the limit")


def figure_of(machine: Machine, measured: Measured | None, path: Path) -> Path:
    """Draw throughput and its limits."""
    shown = [n for n in RANKS if measured is None or n <= 8]
    alone = replace(machine, gradient_bytes=0, link_latency=0.0)
    limits = {"computing, without a link": [alone.limits(n)[COMPUTING] for n in shown]}
    for name in (HOST, STREAM):
        limits[name] = [machine.limits(n)[name] for n in shown]
    figure = scaling_curves(
        shown,
        [machine.throughput(n) for n in shown],
        limits,
        measured=measured.throughput if measured is not None else None,
        rank_label="processes" if measured is not None else "GPUs",
    )
    return save(figure, path)


def machine_from(path: Path) -> Machine:
    """Read constants from a JSON file.

    Raises
    ------
    ValueError
        If a key is none of them, or a number is out of range.
    """
    known = {field.name for field in fields(Machine)}
    values = json.loads(path.read_text())
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{unknown[0]} is no constant; expected of {', '.join(sorted(known))}")
    try:
        return Machine(**values)
    except TypeError as error:
        raise ValueError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--constants", type=Path, metavar="FILE", help="predict for this machine")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw throughput and limits")
    parsed = parser.parse_args(arguments)
    measured = None
    if parsed.constants is not None:
        try:
            machine = machine_from(parsed.constants)
        except (OSError, ValueError) as error:
            parser.error(f"{parsed.constants}: {error}")
        rows = predicted_rows(machine)
    else:
        measured = measure(QUICK if parsed.quick else FULL)
        machine, rows = measured.machine, measured_rows(measured)
    print_table(rows)
    say_limit(machine)
    if parsed.figure:
        print(figure_of(machine, measured, parsed.figure))
    if parsed.json:
        write_json(rows, parsed.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
