"""Each method's formula, its memory, and that all work with a user's own learner."""

from __future__ import annotations

import copy
import inspect
import operator
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Task
from insituml.gradients import QuadraticPenalty, diagonal_fisher, project, project_layerwise
from insituml.in_transit.trainer import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.methods import (
    AGEM,
    EWC,
    GEM,
    SGEM,
    AGEMLayerwise,
    Combined,
    Cumulative,
    ExperienceReplay,
    Joint,
    Method,
    Naive,
    OnlineEWC,
)
from insituml.models import MLP
from insituml.training import train
from tests.method_examples import CLASSES, NAMES, NEED_AUTOENCODER, TRAINED, make


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 20) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, 4, generator=generator) * (k + 1) + k
        y = x.sum(dim=1, keepdim=True) * (-1.0) ** k
        tasks.append(Task(k, f"task {k}", (x, y), (x[:4], y[:4]), validation=(x[4:8], y[4:8])))
    return tasks


class Regressor(ContinualLearner):
    """A user's learner: own layers and own loss on (x, y); no encoder, no decoder."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Tanh())
            self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.head(self.body(x))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self(batch[0])

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return mse_loss(output, batch[1])

    def errors(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"mse": (self(batch[0]) - batch[1]).square().mean(dim=1)}

    def sample(self, conditions: tuple[Tensor, ...], *, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(conditions[0]), 4, generator=generator)
        return noise + conditions[0] * self.body[0].weight.sum(dim=0)


class Coding(Regressor):
    """The same with an encoder and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.back = nn.Linear(6, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.body(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.back(latent)


def learner_for(name: str) -> Regressor:
    return Coding() if name in NEED_AUTOENCODER else Regressor()


def run(learner, method, tasks, *, epochs: int = 2, batch_size: int = 5, lr: float = 0.02):
    trainable = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=lr, momentum=0.9)
    options = {"epochs": epochs, "batch_size": batch_size, "generator": seeded(5)}
    return list(train(learner, method, tasks, optimizer, **options))


def same_bits(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_randomness_is_a_required_keyword(name: str) -> None:
    parameter = inspect.signature(CLASSES[name]).parameters["generator"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default is parameter.empty


# Facts about a method


@pytest.mark.parametrize("name", NAMES)
def test_a_method_learns_in_transit_if_it_takes_the_tasks_as_they_come(name: str) -> None:
    method, tasks = make(name, seeded(0)), make_tasks()
    scheduled = [task for task, _ in method.schedule(tasks, 6)]
    as_they_come = len(scheduled) == 3 and all(map(operator.is_, scheduled, tasks))
    assert method.learns_in_transit == as_they_come
    if not as_they_come:
        with pytest.raises(ValueError, match=f"{name} trains on several tasks at once"):
            in_transit(name)
        # Who goes back to earlier tasks keeps their data, and shows what that would give.
        assert method.keeps_all_data
        assert method.is_bound


def test_a_baseline_competes_and_is_no_bound() -> None:
    assert [name for name in NAMES if CLASSES[name].is_baseline] == ["IncrementalPCA"]
    assert not any(CLASSES[name].is_bound for name in NAMES if CLASSES[name].is_baseline)


def test_sequential_says_whether_forgetting_has_a_meaning() -> None:
    assert [name for name in NAMES if not make(name, seeded(0)).sequential] == [
        "Joint",
        "JointConverged",
    ]


@pytest.mark.parametrize("bound", [Joint, Cumulative])
def test_a_combination_is_what_its_parts_make_of_it(bound: type[Method]) -> None:
    alone = Combined([partial(EWC, 1.0), Naive], generator=seeded(0))
    assert (alone.keeps_all_data, alone.is_bound, alone.learns_in_transit) == (False, False, True)
    beside = Combined([partial(EWC, 1.0), bound], generator=seeded(0))
    facts = (beside.keeps_all_data, beside.is_bound, beside.learns_in_transit, beside.sequential)
    assert facts == (True, True, False, bound is Cumulative)


def test_naive_is_the_loop_written_by_hand() -> None:
    tasks, learner = make_tasks(), Regressor()
    expected = copy.deepcopy(learner)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.02, momentum=0.9)
    order = seeded(5)
    for task in tasks:
        for _ in range(2):
            for rows in torch.randperm(20, generator=order).split(5):
                optimizer.zero_grad()
                expected.loss(tuple(t[rows] for t in task.train)).backward()
                optimizer.step()
    run(learner, Naive(generator=seeded(0)), tasks)
    assert same_bits(learner, expected)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_works_with_a_users_learner_and_frozen_parameters(name: str, frozen: bool) -> None:
    tasks, learner = make_tasks(), learner_for(name)
    if frozen:
        learner.body.requires_grad_(False)
    before = copy.deepcopy(dict(learner.named_parameters()))
    method = make(name, seeded(0))
    run(learner, method, tasks)
    for parameter_name, p in learner.named_parameters():
        fixed = frozen and parameter_name.startswith("body")
        # Batch normalisation takes any constant away: only rounding moves the bias before it.
        if fixed or parameter_name != "body.0.bias":
            assert torch.equal(p, before[parameter_name]) == fixed, parameter_name
        assert torch.isfinite(p).all()
    plain = learner_for(name)
    if frozen:
        plain.body.requires_grad_(False)
    run(plain, Naive(generator=seeded(0)), tasks)
    assert same_bits(learner, plain) == (name == "Naive")  # each method makes a difference


@pytest.mark.parametrize("name", TRAINED)
def test_state_is_made_of_plain_parts_and_restores(name: str) -> None:
    tasks, learner = make_tasks(), learner_for(name)
    method = make(name, seeded(0))
    run(learner, method, tasks)
    restored = make(name, seeded(1))
    restored.load_state_dict(copy.deepcopy(method.state_dict()), learner)
    assert flat(restored.state_dict()) == flat(method.state_dict())
    assert restored.memory_bytes() == method.memory_bytes()


def flat(value, where: str = "") -> dict:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in flat(item, f"{where}/{key}").items()
        }
    if isinstance(value, list):
        return flat(dict(enumerate(value)), where)
    if isinstance(value, Tensor):
        return {where: (value.dtype, value.tolist())}
    assert value is None or isinstance(value, int | float | str), where
    return {where: value}


# Elastic weight consolidation


@pytest.mark.parametrize("online", [False, True])
def test_ewc_loss_is_the_learners_plus_the_penalty_over_all_anchors(online: bool) -> None:
    tasks, learner, strength, gamma = make_tasks(), MLP(4, (5,), 2).double(), 7.0, 0.5
    tasks = [Task(t.index, t.name, tuple(c.double() for c in t.train), t.test) for t in tasks]
    if online:
        method = OnlineEWC(strength, gamma, generator=seeded(0))
    else:
        method = EWC(strength, generator=seeded(0))
    anchors = []
    batch = tuple(t[:6] for t in tasks[0].train)
    assert method.loss(learner, batch) == learner.loss(batch)
    for task in tasks:
        with torch.no_grad():
            for p in learner.parameters():
                p.add_(0.1 * (task.index + 1))
        method.end_task(learner, task)
        fisher = diagonal_fisher(learner, lambda m, b: m.loss(b), task.train)
        anchors.append((fisher, {n: p.detach().clone() for n, p in learner.named_parameters()}))
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    now = dict(learner.named_parameters())
    if online:
        running = {n: sum(gamma ** (2 - k) * anchors[k][0][n] for k in range(3)) for n in now}
        anchors = [(running, anchors[-1][1])]
    expected = learner.loss(batch) + strength / 2 * sum(
        (fisher[n] * (now[n] - anchor[n]) ** 2).sum() for fisher, anchor in anchors for n in now
    )
    torch.testing.assert_close(method.loss(learner, batch), expected, rtol=1e-12, atol=0)


def test_ewc_keeps_no_more_state_with_every_task() -> None:
    learner = Regressor()
    method = EWC(1.0, generator=seeded(0))
    sizes, count = [], sum(p.numel() for p in learner.parameters())
    for task in make_tasks(4):
        method.end_task(learner, task)
        sizes.append(method.memory_bytes())
    # Precision and centre in float32, one constant in float64.
    assert sizes == [2 * 4 * count + 8] * 4


def test_fisher_samples_are_drawn_at_random_from_the_task() -> None:
    x = torch.arange(100, dtype=torch.float64).view(-1, 1)
    task = Task(0, "", (x,), (x,))

    class Identity(ContinualLearner):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def loss(self, batch):
            return (self.w * batch[0]).sum()

    def estimate(samples, seed):
        method = EWC(1.0, fisher_samples=samples, generator=seeded(seed))
        method.end_task(Identity(), task)
        return method.anchor.precision["w"].item()

    everything = x.square().mean().item()
    assert estimate(None, 0) == pytest.approx(everything)
    assert estimate(1000, 0) == pytest.approx(everything)
    draws = {estimate(20, seed) for seed in range(5)}
    assert len(draws) == 5
    assert x[:20].square().mean().item() not in draws
    assert estimate(20, 3) == estimate(20, 3)


def test_loading_the_state_before_the_first_task_forgets_the_anchor() -> None:
    learner, method = Regressor(), EWC(1.0, generator=seeded(0))
    empty = method.state_dict()
    method.end_task(learner, make_tasks()[0])
    method.load_state_dict(empty, learner)
    assert method.anchor is None


# Experience replay


def test_replay_joins_the_batch_with_a_draw_from_the_memory() -> None:
    learner, tasks = MLP(4, (5,), 2), make_tasks()
    method = ExperienceReplay(12, 5, generator=seeded(0))
    method.begin_task(learner, tasks[0])
    first = tuple(t[:10] for t in tasks[0].train)
    method.observe(learner, first)
    assert torch.equal(method.loss(learner, first), learner.loss(first))  # nothing to remember yet
    method.begin_task(learner, tasks[1])
    batch = tuple(t[:4] for t in tasks[1].train)
    state = method.generator.get_state()
    loss = method.loss(learner, batch)
    method.generator.set_state(state)
    replayed = method.memory.sample(5)[0]
    squares = [(learner(x)[1] - x).square().sum() for x in (batch[0], replayed)]
    torch.testing.assert_close(loss, (squares[0] + squares[1]) / ((4 + 5) * 4))


def test_replay_is_as_large_as_the_batch_by_default() -> None:
    sizes = []

    class Counting(Regressor):
        def loss(self, batch):
            sizes.append(len(batch[0]))
            return super().loss(batch)

    run(
        Counting(), ExperienceReplay(50, generator=seeded(0)), make_tasks(2), epochs=1, batch_size=8
    )
    assert sizes == [8, 8, 4, 16, 16, 8]


def test_replay_reaches_every_stored_sample_equally_often() -> None:
    # An older implementation always replayed the first entries.
    seen = torch.zeros(40)

    class Recording(ContinualLearner):
        def loss(self, batch):
            seen[batch[0][1:].long()] += 1
            return batch[0].sum()

    method = ExperienceReplay(40, 4, generator=seeded(0))
    method.observe(Recording(), (torch.arange(40.0),))
    method.begin_task(Recording(), make_tasks()[1])
    trials = 1000
    for _ in range(trials):
        method.loss(Recording(), (torch.zeros(1),))
    expected = trials * 4 / 40
    assert ((seen - expected).abs() < 4 * (expected * 0.9) ** 0.5).all()


def test_replay_stores_every_sample_of_a_task_at_most_once() -> None:
    method = ExperienceReplay(1000, generator=seeded(0))
    tasks = make_tasks()
    run(Regressor(), method, tasks, epochs=3)
    assert method.memory.counts() == {0: 20, 1: 20, 2: 20}
    (x, y), task_of = method.memory.all(), method.memory.tasks()
    for task in tasks:
        stored = x[task_of == task.index]
        assert torch.equal(stored.sort(dim=0).values, task.train[0].sort(dim=0).values)
    assert len(torch.cat([x, y], dim=1).unique(dim=0)) == 60


# The A-GEM family


@pytest.mark.parametrize("cls", [AGEM, SGEM, AGEMLayerwise])
def test_gradients_are_projected_against_the_stored_samples(cls) -> None:
    learner, tasks = MLP(4, (5,), 2).double(), make_tasks()
    tasks = [Task(t.index, t.name, (t.train[0].double(),), t.test) for t in tasks]
    method = cls(6, 3, generator=seeded(0))
    batch = (-3 * tasks[2].train[0],)
    method.correct_gradients(learner)  # nothing stored: nothing to do
    assert all(p.grad is None for p in learner.parameters())
    for task in tasks[:2]:
        method.end_task(learner, task)
    assert method.memory.counts() == {0: 2, 1: 2}

    x = method.memory.all()[0]
    parts = [x[:2], x[2:]] if cls is SGEM else [x]
    solutions = []
    for part in parts:
        reference = torch.autograd.grad(learner.loss((part,)), list(learner.parameters()))
        gradients = list(torch.autograd.grad(learner.loss(batch), list(learner.parameters())))
        gradients = [g.clone() for g in gradients]
        (project_layerwise if cls is AGEMLayerwise else project)(gradients, reference)
        solutions.append(gradients)
    matched = set()
    for _ in range(12):
        learner.zero_grad()
        learner.loss(batch).backward()
        method.correct_gradients(learner)
        actual = [p.grad for p in learner.parameters()]
        match = [
            all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(actual, s, strict=True))
            for s in solutions
        ]
        assert sum(match) == 1
        matched.add(match.index(True))
    assert matched == set(range(len(parts)))  # S-GEM meets both tasks


def test_whole_and_layerwise_projection_differ_in_training() -> None:
    tasks, results = make_tasks(), []
    for cls in (AGEM, AGEMLayerwise):
        learner = MLP(4, (5,), 2)
        run(learner, cls(9, 3, generator=seeded(0)), tasks)
        results.append(learner)
    assert not same_bits(*results)


def test_agem_never_raises_the_loss_on_the_memory_to_first_order() -> None:
    learner, tasks = MLP(4, (5,), 2).double(), make_tasks()
    tasks = [Task(t.index, t.name, (t.train[0].double(),), t.test) for t in tasks]
    method = AGEM(20, 1, generator=seeded(0))
    method.end_task(learner, tasks[0])
    memory = method.memory.all()
    before = learner.loss(memory).item()
    changes = []
    for correct in (lambda learner: None, method.correct_gradients):
        moved = copy.deepcopy(learner)
        (0.1 * moved.loss(tasks[2].train) - moved.loss(memory)).backward()
        correct(moved)
        with torch.no_grad():
            for p in moved.parameters():
                p.sub_(1e-5 * p.grad)
        changes.append(moved.loss(memory).item() - before)
    assert changes[0] > 1e-7
    assert changes[1] < 1e-3 * changes[0]


@pytest.mark.parametrize("cls", [AGEM, SGEM, AGEMLayerwise])
def test_latent_storage_holds_latents_of_the_end_of_the_task(cls) -> None:
    learner, tasks = MLP(4, (5,), 2), make_tasks()
    method = cls(40, 2, store="latent", generator=seeded(0))
    learner.train()
    method.end_task(learner, tasks[0])
    (latent,) = method.memory.all()
    assert latent.shape == (20, 2)
    assert not latent.requires_grad
    expected = learner.encode(tasks[0].train[0]).detach()
    for column in (0, 1):  # in any order
        torch.testing.assert_close(
            latent[latent[:, column].argsort()], expected[expected[:, column].argsort()]
        )
    assert learner.training
    # The reference loss is the latent loss.
    batch = (latent,)
    expected = (learner.encode(learner.decode(latent)) - latent).square().mean()
    torch.testing.assert_close(method.reference_loss(learner, batch), expected)


def test_latent_weight_adds_the_latent_loss_to_training() -> None:
    learner, tasks = MLP(4, (5,), 2), make_tasks()
    method = AGEM(40, 2, store="latent", latent_weight=0.3, generator=seeded(0))
    batch = tasks[1].train
    assert torch.equal(method.loss(learner, batch), learner.loss(batch))
    method.end_task(learner, tasks[0])
    latent = method.memory.all()[0]
    way_round = (learner.encode(learner.decode(latent)) - latent).square().mean()
    torch.testing.assert_close(method.loss(learner, batch), learner.loss(batch) + 0.3 * way_round)
    unweighted = AGEM(40, 2, store="latent", generator=seeded(0))
    unweighted.end_task(learner, tasks[0])
    assert torch.equal(unweighted.loss(learner, batch), learner.loss(batch))


# Joint training


@pytest.mark.parametrize("count, epochs", [(3, 6), (3, 7), (5, 2), (4, 1), (1, 5)])
def test_joint_deals_the_epochs_out_over_all_data(count: int, epochs: int) -> None:
    tasks = make_tasks(count, samples=6)
    parts = list(Joint(generator=seeded(0)).schedule(tasks, epochs))
    shares = [share for _, share in parts]
    assert len(parts) == count  # one checkpoint per task
    assert sum(shares) == epochs
    assert max(shares) - min(shares) <= 1
    everything = torch.cat([task.train[0] for task in tasks])
    for k, (part, _) in enumerate(parts):
        assert part.index == k
        assert torch.equal(part.train[0], everything)
        assert len(part.train[1]) == len(everything)
        assert part.test is tasks[k].test


def test_joint_with_fewer_epochs_than_tasks_trains_and_reports() -> None:
    learner = Regressor()
    records = run(learner, Joint(generator=seeded(0)), make_tasks(3), epochs=1)
    assert [record.steps for record in records] == [0, 0, 12]
    assert not same_bits(learner, Regressor())


# Memory


def test_memory_bytes_by_hand() -> None:
    learner, tasks = Regressor(), make_tasks()
    row = 4 * 4 + 4  # x and y in float32
    stored = 9 * (row + 8)  # and the task of each sample
    expected = {
        "Naive": 0,
        "Joint": 0,
        "Cumulative": 0,
        "AGEM": stored,
        "SGEM": stored,
        "AGEMLayerwise": stored,
        "ExperienceReplay": stored,
    }
    for name, size in expected.items():
        method = make(name, seeded(0))
        run(learner, method, tasks)
        assert method.memory_bytes() == size, name
    latent = AGEM(9, 3, store="latent", generator=seeded(0))
    run(MLP(4, (5,), 2), latent, tasks)
    assert latent.memory_bytes() == 9 * (2 * 4 + 8)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda g: EWC(-1.0, generator=g), "strength is -1.0"),
        (lambda g: EWC(1.0, fisher_samples=0, generator=g), "fisher_samples is 0"),
        (lambda g: OnlineEWC(1.0, 1.5, generator=g), "gamma is 1.5"),
        (lambda g: AGEM(9, 3, store="both", generator=g), "store is 'both'; expected input or"),
        (
            lambda g: AGEM(9, 3, latent_weight=1.0, generator=g),
            "latent_weight is 1.0 with store=in",
        ),
        (lambda g: AGEM(9, 3, 0, "latent", -1.0, generator=g), "latent_weight is -1.0"),
        (lambda g: SGEM(2, 3, generator=g), "total_mem_size is 2 for 3 tasks"),
        (lambda g: AGEM(9, generator=g), "total_tasks is None"),
        (lambda g: GEM(9, 3, -1, generator=g), "reference_size is -1"),
        (lambda g: ExperienceReplay(9, 0, generator=g), "replay_size is 0"),
        (lambda g: ExperienceReplay(0, generator=g), "capacity is 0"),
    ],
)
def test_constructor_errors(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(seeded(0))


def test_penalty_is_saved_with_the_method() -> None:
    learner, method = Regressor(), EWC(1.0, generator=seeded(0))
    method.end_task(learner, make_tasks()[0])
    state = method.state_dict()["anchor"]
    restored = QuadraticPenalty.from_state_dict(state, dict(learner.named_parameters()))
    assert restored.precision.keys() == dict(learner.named_parameters()).keys()


def in_transit(
    name: str, learner_of: str | None = None
) -> tuple[Regressor, Method, torch.optim.Optimizer, InTransitTrainer]:
    learner, method = learner_for(learner_of or name), make(name, seeded(0))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.02, momentum=0.9)
    options = {"now_samples": 8, "task_samples": 12, "batches_per_arrival": 2, "batch_size": 5}
    return (
        learner,
        method,
        optimizer,
        InTransitTrainer(learner, method, optimizer, generator=seeded(5), **options),
    )


def push(trainer: InTransitTrainer, tasks: list[Task], parts: range) -> None:
    """Push parts of four samples; five make a task."""
    for part in parts:
        task, first = tasks[part // 5], 4 * (part % 5)
        samples = tuple(column[first : first + 4] for column in task.train)
        if first == 0:
            trainer.begin_task(task.index, task.name, samples)
        trainer.learn(samples)
        if part % 5 == 4:
            trainer.end_task(task.test)


@pytest.mark.parametrize("name", [n for n in TRAINED if make(n, seeded(0)).learns_in_transit])
def test_a_stream_interrupted_inside_a_task_goes_on_bit_for_bit(name: str) -> None:
    tasks = make_tasks()
    whole = in_transit(name)
    push(whole[-1], tasks, range(15))
    first, second = in_transit(name), in_transit(name)
    push(first[-1], tasks, range(8))
    for restored, kept in zip(second[::2], first[::2], strict=True):
        restored.load_state_dict(copy.deepcopy(kept.state_dict()))
    second[1].load_state_dict(copy.deepcopy(first[1].state_dict()), second[0])
    second[3].load_state_dict(copy.deepcopy(first[3].state_dict()))
    second[3].generator.set_state(first[3].generator.get_state())
    push(second[-1], tasks, range(8, 15))
    assert same_bits(second[0], whole[0])
    assert whole[3].steps == second[3].steps == 30
    plain = in_transit("Naive", learner_of=name)
    push(plain[-1], tasks, range(15))
    assert same_bits(whole[0], plain[0]) == (name == "Naive")
