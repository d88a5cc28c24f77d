"""Time per training step of each method, against a loop written by hand for the same arithmetic.

Epochs of the method and of the hand-written loop (benchmarks/bare_loops.py) take turns in one
process with one thread; a ratio is that of the medians, in seconds of the processor. Two rows say
how EWC's step depends on the number of tasks. ``--fisher`` adds the exact Fisher information
against a loop over samples, which benchmarks/fisher.py measures alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.bare_loops import Bare, Step, plain_layers
from benchmarks.fisher import fisher_rows
from benchmarks.models import MODELS, Model
from benchmarks.report import Row, concluded, options
from insituml import methods as m
from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.training import EpochRecord, TaskRecord, train

STEPS = 24
"""Steps an epoch."""


@dataclass(frozen=True)
class Case:
    """A method, the loop it is compared with, and the ratio it should not exceed."""

    name: str
    method: Callable[[int], Callable[..., m.Method]]
    against: str
    bare: Callable[[Bare], Step]
    limit: float | None = None


CASES = (
    Case("Naive", lambda b: m.Naive, "bare step", lambda bare: bare.naive, 1.05),
    Case("EWC", lambda b: partial(m.EWC, 1.0, 8), "step + penalty", Bare.penalised, 1.1),
    Case(
        "online EWC", lambda b: partial(m.OnlineEWC, 1.0, 1.0, 8), "step + penalty", Bare.penalised
    ),
    Case("MAS", lambda b: partial(m.MAS, 1.0), "step + penalty", Bare.penalised),
    Case("SI", lambda b: partial(m.SynapticIntelligence, 1.0), "step + penalty", Bare.penalised),
    Case("KFAC EWC", lambda b: partial(m.KroneckerEWC, 1.0), "step + penalty", Bare.penalised),
    Case(
        "A-GEM",
        lambda b: partial(m.AGEM, 4 * b, 2, b),
        "2 gradients",
        partial(Bare.gradients, evaluations=2),
        1.1,
    ),
    Case(
        "S-GEM",
        lambda b: partial(m.SGEM, 4 * b, 2, b),
        "2 gradients",
        partial(Bare.gradients, evaluations=2),
    ),
    Case(
        "layer-wise A-GEM",
        lambda b: partial(m.AGEMLayerwise, 4 * b, 2, b),
        "2 gradients",
        partial(Bare.gradients, evaluations=2),
        1.1,
    ),
    Case(
        "GEM",
        lambda b: partial(m.GEM, 4 * b, 2, b),
        "2 gradients",
        partial(Bare.gradients, evaluations=2),
    ),
    Case("GPM", lambda b: m.GPM, "bare step", lambda bare: bare.naive),
    Case(
        "replay",
        lambda b: partial(m.ExperienceReplay, 4 * b, b),
        "joint batch",
        lambda bare: bare.joint,
        1.1,
    ),
    Case(
        "DER",
        lambda b: partial(m.DER, 4 * b, b),
        "2 gradients",
        partial(Bare.gradients, evaluations=2),
    ),
    Case(
        "DER++",
        lambda b: partial(m.DERPlusPlus, 4 * b, b),
        "3 gradients",
        partial(Bare.gradients, evaluations=3),
    ),
    Case(
        "MIR",
        lambda b: partial(m.MIR, 4 * b, b),
        "gradient, 2 looks, joint batch",
        lambda bare: bare.retrieved,
    ),
    Case("LwF", lambda b: partial(m.LwF, 1.0), "step + teacher", lambda bare: bare.distilled),
    Case(
        "weight averaging",
        lambda b: m.WeightAveraging,
        "step + teacher",
        lambda bare: bare.distilled,
    ),
)


def compare(case: Case, model: Model, epochs: int) -> tuple[float, float]:
    """Return seconds per step of the method and of the hand-written loop."""
    generator = torch.Generator().manual_seed(0)
    past, x = torch.randn(2, STEPS * model.batch_size, *model.shape, generator=generator)
    learner, copy = model.build(), model.build()
    layers = plain_layers(copy)
    torch.testing.assert_close(layers(x[:4]), learner.output((x[:4],)))
    bare = Bare(layers, x, past, torch.optim.Adam(layers.parameters()))
    step = case.bare(bare)
    tasks = [Task(k, "", (data,), (data[:1],)) for k, data in enumerate((past, x))]
    ours: list[float] = []
    theirs: list[float] = []
    started = 0.0

    def take_turns(record: EpochRecord | TaskRecord) -> None:
        nonlocal started
        ended = time.process_time()
        # The first epoch of a task warms up, and stores samples.
        if record.task == 1 and isinstance(record, EpochRecord) and record.epoch > 0:
            ours.append(ended - started)
            again = time.process_time()
            for rows in torch.randperm(len(x), generator=generator).split(model.batch_size):
                step(rows)
            theirs.append(time.process_time() - again)
        started = time.process_time()

    optimizer = torch.optim.Adam(learner.parameters())
    method = case.method(model.batch_size)(generator=generator)
    for _ in train(
        learner,
        method,
        tasks,
        optimizer,
        epochs=epochs + 1,
        batch_size=model.batch_size,
        generator=generator,
        report=take_turns,
    ):
        pass
    return statistics.median(ours) / STEPS, statistics.median(theirs) / STEPS


def method_rows(epochs: int) -> Iterator[Row]:
    """Yield the ratio of each method with each model."""
    for model_name, model in MODELS.items():
        for case in CASES:
            ours, bare = compare(case, model, epochs)
            name = f"{model_name}: {case.name} / {case.against} ({1e3 * bare:.2f} ms)"
            ratio = ours / bare
            yield Row.at_most(name, ratio, case.limit) if case.limit else Row(name, ratio)


def task_rows(repetitions: int) -> Iterator[Row]:
    """Yield EWC's step time after 50 tasks over that after 5, both kinds of steps by turns."""
    model = MODELS["MLP"]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(model.batch_size, *model.shape, generator=generator)
    steps = []
    for count in (5, 50):
        learner = model.build()
        method = m.EWC(1.0, 4, generator=generator)
        for k in range(count):
            method.end_task(learner, Task(k, "", (x,), (x[:1],)))
        steps.append(partial(_step, learner, method, torch.optim.Adam(learner.parameters()), x))
    seconds: list[list[float]] = [[], []]
    for _ in range(repetitions):
        for step, taken in zip(steps, seconds, strict=True):
            started = time.process_time()
            step()
            taken.append(time.process_time() - started)
    few, many = map(statistics.median, seconds)
    yield Row.at_most("MLP: EWC's step after 50 tasks / after 5", many / few, 1.05)


def _step(
    learner: ContinualLearner, method: m.Method, optimizer: torch.optim.Optimizer, x: Tensor
) -> None:
    optimizer.zero_grad()
    method.loss(learner, (x,)).backward()
    optimizer.step()


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--fisher", action="store_true", help="add benchmarks/fisher.py's rows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*method_rows(2 if arguments.quick else 20), *task_rows(50 if arguments.quick else 500)]
    if arguments.fisher:
        rows += fisher_rows(1 if arguments.quick else 5)
    return concluded(rows, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
