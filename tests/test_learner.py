"""The original interface gives the methods' numbers, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss
from torch.utils.data import Dataset, TensorDataset

from insituml.data.task import Task
from insituml.evaluation import reconstruct
from insituml.gradients import diagonal_fisher, trainable_parameters
from insituml.learner import ContinualLearner
from insituml.memory import EpisodicMemory, EpisodicMemoryDataset
from insituml.methods import AGEM, EWC, AGEMLayerwise, OnlineEWC
from insituml.models import MLP, AutoEncoder2D
from insituml.original_interface import CallOrderError
from insituml.training import train

EPOCHS, BATCH_SIZE = 2, 8


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 37, width: int = 5) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, width, generator=generator) * 0.5 + 0.5 * k
        label = torch.full((samples,), k)
        tasks.append(Task(k, f"task {k}", (x, label), (x[:4], label[:4])))
    return tasks


def make_learner(**options) -> MLP:
    return MLP(5, (7,), 3, generator=seeded(1), **options)


def sgd(learner: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(learner.parameters(), lr=0.02, momentum=0.9)


def batches(task: Task, generator: torch.Generator):
    order = torch.randperm(len(task.train[0]), generator=generator)
    for rows in order.split(BATCH_SIZE):
        yield tuple(t[rows] for t in task.train)


def trained(learner, method, tasks) -> dict[str, Tensor]:
    optimizer = sgd(learner)
    options = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "generator": seeded(5)}
    for _ in train(learner, method, tasks, optimizer, **options):
        pass
    return learner.state_dict()


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@pytest.mark.parametrize("online", [False, True])
def test_hand_written_ewc_loop_equals_the_method(online: bool) -> None:
    tasks = make_tasks()
    learner = make_learner()
    learner.onlineEWC, learner.ewc_lambda, learner.gamma = online, 3.0, 0.6
    optimizer, order = sgd(learner), seeded(5)
    for task in tasks:
        for _ in range(EPOCHS):
            for batch in batches(task, order):
                optimizer.zero_grad()
                loss = mse_loss(learner(batch[0])[1], batch[0])
                (loss + learner.ewc_lambda * learner.ewc_loss()).backward()
                optimizer.step()
        learner.estimate_fisher(TensorDataset(*task.train), mse_loss, is_mlp=True)

    options = {"gamma": 0.6} if online else {}
    method = (OnlineEWC if online else EWC)(3.0, generator=seeded(0), **options)
    assert_same_bits(trained(make_learner(), method, tasks), learner.state_dict())
    held, expected = method.anchor.state_dict(), learner._penalty.state_dict()
    assert_same_bits(held["precision"], expected["precision"])
    assert_same_bits(held["centre"], expected["centre"])
    plain = trained(make_learner(), EWC(0.0, generator=seeded(0)), tasks)
    assert not torch.equal(plain["encoder.layers.0.weight"], learner.encoder.layers[0].weight)


@pytest.mark.parametrize("layerwise", [False, True])
@pytest.mark.parametrize("store", ["input", "latent"])
def test_hand_written_agem_loop_equals_the_method(layerwise: bool, store: str) -> None:
    tasks, size = make_tasks(samples=45), 90  # more samples than a reference batch of 64
    learner, memory, conflicts = make_learner(), EpisodicMemory(size, 3, generator=seeded(0)), 0
    optimizer, order = sgd(learner), seeded(5)
    for task in tasks:
        for _ in range(EPOCHS):
            for batch in batches(task, order):
                optimizer.zero_grad()
                mse_loss(learner(batch[0])[1], batch[0]).backward()
                if len(memory) > 0:
                    before = learner.encoder.layers[0].weight.grad.clone()
                    reference = EpisodicMemoryDataset(memory)
                    encoded = store == "latent"
                    if layerwise:
                        learner.calculate_ref_gradients_layerwise(reference, store_encoded=encoded)
                        learner.overwrite_grad_layerwise()
                    else:
                        learner.calculate_ref_gradients(reference, store_encoded=encoded)
                        learner.overwrite_grad()
                    conflicts += not torch.equal(before, learner.encoder.layers[0].weight.grad)
                optimizer.step()
        x, label = task.train
        if store == "latent":
            with torch.no_grad():
                x = learner.encode(x)
        memory.store_task((x, label))
    assert conflicts > 0

    cls = AGEMLayerwise if layerwise else AGEM
    method = cls(size, 3, reference_size=0, store=store, generator=seeded(0))
    assert_same_bits(trained(make_learner(), method, tasks), learner.state_dict())


def test_ewc_loss_is_half_the_weighted_squared_distance() -> None:
    learner = make_learner().double()
    assert learner.ewc_loss().item() == 0.0
    x = torch.randn(20, 5, generator=seeded(2), dtype=torch.float64)
    fisher = learner.estimate_fisher(TensorDataset(x), mse_loss)
    assert learner.ewc_loss().item() == 0.0
    anchor = copy.deepcopy(learner.state_dict())
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.3)
    expected = 0.5 * sum((f * 0.3**2).sum() for f in fisher.values())
    assert learner.ewc_loss().item() == pytest.approx(expected.item(), rel=1e-12)

    second = learner.estimate_fisher(TensorDataset(x + 1), mse_loss)
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.1)
    now = dict(learner.named_parameters())
    expected = 0.5 * sum(
        (fisher[n] * (now[n] - anchor[n]) ** 2).sum()
        + (second[n] * (now[n] - (anchor[n] + 0.3)) ** 2).sum()
        for n in now
    )
    assert learner.ewc_loss().item() == pytest.approx(expected.item(), rel=1e-12)


class Items(Dataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index]


def forms_of(x: Tensor) -> dict[str, Dataset | Tensor]:
    return {
        "(x, label)": Items([(row, 3) for row in x]),
        "(x,)": TensorDataset(x),
        "x": Items(list(x)),
        "tensor": x,
    }


@pytest.mark.parametrize("form", ["(x, label)", "(x,)", "x", "tensor"])
def test_every_form_of_data_set_gives_the_same_numbers(form: str) -> None:
    x = torch.randn(70, 5, generator=seeded(2))
    dataset = forms_of(x)[form]
    learner = make_learner()
    fisher = learner.estimate_fisher(dataset, l1_loss)
    expected = diagonal_fisher(
        learner, lambda m, batch: (m(batch[0])[1] - batch[0]).abs().mean(), [x]
    )
    assert_same_bits(fisher, expected)

    loss = learner.calculate_ref_gradients(dataset, l1_loss, b_size=13)
    direct = l1_loss(learner(x)[1], x)
    direct.backward()
    torch.testing.assert_close(loss, direct.detach())
    flat = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])
    torch.testing.assert_close(learner._reference, flat, rtol=1e-4, atol=1e-6)
    assert learner._reference.shape == flat.shape  # one flat vector


def test_is_mlp_flattens() -> None:
    images = torch.randn(6, 1, 5, 1, generator=seeded(2))
    learner = make_learner()
    flat = learner.estimate_fisher(images.flatten(1), mse_loss)
    assert_same_bits(learner.estimate_fisher(images, mse_loss, is_mlp=True), flat)


def test_estimate_fisher_keeps_images_as_they_are_otherwise() -> None:
    learner = AutoEncoder2D((1, 5, 4), (2,), 3)
    images = torch.randn(6, 1, 5, 4, generator=seeded(2))
    fisher = learner.estimate_fisher(TensorDataset(images), mse_loss)
    assert fisher.keys() == dict(learner.named_parameters()).keys()


def test_projection_of_the_original_interface_is_a_gems() -> None:
    learner = make_learner()
    past, now = make_tasks()[0].train[0], make_tasks()[2].train[0]
    learner.calculate_ref_gradients(past)
    reference = learner._reference.clone()
    mse_loss(learner(now)[1], -now).backward()
    g = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])
    learner.overwrite_grad()
    new = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])
    conflict = min(float(g @ reference), 0.0)
    assert conflict < 0
    torch.testing.assert_close(new, g - conflict / (reference @ reference) * reference)


def test_stored_latents_are_compared_after_the_way_round() -> None:
    learner = make_learner()
    latent = torch.randn(9, 3, generator=seeded(3))
    loss = learner.calculate_ref_gradients(latent, l1_loss, store_encoded=True)
    expected = (learner.encode(learner.decode(latent)) - latent).abs().mean()
    torch.testing.assert_close(loss, expected.detach())


@pytest.mark.parametrize(
    "call, missing",
    [
        ("overwrite_grad", "calculate_ref_gradients"),
        ("overwrite_grad_layerwise", "calculate_ref_gradients_layerwise"),
    ],
)
def test_a_call_out_of_order_names_the_missing_one(call: str, missing: str) -> None:
    learner = make_learner()
    twin = missing.removesuffix("_layerwise") if "layerwise" in call else missing + "_layerwise"
    getattr(learner, twin)(torch.randn(4, 5, generator=seeded(0)))  # the wrong one of the twins
    with pytest.raises(CallOrderError, match=rf"{call}\(\) needs.*call {missing}\(reference_data"):
        getattr(learner, call)()


def test_empty_data_are_refused() -> None:
    empty = TensorDataset(torch.zeros(0, 5))
    with pytest.raises(ValueError, match="data set is empty"):
        make_learner().estimate_fisher(empty, mse_loss)
    with pytest.raises(ValueError, match="reference data are empty"):
        make_learner().calculate_ref_gradients(empty)


def test_state_dict_holds_weights_only() -> None:
    learner, x = make_learner(), torch.randn(9, 5, generator=seeded(4))
    names = set(learner.state_dict())
    learner.estimate_fisher(x, mse_loss)
    learner.estimate_fisher(x, mse_loss)
    learner.loss((x,)).backward()
    learner.calculate_ref_gradients(x)
    learner.calculate_ref_gradients_layerwise(x)
    learner.overwrite_grad()
    learner.overwrite_grad_layerwise()
    assert set(learner.state_dict()) == names == dict(learner.named_parameters()).keys()
    fresh = MLP(5, (7,), 3)
    fresh.load_state_dict(learner.state_dict(), strict=True)
    assert torch.equal(fresh(x)[1], learner(x)[1])


class Linear(ContinualLearner):
    """A user's model that hands its options on."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.layer = nn.Linear(5, 5)
        nn.init.eye_(self.layer.weight)

    def encode(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def decode(self, latent: Tensor) -> Tensor:
        return latent


def test_settings_are_options_of_a_users_model_and_attributes_of_any() -> None:
    assert (Linear().onlineEWC, Linear().ewc_lambda, Linear().gamma) == (False, 1.0, 1.0)
    given, x = Linear(onlineEWC=True, gamma=0.5), torch.randn(9, 5, generator=seeded(4))
    changed = copy.deepcopy(given)
    changed.onlineEWC, changed.gamma = False, 1.0
    changed.onlineEWC, changed.gamma = True, 0.5
    assert given.constructor_arguments == {"onlineEWC": True, "gamma": 0.5}
    for learner in (given, changed):
        first = learner.estimate_fisher(x, mse_loss)
        second = learner.estimate_fisher(x + 1, mse_loss)
        expected = {name: 0.5 * first[name] + second[name] for name in first}
        assert_same_bits(learner._penalty.precision, expected)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"gamma is {wrong}; expected a decay between"):
            Linear(gamma=wrong)
        with pytest.raises(ValueError, match=f"gamma is {wrong}; expected a decay between"):
            make_learner().gamma = wrong
    with pytest.raises(TypeError, match="onlineEWC"):
        MLP(5, onlineEWC=True)


def test_a_copy_takes_what_was_estimated_along_and_goes_its_own_way() -> None:
    learner, x = make_learner(), torch.randn(9, 5, generator=seeded(4))
    learner.estimate_fisher(x, mse_loss)
    learner.calculate_ref_gradients(x)
    twin = copy.deepcopy(learner)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.1)
    assert twin.ewc_loss() > 0
    twin.estimate_fisher(x, mse_loss)
    twin.calculate_ref_gradients(x + 1)
    assert learner.ewc_loss() == 0
    assert not torch.equal(learner._reference, twin._reference)


def test_original_interface_spares_the_global_generator() -> None:
    learner, x = make_learner(), torch.randn(9, 5, generator=seeded(4))
    state = torch.get_rng_state()
    learner.estimate_fisher(TensorDataset(x), mse_loss)
    learner.calculate_ref_gradients(TensorDataset(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_stored_state_follows_the_model_to_another_device() -> None:
    learner, x = make_learner(), torch.randn(9, 5, generator=seeded(4))
    learner.estimate_fisher(x, mse_loss)
    learner.calculate_ref_gradients(x)
    learner.calculate_ref_gradients_layerwise(x)
    learner.to("meta")
    assert learner.ewc_loss().device.type == "meta"
    learner.loss((torch.empty(2, 5, device="meta"),)).backward()
    learner.overwrite_grad()
    learner.overwrite_grad_layerwise()
    assert {p.grad.device.type for p in learner.parameters()} == {"meta"}


def test_frozen_parameters_take_no_part() -> None:
    learner, x = make_learner(), torch.randn(9, 5, generator=seeded(4))
    learner.encoder.requires_grad_(False)
    frozen = copy.deepcopy(learner.encoder.state_dict())
    decoder = list(learner.decoder.parameters())
    assert all(a is b for a, b in zip(trainable_parameters(learner), decoder, strict=True))
    fisher = learner.estimate_fisher(x, mse_loss)
    assert all(name.startswith("decoder.") for name in fisher)
    learner.calculate_ref_gradients(x)
    assert learner._reference.numel() == sum(p.numel() for p in decoder)
    (learner.loss((-x,)) + learner.ewc_loss()).backward()
    learner.overwrite_grad()
    assert all(p.grad is None for p in learner.encoder.parameters())
    assert_same_bits(learner.encoder.state_dict(), frozen)


@pytest.mark.parametrize("layerwise", [False, True])
def test_missing_gradients_stay_missing(layerwise: bool) -> None:
    name, twin = "_layerwise" * layerwise, make_learner()
    x = torch.randn(9, 5, generator=seeded(4))
    getattr(twin, f"calculate_ref_gradients{name}")(x)
    (-twin.encode(torch.ones(2, 5)).sum()).backward()
    moving = [p for p in twin.parameters() if p.grad is not None]
    assert 0 < len(moving) < len(list(twin.parameters()))
    getattr(twin, f"overwrite_grad{name}")()
    now = [p for p in twin.parameters() if p.grad is not None]
    assert all(a is b for a, b in zip(moving, now, strict=True))


def test_default_loss_is_the_reconstruction_of_the_first_column() -> None:
    x, label = torch.randn(4, 5, generator=seeded(0)), torch.zeros(4)
    for name, expected in (("mse", mse_loss), ("l1", l1_loss)):
        learner = make_learner(loss=name)
        assert torch.equal(learner.loss((x, label)), expected(learner(x)[1], x))


def test_forward_defaults_to_encode_then_decode() -> None:
    class Half(ContinualLearner):
        def encode(self, x):
            return x / 2

        def decode(self, latent):
            return latent * 4

    encoded, decoded, indices = Half()(torch.tensor([[2.0]]))
    assert (encoded.item(), decoded.item(), indices) == (1.0, 4.0, None)


def test_a_forward_without_a_reconstruction_is_refused() -> None:
    # Indexing a bare tensor would silently compare everything with sample 1.
    class Bare(ContinualLearner):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 5)

        def forward(self, x):
            return self.layer(x)

    learner, x = Bare(), torch.randn(4, 5, generator=seeded(0))
    for use in (
        lambda: learner.loss((x,)),
        lambda: learner.estimate_fisher(x, mse_loss),
        lambda: learner.calculate_ref_gradients(x),
        lambda: learner.errors((x,)),
        lambda: reconstruct(learner, x),
    ):
        with pytest.raises(TypeError, match=r"Bare.forward returned a Tensor; expected \(encoded"):
            use()


def test_save_checkpoint_names_the_file_after_its_task(tmp_path) -> None:
    from insituml import load_checkpoint

    learner = make_learner(loss="l1")
    path = learner.save_checkpoint(str(tmp_path / "new"), "mine", after_task=3)
    assert path == tmp_path / "new" / "mine_after_task_3.pt"
    loaded = load_checkpoint(path)
    assert loaded.metadata == {"task": 3}
    assert loaded.reconstruction_loss is l1_loss
    assert_same_bits(loaded.state_dict(), learner.state_dict())


def test_what_decoding_needs_is_enough_to_decode() -> None:
    learner, other = make_learner(), MLP(5, (7,), 3, generator=seeded(2))
    names = learner.decoder_entries()
    assert names == [name for name in learner.state_dict() if "encoder" not in name]
    weights = learner.state_dict()
    other.load_state_dict({**other.state_dict(), **{name: weights[name] for name in names}})
    latent = torch.randn(4, 3, generator=seeded(3))
    assert torch.equal(other.decode(latent), learner.decode(latent))


def test_a_learner_without_halves_needs_all_of_itself_to_decode() -> None:
    class Linear(ContinualLearner):
        def __init__(self) -> None:
            super().__init__()
            self.basis = nn.Parameter(torch.eye(3))
            self.register_buffer("mean", torch.zeros(3))

    assert Linear().decoder_entries() == ["basis", "mean"]
