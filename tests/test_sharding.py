"""Which modules are gathered at once, and what cannot be shared out among ranks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from insituml.data.task import Batch
from insituml.execution import Execution
from insituml.learner import ContinualLearner
from insituml.memory import HerdingMemory, LossAwareMemory
from insituml.methods import (
    DER,
    EWC,
    MIR,
    Combined,
    CompressedReplay,
    ExperienceReplay,
    Joint,
    JointConverged,
    Method,
    Naive,
)
from insituml.models import MLP, ConvolutionalAutoEncoder, HybridAutoEncoder
from insituml.optimisation import AveragedWeights
from insituml.sharding import check_shardable, check_sharded, shard, units


def sizes(learner: ContinualLearner, unit: int) -> list[int]:
    """Return how many numbers each unit gathers."""
    modules, taken, found = units(learner, unit), set(), []
    for module in modules:
        own = {p for p in module.parameters() if p not in taken}
        taken |= own
        found.append(sum(p.numel() for p in own))
    assert taken == set(learner.parameters())
    return found


def test_large_modules_are_units_and_small_ones_go_with_what_holds_them() -> None:
    learner = MLP(24, [12, 10], 4)
    first, second, third = 24 * 12 + 12, 12 * 10 + 10, 10 * 4 + 4
    back = [4 * 10 + 10, 10 * 12 + 12, 12 * 24 + 24]
    assert sizes(learner, 10**6) == [first + second + third, sum(back)]
    assert sizes(learner, 200) == [first, second + third, back[2], sum(back[:2])]
    # Every layer, and the halves that hold nothing beside them.
    assert sizes(learner, 1) == [first, second, third, 0, *back, 0]


def test_modules_of_an_attention_are_gathered_with_it() -> None:
    learner = MLP(8, [8], 8)
    learner.encoder.attention = nn.MultiheadAttention(8, 2)
    assert sum(isinstance(module, nn.MultiheadAttention) for module in units(learner, 1)) == 1
    assert learner.encoder.attention.out_proj not in units(learner, 1)


def test_one_rank_keeps_the_learner_as_it_is() -> None:
    learner = MLP(8, [8], 4)
    before = list(learner.parameters())
    shard(learner, unit=1)
    assert all(a is b for a, b in zip(learner.parameters(), before, strict=True))
    assert type(learner.encoder).__name__ == "_Encoder"


def tied() -> ContinualLearner:
    learner = MLP(8, [8], 8)
    learner.decoder.layers[0].weight = learner.encoder.layers[0].weight
    return learner


def with_parameter(value: torch.Tensor, place: str = "") -> ContinualLearner:
    learner = MLP(8, [8], 4)
    learner.get_submodule(place).register_parameter("gain", nn.Parameter(value))
    return learner


class Heads(MLP):
    """Calls the head of the labels at hand."""


class Declared(MLP):
    calls_same_modules = True


class Inheriting(Declared):
    pass


def test_a_learner_of_ones_own_says_that_samples_do_not_decide_what_it_calls() -> None:
    check_shardable(Declared(8, [8], 4))
    for kind in (Heads, Inheriting):
        with pytest.raises(ValueError, match=f"= True in class {kind.__name__}"):
            check_shardable(kind(8, [8], 4))


def channels_last() -> ContinualLearner:
    learner = ConvolutionalAutoEncoder((2, 8, 8), (4,))
    Execution(channels_last=True).apply(learner)
    return learner


@pytest.mark.parametrize(
    "make, words",
    [
        (partial(HybridAutoEncoder, (2, 8, 8), (4,), 2), "it learns from samples as it"),
        (tied, "decoder.layers.0.weight and encoder.layers.0.weight are one tensor"),
        (partial(with_parameter, torch.ones(3)), "gain lies in no module within it"),
        (partial(with_parameter, torch.ones(()), "encoder"), "encoder.gain has no axis"),
        (partial(with_parameter, torch.ones(3).double(), "encoder"), "torch.float32 on cpu and"),
        (channels_last, "laid out otherwise than its axes follow each other"),
    ],
)
def test_what_cannot_be_shared_out_is_said(
    make: Callable[[], ContinualLearner], words: str
) -> None:
    with pytest.raises(ValueError, match="cannot be shared out among ranks: ") as caught:
        check_shardable(make())
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "make, works",
    [
        (Naive, True),
        (Joint, True),
        (partial(ExperienceReplay, 9), True),
        (partial(CompressedReplay, 9), True),
        (partial(ExperienceReplay, 9, memory=HerdingMemory), True),
        (partial(DER, 9), True),
        (partial(Combined, [Naive, partial(ExperienceReplay, 9)]), True),
        (partial(ExperienceReplay, 9, store="latent"), False),
        (partial(ExperienceReplay, 9, memory=LossAwareMemory), False),
        (JointConverged, False),
        (partial(MIR, 9), False),
        (partial(DER, 9, memory=LossAwareMemory), False),
        (partial(EWC, 1.0), False),
        (partial(Combined, [partial(ExperienceReplay, 9), partial(EWC, 1.0)]), False),
    ],
)
def test_methods_that_look_at_weights_are_told_from_others(
    make: Callable[..., Method], works: bool
) -> None:
    method, learner = make(generator=torch.Generator()), MLP(8, [8], 4)
    if works:
        check_sharded(method, learner)
        with pytest.raises(ValueError, match="leave averaging off"):
            check_sharded(method, learner, AveragedWeights(0.9))
    else:
        with pytest.raises(ValueError, match=f"{type(method).__name__} looks at whole weights"):
            check_sharded(method, learner)


class OwnLoss(MLP):
    def loss(self, batch: Batch) -> torch.Tensor:
        return self(batch[0])[1].square().mean()


def test_outputs_are_compared_where_the_loss_is_made_of_them() -> None:
    learner = OwnLoss(8, [8], 4)
    check_sharded(Naive(generator=torch.Generator()), learner)
    with pytest.raises(ValueError, match="OwnLoss computes its loss beside its output"):
        check_sharded(DER(9, generator=torch.Generator()), learner)
