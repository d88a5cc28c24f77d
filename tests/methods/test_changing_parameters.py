"""Parameters that come, go, grow, freeze, or are not used: one rule in all methods."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insituml import ContinualLearner, train
from insituml.data.task import Task
from insituml.methods import (
    AGEM,
    EWC,
    GEM,
    GPM,
    MAS,
    MIR,
    SGEM,
    AGEMLayerwise,
    Combined,
    ExperienceReplay,
    KroneckerEWC,
    Naive,
    OnlineEWC,
    SynapticIntelligence,
    WeightAveraging,
)

ANCHORED = {
    "ewc": partial(EWC, 1.0),
    "online_ewc": partial(OnlineEWC, 1.0),
    "mas": partial(MAS, 1.0),
    "kronecker_ewc": partial(KroneckerEWC, 1.0),
    "synaptic_intelligence": partial(SynapticIntelligence, 1.0),
}
METHODS = ANCHORED | {
    "agem": partial(AGEM, 12, 3),
    "agem_layerwise": partial(AGEMLayerwise, 12, 3),
    "gem": partial(GEM, 12, 3),
    "sgem": partial(SGEM, 12, 3),
    "gpm": partial(GPM, 0.5),
    "weight_averaging": partial(WeightAveraging, 0.9, 0.1),
    "combined": partial(
        Combined, [partial(EWC, 1.0), partial(SynapticIntelligence, 1.0), partial(AGEM, 12, 3)]
    ),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Heads(ContinualLearner):
    """One head for each task; the last column says which task a sample is of."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 8)
        self.heads = nn.ModuleList(nn.Linear(8, 2) for _ in range(3))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        hidden = torch.tanh(self.trunk(batch[0]))
        output = hidden.new_zeros(len(hidden), 2)
        for task in batch[2].unique().tolist():
            rows = (batch[2] == task).nonzero().flatten()
            output = output.index_copy(0, rows, self.heads[task](hidden[rows]))
        return output

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return F.cross_entropy(output, batch[1])


class Growing(ContinualLearner):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def widen(self) -> None:
        old, count = self.head, self.head.out_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(count)
            self.head = nn.Linear(8, count + 2)
        with torch.no_grad():
            self.head.weight[:count] = old.weight
            self.head.bias[:count] = old.bias

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.head(torch.tanh(self.trunk(batch[0])))

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return F.cross_entropy(output, batch[1])


def built(cls: type[ContinualLearner]) -> ContinualLearner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls()


def make_tasks(grow: bool = False) -> list[Task]:
    tasks, generator = [], seeded(3)
    for k in range(3):
        x = torch.randn(24, 4, generator=generator)
        columns = (x, (2 * k if grow else 0) + (x[:, k] > 0).long(), torch.full((24,), k))
        tasks.append(Task(k, str(k), columns, columns))
    return tasks


def learn(learner, method, tasks, *, decay=0.0, between=lambda k: None, report=None):
    """Learn task by task with an optimizer that lives on while the parameters do."""
    # In float16 Adam's own 1e-8 is 0.
    make = partial(torch.optim.Adam, lr=0.05, weight_decay=decay, eps=1e-4)
    optimizer = make(learner.parameters())
    for k in range(len(tasks)):
        if k and between(k) is not None:
            optimizer = make(learner.parameters())
        more = {} if report is None else {"report": report}
        done = train(
            learner,
            method,
            tasks[: k + 1],
            optimizer,
            epochs=3,
            batch_size=8,
            generator=seeded(1),
            finished_tasks=k,
            **more,
        )
        yield from done


@pytest.mark.filterwarnings("ignore:the gradients of single samples")
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", METHODS)
def test_a_head_that_no_sample_uses_is_not_moved(name: str, decay: float) -> None:
    learner, tasks = built(Heads), make_tasks()
    fresh = copy.deepcopy(learner.state_dict())
    first = None
    for record in learn(learner, METHODS[name](generator=seeded()), tasks, decay=decay):
        for unused in range(record.task + 1, 3):
            assert torch.equal(learner.heads[unused].weight, fresh[f"heads.{unused}.weight"])
        now = learner.heads[0].weight.detach().clone()
        first = now if first is None else first
        assert torch.equal(now, first), "a head of a past task moved"
        used = learner.heads[record.task].weight
        assert not torch.equal(used, fresh[f"heads.{record.task}.weight"])
        assert record.loss < 0.69


@pytest.mark.filterwarnings("ignore:the gradients of single samples")
@pytest.mark.parametrize("name", METHODS)
def test_an_unused_head_is_spared_after_resuming_too(name: str) -> None:
    tasks, learner = make_tasks(), built(Heads)
    method = METHODS[name](generator=seeded())
    list(learn(learner, method, tasks[:1]))
    again, resumed = copy.deepcopy(learner), METHODS[name](generator=seeded())
    resumed.load_state_dict(copy.deepcopy(method.state_dict()), again)
    for model, rest in ((learner, method), (again, resumed)):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.1)
        options = {"epochs": 2, "batch_size": 8, "generator": seeded(1), "finished_tasks": 1}
        list(train(model, rest, tasks, optimizer, **options))
    pairs = zip(learner.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(p.grad is None for p in again.heads[0].parameters())


class Through(torch.autograd.Function):
    """What the graph does not tell the insides of."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


@pytest.mark.parametrize("opaque", [False, True])
def test_nothing_is_spared_where_one_of_several_losses_is_opaque(opaque: bool) -> None:
    learner, tasks = built(Heads), make_tasks()
    method = EWC(1.0, generator=seeded())
    list(learn(learner, method, tasks[:1]))
    hidden = torch.tanh(learner.trunk(tasks[0].train[0]))
    method.note_use((Through.apply(hidden) if opaque else hidden).sum())
    method.note_use(learner.heads[1](hidden).sum())
    for parameter in learner.parameters():
        parameter.grad = torch.ones_like(parameter)
    method.spare_unused(learner)
    spared = {name for name, p in learner.named_parameters() if p.grad is None}
    unused = {f"heads.{k}.{own}" for k in (0, 2) for own in ("weight", "bias")}
    assert spared == (set() if opaque else unused)


@pytest.mark.parametrize("name", METHODS | {"mir": None, "replay": None})
def test_a_head_may_widen_between_tasks(name: str) -> None:
    make = METHODS.get(name) or {
        "mir": partial(MIR, 12, 4),
        "replay": partial(ExperienceReplay, 12, 4),
    }.get(name)
    learner = built(Growing)

    def between(k: int) -> bool:
        learner.widen()
        return True

    records = list(learn(learner, make(generator=seeded()), make_tasks(grow=True), between=between))
    assert len(records) == 3
    assert records[-1].loss < 1.9  # new rows learn: log 6 = 1.79, before any step it is more


@pytest.mark.parametrize("name", METHODS)
def test_a_run_may_resume_with_a_head_that_has_grown(name: str) -> None:
    learner, tasks = built(Growing), make_tasks(grow=True)
    method = METHODS[name](generator=seeded())
    list(learn(learner, method, tasks[:1]))
    learner.widen()
    again, resumed = copy.deepcopy(learner), METHODS[name](generator=seeded())
    resumed.load_state_dict(copy.deepcopy(method.state_dict()), again)
    for model, rest in ((learner, method), (again, resumed)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"epochs": 1, "batch_size": 8, "generator": seeded(1), "finished_tasks": 1}
        list(train(model, rest, tasks[:2], optimizer, **options))
    pairs = zip(learner.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ANCHORED)
def test_the_penalty_holds_the_old_rows_and_leaves_new_ones_free(name: str) -> None:
    learner, tasks = built(Growing), make_tasks(grow=True)
    method = ANCHORED[name](generator=seeded())
    list(learn(learner, method, tasks[:1]))
    learner.widen()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1)
    penalty = method.penalty(learner, tasks[0].train, None)
    penalty.backward()
    for p in learner.head.parameters():
        assert p.grad[:2].abs().sum() > 0
        assert not p.grad[2:].any()
    # As before it grew.
    small = built(Growing)
    with torch.no_grad():
        for mine, theirs in zip(small.parameters(), learner.parameters(), strict=True):
            mine.copy_(theirs[tuple(slice(size) for size in mine.shape)])
    torch.testing.assert_close(method.penalty(small, tasks[0].train, None), penalty)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in {"combined", "weight_averaging"}])
def test_a_parameter_that_shrinks_is_named(name: str) -> None:
    learner, tasks = built(Growing), make_tasks()

    def between(k: int) -> bool:
        learner.trunk = nn.Linear(4, 6)
        learner.head = nn.Linear(6, 2)
        return True

    stream = learn(learner, METHODS[name](generator=seeded()), tasks, between=between)
    if name.endswith("gem") or name == "agem_layerwise":  # they remember samples, not weights
        assert len(list(stream)) == 3
        return
    with pytest.raises(ValueError, match=r"trunk\.weight has shape \(6, 4\), but \(8, 4\)"):
        list(stream)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("thaw", [True, False])
def test_layers_are_frozen_and_thawed_within_a_task(name: str, thaw: bool) -> None:
    learner = built(Growing)
    learner.trunk.requires_grad_(not thaw)
    held = []

    def report(record) -> None:
        if getattr(record, "epoch", None) == 0 and record.task == 1:
            learner.trunk.requires_grad_(thaw)
            held.append(learner.trunk.weight.detach().clone())

    method = METHODS[name](generator=seeded())
    assert len(list(learn(learner, method, make_tasks(), report=report))) == 3
    if not thaw:
        assert torch.equal(held[0], learner.trunk.weight)
    elif name != "gpm":  # it holds fixed what it has no basis of
        assert not torch.equal(held[0], learner.trunk.weight)


class Spectral(ContinualLearner):
    """Complex and real weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(0.3 * torch.randn(4, 4, dtype=torch.complex64))
        self.scale = nn.Parameter(torch.ones(4))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return (batch[0].to(self.w.dtype) @ self.w).abs() * self.scale

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return (output - batch[0].abs()).square().mean()


class Pairs(Spectral):
    """The same as two real weights."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.view_as_real(self.w.detach()))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        real, imaginary = batch[0] @ self.w[..., 0], batch[0] @ self.w[..., 1]
        return torch.complex(real, imaginary).abs() * self.scale


@pytest.mark.parametrize("name", ["agem", "agem_layerwise", "gem", "sgem", "weight_averaging"])
def test_complex_weights_are_two_real_ones(name: str) -> None:
    results = []
    for cls in (Spectral, Pairs):
        learner = built(cls)
        list(learn(learner, METHODS[name](generator=seeded()), make_tasks()))
        results.append(learner.w.detach())
    torch.testing.assert_close(torch.view_as_real(results[0]), results[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["naive", *METHODS])
def test_complex_weights_learn_and_are_held(name: str) -> None:
    make = METHODS.get(name, Naive)
    learner = built(Spectral)
    records = list(learn(learner, make(generator=seeded()), make_tasks()))
    assert all(r.loss == r.loss for r in records)
    assert learner.w.is_complex()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", METHODS)
def test_half_precision_learns(name: str, kind: torch.dtype) -> None:
    learner = built(Growing).to(kind)
    tasks = [
        Task(t.index, t.name, *((t.train[0].to(kind), *t.train[1:]),) * 2) for t in make_tasks()
    ]
    method = METHODS[name](generator=seeded())
    records = list(learn(learner, method, tasks))
    assert len(records) == 3
    assert all(p.dtype == kind for p in learner.parameters())
    assert all(bool(p.isfinite().all()) for p in learner.parameters())
