"""Throughput of training on a GPU, against a bare loop and against what the device could do.

The ceilings are measured in the same run: copies within the device and to it from page-locked
memory, and products of large matrices in float32 and bfloat16. A step is that of the library, with
its batch drawn on the CPU and copied; the bare loop has the batch on the device already. FLOPs are
those of products and convolutions, as the library counts them.

Without a GPU nothing is measured. ``--device cpu`` tries the benchmark itself: its numbers say
nothing of a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.report import Row, concluded, options
from insituml.execution import Execution
from insituml.learner import ContinualLearner
from insituml.methods import Naive
from insituml.models import ConvolutionalAutoEncoder
from insituml.optimisation import Stepper
from insituml.optimisation.flops import counted_flops
from insituml.trainable import moved


@dataclass(frozen=True)
class Effort:
    """Points of a sample, samples of a batch, steps; bytes copied, and the side of a matrix."""

    shape: tuple[int, int, int] = (64, 64, 64)
    batch: int = 8
    stored: int = 64
    steps: int = 50
    copied: int = 2**30
    side: int = 8192


FULL = Effort()
QUICK = Effort(steps=10, copied=2**28, side=4096)

CASES = {
    "float32": Execution(),
    "bfloat16, channels_last": Execution(precision="bfloat16", channels_last=True),
}


@dataclass(frozen=True)
class Clock:
    """Times work on a device until it is done."""

    device: torch.device
    turns: int = field(default=5)

    def seconds(self, act: Callable[[], object]) -> float:
        """Return how long something takes, the mean over some turns after a first one."""
        act()
        self.wait()
        started = time.perf_counter()
        for _ in range(self.turns):
            act()
        self.wait()
        return (time.perf_counter() - started) / self.turns

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Ceilings:
    """What the device does at most: bytes and FLOPs a second."""

    within: float
    to_device: float
    products: dict[str, float]


def ceilings(device: torch.device, effort: Effort) -> Ceilings:
    """Measure copies and matrix products."""
    clock = Clock(device)
    here = torch.zeros(effort.copied, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there, other = (torch.empty(effort.copied, dtype=torch.uint8, device=device) for _ in "ab")
    # Within the device each byte is read and written.
    within = 2 * effort.copied / clock.seconds(lambda: other.copy_(there))
    to_device = effort.copied / clock.seconds(lambda: there.copy_(here, non_blocking=True))
    products = {}
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.ones(effort.side, effort.side, dtype=dtype, device=device)
        seconds = clock.seconds(lambda square=square: square @ square)
        products[str(dtype).removeprefix("torch.")] = 2 * effort.side**3 / seconds
    return Ceilings(within, to_device, products)


def built(
    device: torch.device, execution: Execution, effort: Effort
) -> tuple[ContinualLearner, torch.optim.Optimizer]:
    learner = ConvolutionalAutoEncoder((3, *effort.shape)).to(device).train()
    execution.apply(learner)
    return learner, torch.optim.Adam(learner.parameters(), lr=1e-3)


def bare_step(device: torch.device, execution: Execution, effort: Effort) -> Callable[[], Tensor]:
    """Return a step written by hand, its batch on the device."""
    learner, optimizer = built(device, execution, effort)
    batch = (torch.randn(effort.batch, 3, *effort.shape, device=device),)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = learner.loss(batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def own_step(device: torch.device, execution: Execution, effort: Effort) -> Callable[[], Tensor]:
    """Return a step of the library, its batch drawn from samples on the CPU."""
    learner, optimizer = built(device, execution, effort)
    generator = torch.Generator().manual_seed(0)
    stepper = Stepper(learner, Naive(generator=generator), optimizer, generator=generator)
    stored = torch.randn(effort.stored, 3, *effort.shape, generator=generator)

    def step() -> Tensor:
        rows = torch.randperm(effort.stored, generator=generator)[: effort.batch]
        return stepper.take(moved((stored.index_select(0, rows),), learner))

    return step


def rows_of(device: torch.device, effort: Effort) -> Iterator[Row]:
    """Measure ceilings, then each case."""
    most = ceilings(device, effort)
    yield Row("copies within the device, GB/s", most.within / 1e9)
    yield Row("copies to the device, GB/s", most.to_device / 1e9)
    for name, flops in most.products.items():
        yield Row(f"products in {name}, TFLOP/s", flops / 1e12)
    clock = Clock(device, effort.steps)
    taken = 4 * effort.batch * 3 * effort.shape[0] * effort.shape[1] * effort.shape[2]
    for name, execution in CASES.items():
        bare = bare_step(device, execution, effort)
        with counted_flops() as flops:
            bare()
        alone, own = clock.seconds(bare), clock.seconds(own_step(device, execution, effort))
        yield Row(f"{name}: milliseconds a step", 1e3 * own)
        yield Row(f"{name}: samples a second", effort.batch / own)
        yield Row.at_least(f"{name}: throughput, of the bare loop's", alone / own, 0.9)
        share = flops() / own / most.products[execution.precision]
        yield Row(f"{name}: FLOP/s, of the products'", share)
        yield Row(f"{name}: copied to the device, of its most", taken / own / most.to_device)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try it")
    parsed = parser.parse_args(arguments)
    try:
        device = torch.empty(0, device=parsed.device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        print(f"not measured: {parsed.device} does not work here ({reason})")
        return 0
    rows = list(rows_of(device, QUICK if parsed.quick else FULL))
    return concluded(rows, parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
