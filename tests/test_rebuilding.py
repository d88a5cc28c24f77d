"""A learner comes back as it was saved, or is refused when it is saved."""

from __future__ import annotations

import enum
import functools
from collections import OrderedDict, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from insituml import ContinualLearner, load_checkpoint
from insituml.models import MLP


class Plain(ContinualLearner):
    def __init__(self, value=None, width=3, **options):
        super().__init__(**options)
        self.value = value
        self.layer = nn.Linear(4, width)


class Positional(Plain):
    def __init__(self, value, /, *more, width=3):
        super().__init__(value, width)
        self.more = more


class Popping(Plain):
    def __init__(self, config, sizes):
        super().__init__()
        self.layer = nn.Linear(4, config.pop("width"))
        sizes.insert(0, 4)
        config["inner"]["list"].append(1)
        self.rest = nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])


class Shaped(Plain):
    def __init__(self, shape=(2, 3)):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (1,) + shape))  # noqa: RUF005


class Halves(Plain):
    def __init__(self, generator="tanh"):
        super().__init__()
        self.last = {"tanh": torch.tanh, "relu": torch.relu}[generator]


class Drawn(Plain):
    def __init__(self, generator, rng=None, width=4):
        super().__init__(width=width)
        with torch.no_grad():
            self.layer.weight.normal_(generator=generator)


class Values(Plain):
    """Computes with values, which tensors without memory have not."""

    def __init__(self, depth=3):
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 1, depth)]


class Buffers(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("mask", torch.zeros(2, dtype=torch.bool))
        self.register_buffer("grid", torch.linspace(0, 1, 5), persistent=False)
        self.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
        self.norm = nn.BatchNorm1d(3)


class Tied(Plain):
    def __init__(self):
        super().__init__(width=4)
        self.other = nn.Linear(4, 4)
        self.other.weight = self.layer.weight


class Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(2)


class Default(Plain):
    def __init__(self, sizes=[4]):  # noqa: B006
        super().__init__()
        sizes.append(5)
        self.layer = nn.Linear(4, len(sizes))


class Mode(enum.StrEnum):
    FAST = "fast"


class Text(str):
    pass


def roundtrip(learner: ContinualLearner, folder: Path) -> ContinualLearner:
    return load_checkpoint(learner.save_checkpoint(folder, "x", 0))


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b


@pytest.mark.parametrize(
    "value",
    [
        (3, 4), ((1, (2, 3)), [4, (5,)]), {"a": (1, [2])}, {1: "x", (2, 3): 4.5, None: True},
        torch.float16, torch.device("cpu"), torch.Size([2, 3]), 1 + 2j, None, True, "ä", 10**30,
        float("inf"), torch.arange(6).view(2, 3).t(), torch.ones(2).bfloat16(), [], (), {},
    ],
)  # fmt: skip
def test_arguments_come_back_as_they_were_given(value, tmp_path: Path) -> None:
    for learner in (Plain(value), Plain(value=value), Positional(value, value, width=2)):
        loaded = roundtrip(learner, tmp_path)
        assert same(loaded.value, learner.value)
        assert same(loaded.constructor_arguments, learner.constructor_arguments)
    assert same(loaded.more, (value,))


@pytest.mark.parametrize("number", [np.float32(0.1), np.int64(3), np.bool_(True), np.float64(0.2)])
def test_numbers_of_numpy_come_back_equal(number, tmp_path: Path) -> None:
    loaded = roundtrip(Plain(number), tmp_path)
    assert loaded.value == number
    assert type(loaded.value) in (bool, int, float)


@pytest.mark.parametrize(
    "value, kind",
    [
        (Path("x"), "pathlib.PosixPath"), (Mode.FAST, "Mode"), (Text("x"), "Text"),
        (functools.partial(print), "functools.partial"), (nn.ReLU, "builtins.type"),
        (nn.ReLU(), "ReLU"), ([nn.ReLU()], "ReLU"), (np.zeros(2), "numpy.ndarray"),
        ({"a": {"b": {1, 2}}}, "builtins.set"), (OrderedDict(a=1), "OrderedDict"),
        (defaultdict(int), "defaultdict"), (range(3), "builtins.range"), (b"x", "builtins.bytes"),
        (nn.Parameter(torch.zeros(1)), "Parameter"), (len, "builtin_function_or_method"),
        ([torch.Generator()], "Generator"), (np.array("2020", "datetime64[Y]")[()], "datetime64"),
    ],
)  # fmt: skip
def test_what_would_come_back_as_something_else_is_refused_when_saving(
    value, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"Plain\(value=\.\.\.\).* is a .*" + kind):
        Plain(value).save_checkpoint(tmp_path, "x", 0)
    assert not list(tmp_path.iterdir())


def test_what_the_constructor_does_to_its_arguments_is_not_seen(tmp_path: Path) -> None:
    learner = Popping({"width": 7, "inner": {"list": []}}, [5, 6])
    assert learner.constructor_arguments == {
        "config": {"width": 7, "inner": {"list": []}},
        "sizes": [5, 6],
    }
    loaded = roundtrip(learner, tmp_path)
    assert [p.shape for p in loaded.parameters()] == [p.shape for p in learner.parameters()]
    assert roundtrip(loaded, tmp_path).constructor_arguments == learner.constructor_arguments


def test_an_argument_that_the_constructor_concatenates(tmp_path: Path) -> None:
    assert roundtrip(Shaped((3, 2)), tmp_path).layer[1].unflattened_size == (1, 3, 2)


def test_only_generators_are_left_out(tmp_path: Path) -> None:
    assert roundtrip(Halves(generator="relu"), tmp_path).last is torch.relu
    given = torch.Generator().manual_seed(3)
    for learner in (Drawn(given, width=5), Drawn(given, given), Drawn(generator=given, rng=given)):
        loaded = roundtrip(learner, tmp_path)
        assert torch.equal(loaded.layer.weight, learner.layer.weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_each_tensor_has_the_dtype_it_was_saved_in(dtype: torch.dtype, tmp_path: Path) -> None:
    learner = Buffers()
    learner.layer.to(dtype)
    learner.phase.data = learner.phase.data.to(torch.complex128)
    learner.grid = learner.grid.to(dtype)
    learner.layer.bias.requires_grad_(False)
    with torch.no_grad():
        for p in learner.parameters():
            p.copy_(torch.randn_like(p, dtype=torch.complex64 if p.is_complex() else None))
        learner.count += 7
        learner.mask[1] = True
    loaded = roundtrip(learner, tmp_path)
    pairs = [
        *zip(learner.named_parameters(), loaded.named_parameters(), strict=True),
        *zip(learner.named_buffers(), loaded.named_buffers(), strict=True),
    ]
    for (name, mine), (also, theirs) in pairs:
        assert (name, mine.dtype, mine.requires_grad) == (also, theirs.dtype, theirs.requires_grad)
        assert torch.equal(mine, theirs)
    assert not loaded.training


def test_shared_parameters_stay_shared(tmp_path: Path) -> None:
    loaded = roundtrip(Tied().double(), tmp_path)
    assert loaded.other.weight is loaded.layer.weight
    assert loaded.layer.weight.dtype == torch.float64


def test_constructors_that_need_values_and_layers_that_wait_for_inputs(tmp_path: Path) -> None:
    assert roundtrip(Values(5), tmp_path).rates == Values(5).rates
    lazy = Lazy()
    lazy.layer(torch.ones(1, 3))
    assert torch.equal(roundtrip(lazy, tmp_path).layer.weight, lazy.layer.weight)


def widened() -> ContinualLearner:
    learner = Plain()
    learner.layer = nn.Linear(4, 5)
    return learner


def with_another_head() -> ContinualLearner:
    learner = Plain()
    learner.head = nn.Linear(3, 1)
    return learner


def without_its_layer() -> ContinualLearner:
    learner = Plain()
    learner.layer = nn.Identity()
    return learner


def tied_afterwards() -> ContinualLearner:
    learner = Tied()
    learner.layer.bias = learner.other.bias
    return learner


def untied_afterwards() -> ContinualLearner:
    learner = Tied()
    learner.other.weight = nn.Parameter(learner.layer.weight.detach().clone())
    return learner


@pytest.mark.parametrize(
    "make, message",
    [
        (widened, r"layer.weight has shape \(3, 4\), where it has \(5, 4\)"),
        (with_another_head, "without head.weight"),
        (without_its_layer, "with layer."),
        (tied_afterwards, "shares its parameters otherwise"),
        (untied_afterwards, "shares its parameters otherwise"),
        (Default, r"layer.weight has shape \(3, 4\), where it has \(2, 4\)|layer.weight has shape"),
    ],
)
def test_what_the_constructor_does_not_build_is_refused_when_saving(
    make, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"could not be loaded again: .*({message})"):
        make().save_checkpoint(tmp_path, "x", 0)
    assert not list(tmp_path.iterdir())


def test_saving_and_loading_leave_the_global_generator_alone(tmp_path: Path) -> None:
    for learner in (Plain(), Values(), MLP(3)):
        state = torch.get_rng_state()
        roundtrip(learner, tmp_path)
        assert torch.equal(torch.get_rng_state(), state)
