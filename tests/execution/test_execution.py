"""Options of a step change how it is computed, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.execution import Execution
from insituml.execution.compiling import compile_parts
from insituml.gradients.projection import flat
from insituml.learner import ContinualLearner
from insituml.models import (
    MLP,
    AutoEncoder1D,
    AutoEncoder2D,
    AutoEncoder3D,
    ConditionalFlow,
    ConvolutionalAutoEncoder,
    HybridAutoEncoder,
    PrincipalComponents,
)
from insituml.training import train
from tests.method_examples import TRAINED, make

PLANE, VOLUME = (2, 8, 6), (2, 4, 6, 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flow() -> ConditionalFlow:
    pytest.importorskip("zuko")
    return ConditionalFlow(2, 3, 2, (8,), 4)


MODELS: dict[str, tuple[Callable[[], ContinualLearner], tuple[int, ...]]] = {
    "mlp": (lambda: MLP(6, (8,), 3), (6,)),
    "line": (lambda: AutoEncoder1D((2, 9), (3, 4), 3), (2, 9)),
    "plane": (lambda: AutoEncoder2D(PLANE, (3, 4), 3, 2), PLANE),
    "volume": (lambda: AutoEncoder3D(VOLUME, (3, 4), 3), VOLUME),
    "pooled": (lambda: AutoEncoder3D(VOLUME, (3, 4), 3, downsampling="pool"), VOLUME),
    "convolutional": (lambda: ConvolutionalAutoEncoder(VOLUME, (3, 4), 2, "layer"), VOLUME),
    "hybrid": (lambda: HybridAutoEncoder(PLANE, (3, 4), 4, hidden_size=6), PLANE),
    "flow": (flow, (2,)),
}
CONVOLUTIONAL = ["plane", "volume", "pooled", "convolutional", "hybrid"]


def built(name: str, **options: Any) -> ContinualLearner:
    learner = MODELS[name][0]()
    learner.observe(batch_of(name))
    Execution(**options).apply(learner)
    return learner.train()


def batch_of(name: str) -> tuple[Tensor, Tensor]:
    shape = MODELS[name][1]
    return torch.randn(6, *shape, generator=seeded(3)), torch.randn(6, 3, generator=seeded(4))


def gradients(learner: ContinualLearner, batch: tuple[Tensor, ...]) -> list[Tensor]:
    loss = learner.loss(batch)
    assert loss.dtype == torch.float32
    return list(torch.autograd.grad(loss, [p for p in learner.parameters() if p.requires_grad]))


def bytes_kept(learner: ContinualLearner, batch: tuple[Tensor, ...]) -> int:
    """Return what the graph of a loss holds on to, of what no recomputation gives back."""
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = learner.loss(batch)
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", MODELS)
def test_recomputed_activations_give_the_same_gradients(name: str) -> None:
    batch = batch_of(name)
    plain, other = built(name), built(name, activation_checkpointing=True)
    assert torch.equal(flat(gradients(plain, batch)), flat(gradients(other, batch)))
    assert bytes_kept(other, batch) < bytes_kept(plain, batch)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_channels_last_gives_the_same_within_rounding(name: str) -> None:
    batch = batch_of(name)
    plain, other = built(name), built(name, channels_last=True)
    weights = [p for p in other.parameters() if p.dim() in (4, 5) and min(p.shape[1:3]) > 1]
    assert weights
    assert not any(p.is_contiguous() for p in weights)
    torch.testing.assert_close(other.output(batch), plain.output(batch), rtol=1e-4, atol=1e-5)
    expected, found = flat(gradients(plain, batch)), flat(gradients(other, batch))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_for_training_alone_and_near_float32(name: str) -> None:
    batch = batch_of(name)
    plain, other = built(name), built(name, precision="bfloat16")
    if name not in ("flow", "hybrid"):  # whose networks add nothing at first
        assert not torch.equal(other.output(batch), plain.output(batch))
    assert other.output(batch).dtype == torch.float32
    expected, found = gradients(plain, batch), gradients(other, batch)
    assert {gradient.dtype for gradient in found} == {torch.float32}
    error = flat(found) - flat(expected)
    assert 0 < error.norm() <= 0.1 * flat(expected).norm()
    with torch.no_grad():
        assert torch.equal(other.output(batch), plain.output(batch))
    plain.eval(), other.eval()
    assert torch.equal(flat(gradients(plain, batch)), flat(gradients(other, batch)))


def test_bfloat16_learns_as_well() -> None:
    batch, ends = batch_of("volume"), []
    for options in ({}, {"precision": "bfloat16", "activation_checkpointing": True}):
        learner = built("volume", **options)
        optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
        first = learner.loss(batch).item()
        for _ in range(40):
            optimizer.zero_grad()
            learner.loss(batch).backward()
            optimizer.step()
        ends.append(learner.loss(batch).item())
        assert ends[-1] < 0.95 * first
        assert {p.dtype for p in learner.parameters()} == {torch.float32}
    assert ends[1] == pytest.approx(ends[0], rel=0.05)


def tasks() -> list[Task]:
    made = []
    for k in range(2):
        x = torch.randn(6, *PLANE, generator=seeded(k)) * (1 + k)
        made.append(Task(k, f"task {k}", (x,), (x,), validation=(x,)))
    return made


def trained(method: str, **options: Any) -> dict[str, Tensor]:
    learner = built("plane", **options)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1e-2)
    loop = train(
        learner,
        make(method, seeded(1)),
        tasks(),
        optimizer,
        epochs=1,
        batch_size=3,
        generator=seeded(2),
    )
    for _ in loop:
        pass
    return learner.state_dict()


FLATTEN = {"AGEM", "EWC", "GEM", "GPM", "KroneckerEWC", "MIR"}
"""Methods of each kind that make vectors of weights or gradients, whatever their layout."""


@pytest.mark.parametrize("method", [name for name in TRAINED if name != "GenerativeReplay"])
def test_every_method_learns_the_same(method: str) -> None:
    expected = trained(method)
    same = trained(method, activation_checkpointing=True, decoder_device="cpu")
    for name, value in expected.items():
        assert torch.equal(same[name], value), name
    if method in FLATTEN:
        near = trained(method, channels_last=True)
        for name, value in expected.items():
            torch.testing.assert_close(near[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch itself
def test_what_is_compiled_is_what_is_trained() -> None:
    batch, plain, other = batch_of("plane"), built("plane"), built("plane")
    torch._dynamo.reset()
    compile_parts(other, backend="eager")  # what inductor makes of it takes half a minute
    counts = torch._dynamo.utils.counters["stats"]
    before = counts["unique_graphs"]
    other.eval().loss(batch)
    assert counts["unique_graphs"] == before
    plain.train(), other.train()
    assert torch.equal(flat(gradients(plain, batch)), flat(gradients(other, batch)))
    assert counts["unique_graphs"] == before + 2
    copied = copy.deepcopy(other)
    copied.encoder.latent.bias.data += 1
    assert torch.equal(other.output(batch), plain.output(batch))
    assert not torch.equal(copied.output(batch), plain.output(batch))
    assert other.state_dict().keys() == plain.state_dict().keys()


def test_copies_compute_with_their_own_weights() -> None:
    learner = built("plane", activation_checkpointing=True, precision="bfloat16")
    batch = batch_of("plane")
    before = learner.output(batch)
    copied = copy.deepcopy(learner)
    for parameter in copied.parameters():
        parameter.data.zero_()
    assert torch.equal(learner.output(batch), before)
    assert not copied.output(batch).any()


def test_the_decoder_lies_on_a_second_device() -> None:
    learner = built("volume", decoder_device="meta")
    assert {p.device.type for p in learner.encoder.parameters()} == {"cpu"}
    assert {p.device.type for p in learner.decoder.parameters()} == {"meta"}
    assert learner.loss(batch_of("volume")).device.type == "meta"


class Bare(ContinualLearner):
    """Parameters of its own, and no submodule."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=dtype))

    def loss(self, batch: Any) -> Tensor:
        return (self.weight * batch[0]).square().mean()


class Blocks(ContinualLearner):
    """One block, which normalises and drops."""

    def __init__(self, normalisation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 6), normalisation(6), nn.Dropout(), nn.ReLU())

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, latent: Tensor) -> Tensor:
        return latent

    def segments(self) -> list[nn.Module]:
        return [self.encoder]


def of_batches_alone(size: int) -> nn.Module:
    return nn.BatchNorm1d(size, track_running_stats=False)


@pytest.mark.parametrize("normalisation", [nn.LayerNorm, of_batches_alone])
def test_a_segment_without_state_is_computed_again_as_it_was(normalisation: Any) -> None:
    found = []
    for options in ({}, {"activation_checkpointing": True}):
        torch.manual_seed(0)
        learner = Blocks(normalisation)
        Execution(**options).apply(learner)
        found.append(flat(gradients(learner.train(), batch_of("mlp"))))
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "learner, options, said",
    [
        *(
            (lambda kind=kind: Blocks(kind), {"activation_checkpointing": True}, "a BatchNorm1d")
            for kind in (nn.BatchNorm1d, lambda n: nn.Sequential(nn.BatchNorm1d(n)))
        ),
        (Bare, {"activation_checkpointing": True}, "Bare names no segments"),
        (Bare, {"precision": "bfloat16"}, "no submodule with parameters to train"),
        (Bare, {"compile": True}, "no submodule with parameters to train"),
        (Bare, {"decoder_device": "cpu"}, "not made of an encoder and a decoder"),
        (lambda: Bare(torch.float64), {"precision": "bfloat16"}, "weight of Bare is torch.float64"),
        (MODELS["line"][0], {"channels_last": True}, "of which AutoEncoder1D has none"),
        (MODELS["mlp"][0], {"decoder_device": "nowhere"}, "does not work here"),
        (lambda: PrincipalComponents((6,), 2), {"compile": True}, "no submodule with parameters"),
        (MODELS["mlp"][0], {"precision": "float16"}, "expected one of float32, bfloat16"),
        (
            MODELS["mlp"][0],
            {"compile": True, "activation_checkpointing": True},
            "exclude each other",
        ),
    ],
)
def test_what_does_not_fit_is_refused(learner: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Execution(**options).apply(learner())
