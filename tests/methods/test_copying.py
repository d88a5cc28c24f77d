"""Learners are copied with what a pass left behind; what cannot be is said before training."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import weakref

import pytest
import torch
from torch import nn

from insituml import ContinualLearner, train
from insituml.data.task import Task
from insituml.methods import DER, LwF, WeightAveraging
from insituml.methods.copying import copied
from insituml.methods.distillation import output_distance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclasses.dataclass
class State:
    hidden: object


class Slots:
    __slots__ = ("kept",)


class Keeping(ContinualLearner):
    """Keeps its last activation in a way that a test chooses."""

    def __init__(self, keep) -> None:
        super().__init__()
        self.e, self.d = nn.Linear(4, 3), nn.Linear(3, 4)
        self.keep = keep

    def encode(self, x):
        hidden = self.e(x)
        self.keep(self, hidden)
        return torch.tanh(hidden)

    def decode(self, z):
        return self.d(z)


def in_slots(m, h):
    m.kept = Slots()
    m.kept.kept = [h]


def in_closure_of_hook(m, h):
    if not hasattr(m, "seen"):
        m.seen = {}
        m.d.register_forward_hook(lambda module, inputs, out: m.seen.update(d=out, i=inputs))


def in_partial(m, h):
    m.kept = functools.partial(torch.add, h)


def on_tensor(m, h):
    m.e.weight.last = h


KEPT = {
    "attribute": lambda m, h: setattr(m, "kept", h),
    "tuple": lambda m, h: setattr(m, "kept", (h,)),
    "list": lambda m, h: setattr(m, "kept", [h, [h.sum()]]),
    "dictionary": lambda m, h: setattr(m, "kept", {"a": {"b": h}}),
    "deque": lambda m, h: setattr(m, "kept", collections.deque([h], 3)),
    "namespace": lambda m, h: setattr(m, "kept", State((h, {"c": h * 2}))),
    "slots": in_slots,
    "hook": in_closure_of_hook,
    "partial": in_partial,
    "tensor": on_tensor,
    "buffer": lambda m, h: m.register_buffer("kept", h, persistent=False),
    "lambda": lambda m, h: setattr(m, "kept", lambda: h),
    "generator": lambda m, h: setattr(m, "kept", seeded(3)),
    "weak": lambda m, h: setattr(m, "kept", weakref.ref(m.e)),
    "method": lambda m, h: setattr(m, "kept", State(h).__repr__),
}


def tasks():
    x = torch.randn(8, 4, generator=seeded())
    return [Task(k, str(k), (x + k,), (x,)) for k in range(2)]


def run(learner, method):
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    return list(
        train(learner, method, tasks(), optimizer, epochs=1, batch_size=8, generator=seeded(1))
    )


@pytest.mark.parametrize("kept", KEPT)
def test_whatever_a_pass_leaves_behind_is_copied(kept: str) -> None:
    for method in (LwF(1.0, generator=seeded()), WeightAveraging(generator=seeded())):
        assert len(run(Keeping(KEPT[kept]), method)) == 2
    learner = Keeping(KEPT[kept])
    x = torch.randn(3, 4, generator=seeded())
    before = learner(x)[1]
    again = copied(learner)
    assert torch.equal(again(x)[1], before)
    assert again.e.weight is not learner.e.weight


@pytest.mark.parametrize("make", [threading.Lock, threading.Event, lambda: (n for n in range(3))])
def test_what_cannot_be_copied_is_said_before_training(make) -> None:
    learner = Keeping(lambda m, h: None)
    learner.handle = {"held": [make()]}
    before = learner.e.weight.detach().clone()
    with pytest.raises(ValueError, match=r"Keeping cannot be copied \(TypeError: cannot pickle"):
        run(learner, LwF(1.0, generator=seeded()))
    assert torch.equal(learner.e.weight, before)


@pytest.mark.parametrize("extra", [(), (2,), (2, 3)])
def test_outputs_added_at_the_end_are_left_out(extra) -> None:
    now = torch.randn(5, 3, *extra, generator=seeded(), requires_grad=True)
    before = torch.randn(5, 1, *extra, generator=seeded(1))
    distance = output_distance(now, before, object())
    expected = sum(((now[i, :1] - before[i]) ** 2).sum() for i in range(5)) / before.numel()
    torch.testing.assert_close(distance, expected)
    distance.backward()
    assert now.grad is not None
    assert not now.grad[:, 1:].any()


@pytest.mark.parametrize(
    "now, before",
    [((5, 1), (5, 3)), ((5,), (5, 1)), ((5, 1), (5,)), ((5, 3), (4, 3)), ((5, 3, 2), (5, 1, 1)),
     ((5, 1), (1, 1)), ((5, 4, 4), (5, 4, 3)), ((), (5, 1))],
)  # fmt: skip
def test_other_shapes_are_never_broadcast(now, before) -> None:
    with pytest.raises(ValueError, match="has shape"):
        output_distance(torch.zeros(now), torch.zeros(before), object())


@pytest.mark.parametrize(
    "make", [lambda: LwF(1.0, generator=seeded()), lambda: DER(4, generator=seeded())]
)
@pytest.mark.parametrize(
    "change, kind",
    [(lambda y: (y, y), "tuple"), (lambda y: {"y": y}, "dict"), (lambda y: y.long(), "int64")],
)
def test_outputs_that_cannot_be_compared(make, change, kind: str) -> None:
    class Odd(Keeping):
        def output(self, batch):
            return change(self(batch[0])[1])

        def objective(self, output, batch):
            return self(batch[0])[1].square().mean()

    with pytest.raises(ValueError, match=rf"Odd\.output returns .*{kind}"):
        run(Odd(lambda m, h: None), make())


def test_stored_outputs_of_low_precision_keep_their_digits() -> None:
    method = DER(8, generator=seeded())
    learner = Keeping(lambda m, h: None).bfloat16()
    stream = [Task(t.index, t.name, tuple(c.bfloat16() for c in t.train), t.test) for t in tasks()]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    list(train(learner, method, stream, optimizer, epochs=1, batch_size=8, generator=seeded(1)))
    assert method.memory.all()[-1].dtype == torch.float32
