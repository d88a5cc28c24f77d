"""The exact Fisher information against a plain loop over 2,000 samples.

Both take turns in one process with one thread; a ratio is that of the medians, in seconds of the
processor. ``vmap`` is the closed forms' fallback for other parameters, here for all of them. The
error is the largest relative one of any parameter tensor, in float64 on 20 samples.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.models import MODELS
from benchmarks.report import Row, concluded, options
from insituml.gradients import diagonal_fisher
from insituml.gradients.sample_gradients import SampleGradients
from insituml.learner import ContinualLearner

SAMPLES = 2000
GOALS = {"MLP": 15.0, "AutoEncoder2D": 5.0, "AutoEncoder3D": 5.0}


def loss_of(learner: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return learner.loss(batch)


def per_sample_loop(learner: ContinualLearner, x: Tensor) -> dict[str, Tensor]:
    """Return the mean squared gradient, one backward pass a sample."""
    parameters = dict(learner.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for n in range(len(x)):
        learner.zero_grad()
        learner.loss((x[n : n + 1],)).backward()
        for name, p in parameters.items():
            total[name] += p.grad**2
    return {name: value / len(x) for name, value in total.items()}


def by_vmap(learner: ContinualLearner, x: Tensor) -> dict[str, Tensor]:
    """Return the same by chunked ``vmap`` alone."""
    gradients = SampleGradients(learner, loss_of, list(dict(learner.named_parameters())))
    return gradients.summed_powers((x,), 2, 16)


def seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def largest_error(learner: ContinualLearner, x: Tensor) -> float:
    learner, x = learner.double(), x.double()
    exact, expected = diagonal_fisher(learner, loss_of, [x]), per_sample_loop(learner, x)
    errors = [(exact[n] - e).abs().max() / e.max() for n, e in expected.items()]
    return float(torch.stack(errors).max())


def fisher_rows(repetitions: int) -> Iterator[Row]:
    """Measure every model; each repetition takes a few seconds a model."""
    for name, model in MODELS.items():
        learner = model.build()
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(SAMPLES, *model.shape, generator=generator)
        few = x[: SAMPLES // 10]
        diagonal_fisher(learner, loss_of, [few])
        per_sample_loop(learner, few[:20])
        by_vmap(learner, few[:20])
        exact, loop, vmap = [], [], []
        for _ in range(repetitions):
            loop.append(seconds(partial(per_sample_loop, learner, x)))
            exact.append(seconds(partial(diagonal_fisher, learner, loss_of, [x])))
            vmap.append(seconds(partial(by_vmap, learner, few)) * SAMPLES / len(few))
        middle = statistics.median(exact)
        ratio = statistics.median(loop) / middle
        yield Row.at_least(f"{name}: loop over samples / exact Fisher", ratio, GOALS[name])
        yield Row(f"{name}: vmap / exact Fisher", statistics.median(vmap) / middle)
        yield Row.at_most(
            f"{name}: relative error in float64", largest_error(learner, x[:20]), 1e-6
        )


def main() -> int:
    arguments = options(__doc__).parse_args()
    torch.set_num_threads(1)
    rows = list(fisher_rows(1 if arguments.quick else 5))
    return concluded(rows, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
