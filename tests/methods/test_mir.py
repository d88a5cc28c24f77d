"""Maximally interfered retrieval: the choice equals a loop over samples."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Batch, Task
from insituml.gradients.sample_gradients import OneByOneWarning
from insituml.learner import ContinualLearner
from insituml.methods import EWC, MIR, Combined
from insituml.models import MLP


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 2, samples: int = 30) -> list[Task]:
    generator, tasks = seeded(3), []
    for k in range(count):
        x = torch.randn(samples, 4, generator=generator, dtype=torch.float64) * (1 + k) + k
        y = torch.arange(samples) + 100 * k
        tasks.append(Task(k, f"task {k}", (x, y), (x[:3], y[:3])))
    return tasks


class Normed(ContinualLearner):
    """Buffers that a forward pass in ``train`` mode would change, and a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
            self.outer = nn.Linear(5, 4)
        self.inner[0].bias.requires_grad_(False)
        self.double()

    def encode(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.outer(latent)


class Itemised(MLP):
    """A loss that ``vmap`` cannot batch."""

    def objective(self, output: Tensor, batch: Batch) -> Tensor:
        scale = output.abs().max().detach().item()
        return super().objective(output, batch) * (1 + scale)


class LossAlone(MLP):
    """Overrides the loss itself: nothing says what it is computed from."""

    def loss(self, batch: Batch) -> Tensor:
        return (self(batch[0])[1] - batch[0]).abs().sum(dim=1).mean()


def _double(cls: type[MLP]) -> MLP:
    return cls(4, (5,), 2).double()


def ready(method, learner: ContinualLearner) -> Batch:
    """Let the method see task 0 and begin task 1; return a batch of it."""
    first, second = make_tasks()
    method.begin_task(learner, first)
    method.observe(learner, first.train)
    method.begin_task(learner, second)
    return tuple(t[:6] for t in second.train)


def interference_by_hand(learner: ContinualLearner, batch: Batch, samples: Batch, rate: float):
    """Step a copy with torch's own optimizer, one sample's loss after the other."""
    moved = copy.deepcopy(learner).eval()
    optimizer = torch.optim.SGD([p for p in moved.parameters() if p.requires_grad], lr=rate)
    optimizer.zero_grad()
    moved.loss(batch).backward()
    optimizer.step()
    still = copy.deepcopy(learner).eval()
    rises = []
    for place in range(len(samples[0])):
        one = tuple(t[place : place + 1] for t in samples)
        rises.append((moved.loss(one) - still.loss(one)).item())
    return torch.tensor(rises, dtype=torch.float64)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    "make",
    [Normed, *(partial(_double, cls) for cls in (MLP, Itemised, LossAlone))],
)
def test_the_choice_equals_a_loop_over_samples(make, batched: bool) -> None:
    learner, rate = make(), 0.05
    method = MIR(50, 4, 20, rate, batched, generator=seeded(0))
    batch = ready(method, learner)
    state = method.generator.get_state()
    if batched and isinstance(learner, Itemised):
        with pytest.warns(OneByOneWarning, match="batched=False says so"):
            x, y = method.join(learner, batch)
        method.batched = False
    else:
        x, y = method.join(learner, batch)
    method.generator.set_state(state)
    candidates = method.memory.sample(20)
    rises = interference_by_hand(learner, batch, candidates, rate)
    torch.testing.assert_close(
        method.interference(learner, batch, candidates), rises, rtol=1e-6, atol=1e-12
    )
    expected = rises.argsort(descending=True)[:4]
    assert torch.equal(x, torch.cat([batch[0], candidates[0][expected]]))
    assert torch.equal(y, torch.cat([batch[1], candidates[1][expected]]))
    assert set(expected.tolist()) != set(range(4))


def test_the_virtual_step_leaves_no_trace() -> None:
    learner = Normed().train()
    method = MIR(50, 4, 20, generator=seeded(0))
    batch = ready(method, learner)
    for p in learner.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = copy.deepcopy(learner.state_dict())
    random = torch.get_rng_state()
    method.join(learner, batch)
    assert all(torch.equal(v, before[name]) for name, v in learner.state_dict().items())
    assert all(bool((p.grad == 7.0).all()) for p in learner.parameters())
    assert all(module.training for module in learner.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_four_times_as_many_candidates_as_are_replayed_by_default() -> None:
    offered = []

    class Watched(MIR):
        def interference(self, learner, batch, samples):
            offered.append(len(samples[0]))
            return super().interference(learner, batch, samples)

    learner = MLP(4, (5,), 2).double()
    for replayed, joined in ((5, 11), (None, 12)):
        method = Watched(50, replayed, generator=seeded(0))
        batch = ready(method, learner)
        assert len(method.join(learner, batch)[0]) == joined
    assert offered == [20, 24]


def test_where_there_is_no_choice_nothing_is_evaluated() -> None:
    class Blind(MIR):
        def interference(self, learner, batch, samples):
            raise AssertionError("not needed")

    learner = MLP(4, (5,), 2).double()
    method = Blind(3, 4, generator=seeded(0))
    batch = ready(method, learner)
    assert len(method.join(learner, batch)[0]) == 9
    method.begin_task(learner, make_tasks()[0])
    assert method.join(learner, batch) is batch


def test_beside_ewc_the_loss_is_the_sum_of_its_parts() -> None:
    learner = MLP(4, (5,), 2, "tanh").double()
    both = Combined([partial(EWC, 5.0), partial(MIR, 50, 4)], generator=seeded(0))
    batch = ready(both, learner)
    ewc, mir = both.methods
    ewc.end_task(learner, make_tasks()[0])
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    state = both.generator.get_state()
    loss = both.loss(learner, batch)
    both.generator.set_state(state)
    together = mir.join(learner, batch)
    tied = 5.0 * ewc.anchor.value(dict(learner.named_parameters()))
    assert tied > 1e-6
    torch.testing.assert_close(loss, learner.loss(together) + tied, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"candidates": 3}, "candidates is 3; expected at least the 4 replayed"),
        ({"virtual_rate": 0.0}, "virtual_rate is 0.0; expected a learning rate above 0"),
        ({"replay_size": 0}, "replay_size is 0"),
    ],
)
def test_impossible_options_are_refused(options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MIR(**{"memory_size": 10, "replay_size": 4, **options}, generator=seeded(0))
