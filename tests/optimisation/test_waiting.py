"""No step waits for the device: nothing of what it computes is looked at before the next one.

The learner, its batches and what methods keep beside it lie on torch's ``meta`` device, which has
no values: whatever asks for one raises, as ``torch.cuda.set_sync_debug_mode("error")`` would on a
GPU. What is on the CPU, such as which samples are drawn, may be looked at. Copies to the device
that would wait for it are seen by a dispatch mode. Where there is a GPU, torch looks by itself too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from insituml.data.mirror import Mirrors
from insituml.data.mixing import IterationMixing
from insituml.data.normalisation import Normalisation
from insituml.data.task import Batch, Task, sent
from insituml.learner import ContinualLearner
from insituml.methods import Method
from insituml.models import AutoEncoder2D, HybridAutoEncoder
from insituml.optimisation import AveragedWeights, Schedule, Stepper
from insituml.training import train
from tests.method_examples import TRAINED, make

SHAPE = (2, 8, 6)
MODELS = {
    "autoencoder": lambda: AutoEncoder2D(SHAPE, (3, 4), 3),
    "pooled": lambda: AutoEncoder2D(SHAPE, (3, 4), 3, downsampling="pool", loss="l1"),
    "hybrid": lambda: HybridAutoEncoder(SHAPE, (3, 4), 4, "corrected", 6),
}


class Waiting(Exception):
    """Something waits for the device."""


class NoWaiting(TorchDispatchMode):
    """Raise where memory is copied to ``meta`` by a copy that waits until it is done."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._overloadpacket
        if name is torch.ops.aten._to_copy and kwargs.get("device") is not None:
            arrives = torch.device(kwargs["device"]).type
            if args[0].device.type == "cpu" and arrives == "meta":
                self.check(args[0], kwargs.get("non_blocking", False))
        if name is torch.ops.aten.copy_ and args[0].is_meta and not args[1].is_meta:
            self.check(args[1], args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        return func(*args, **kwargs)

    @staticmethod
    def check(source: Tensor, non_blocking: bool) -> None:
        if not non_blocking and source.dim() > 0:
            raise Waiting(f"{tuple(source.shape)} of {source.dtype} is copied to the device")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(number: int) -> Task:
    x = torch.randn(8, *SHAPE, generator=seeded(number)) * (1 + number)
    return Task(number, f"task {number}", (x,), (x,), validation=(x,))


def after_a_task(model: str, method: str) -> tuple[ContinualLearner, Method]:
    learner, trained = MODELS[model](), make(method, seeded(1))
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "generator": seeded(2)}
    loop = train(learner, trained, [task(0)], optimizer, **options)
    for _ in loop:
        pass
    return learner, trained


def on_device(
    model: str, learner: ContinualLearner, method: Method, device: str
) -> tuple[ContinualLearner, Method]:
    """Return both again, as a run that is resumed there has them."""
    moved, again = MODELS[model](), make(type(method).__name__, seeded(1))
    moved.load_state_dict(learner.state_dict())
    moved.to(device).train()
    again.load_state_dict(method.state_dict(), moved)
    return moved, again


def stepper_of(learner: ContinualLearner, method: Method) -> Stepper:
    ones = Normalisation(np.zeros(2), np.ones(2))
    mirrors = Mirrors(["x"], ["x", "y"], ["Ex", "Ey"])
    stepper = Stepper(
        learner,
        method,
        torch.optim.Adam(learner.parameters(), lr=1e-3),
        max_gradient_norm=1.0,
        schedule=Schedule("cosine"),
        batch_size=2,
        augment=lambda batch, generator: mirrors.randomly(batch, ones, generator=generator),
        average=AveragedWeights(0.9),
        generator=seeded(2),
    )
    stepper.rate.begin(4)
    return stepper


def take_steps(stepper: Stepper, batch: Batch) -> list[Tensor]:
    losses = []
    for _ in range(2):
        losses.append(stepper.take(batch))
        stepper.observe(batch)
    return losses


WAITS = {
    "CompressedReplay": "samples are compressed on the CPU when they are stored",
    "GEM": "its quadratic programme is solved on the CPU",
    "MIR": "it puts back what the looks at candidates left in the learner, where that differs",
}
"""Methods whose steps ask for values, and why."""
PAIRS = [("autoencoder", name) for name in TRAINED if name not in {"GenerativeReplay", *WAITS}]
PAIRS += [(model, "ExperienceReplay") for model in MODELS if model != "autoencoder"]


@pytest.mark.filterwarnings("ignore:.*which is a no-op")  # a teacher without values
@pytest.mark.parametrize("model, method", PAIRS)
def test_a_step_asks_for_no_value(model: str, method: str) -> None:
    learner, trained = on_device(model, *after_a_task(model, method), "meta")
    stepper = stepper_of(learner, trained)
    samples = (torch.empty(4, *SHAPE, device="meta"),)
    stepper.begin_task(Task(1, "task 1", samples, ()))
    take_steps(stepper, samples)  # memories take their place on the device
    with NoWaiting():
        losses = take_steps(stepper, samples)
    assert all(loss.is_meta for loss in losses)


@pytest.mark.parametrize("method", WAITS)
def test_what_waits_is_known(method: str) -> None:
    learner, trained = on_device("autoencoder", *after_a_task("autoencoder", method), "meta")
    stepper = stepper_of(learner, trained)
    samples = (torch.empty(4, *SHAPE, device="meta"),)
    stepper.begin_task(Task(1, "task 1", samples, ()))
    with pytest.raises(NotImplementedError, match=r"[Mm]eta"):
        take_steps(stepper, samples)


def test_each_kind_of_waiting_is_seen() -> None:
    there, here = torch.empty(3, device="meta"), torch.ones(3)
    for ask in (
        lambda: there.sum().item(),
        lambda: bool(there.any()),
        lambda: there.nonzero(),
        lambda: there[there > 0],
        lambda: there.cpu(),
        lambda: there.tolist(),
    ):
        with pytest.raises((NotImplementedError, RuntimeError)):
            ask()
    for copy in (lambda: here.to("meta"), lambda: there.copy_(here)):
        with NoWaiting(), pytest.raises(Waiting, match=r"\(3,\) of torch.float32"):
            copy()
    with NoWaiting():
        assert sent(here, torch.device("meta")).is_meta
    assert sent(here, torch.device("cpu")) is here


def test_mixing_does_not_wait() -> None:
    mix = IterationMixing(1, 2)
    x, rows = torch.empty(4, *SHAPE, device="meta"), torch.arange(4)
    ones = torch.ones(4, *SHAPE)
    with NoWaiting():
        (mixed,) = mix.randomly((x,), rows, 8, lambda rows: ones, generator=seeded(0))
    assert mixed.is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("model, method", PAIRS)
def test_on_a_gpu_torch_finds_no_waiting(model: str, method: str) -> None:
    learner, trained = on_device(model, *after_a_task(model, method), "cuda")
    stepper = stepper_of(learner, trained)
    samples = tuple(column[:4].cuda() for column in task(1).train)
    stepper.begin_task(Task(1, "task 1", samples, ()))
    take_steps(stepper, samples)
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = take_steps(stepper, samples)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(bool(loss.isfinite()) for loss in losses)
