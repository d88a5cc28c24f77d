"""The compressed reservoir: uniform whatever sizes are, bounded in bytes and in error."""

from __future__ import annotations

import math
import struct
import sys
from typing import Any

import numpy as np
import pytest
import torch

from insituml.data.mixing import IterationMixing
from insituml.memory import CompressedReservoir
from insituml.memory.columns import BoundedColumn, column_of

pytest.importorskip("zfpy")

FIELD = (2, 8, 9, 10)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields(count: int, first: int = 0, shape: tuple[int, ...] = FIELD) -> torch.Tensor:
    """Return waves of deviation 1, some smooth and small when compressed, some noise."""
    *_, n = shape
    x = torch.linspace(0, 3, n)
    number = torch.arange(first, first + count).view(-1, *[1] * len(shape))
    waves = math.sqrt(2) * torch.sin(x * (1 + number % 3) + number)
    noise = torch.randn(count, *shape, generator=seeded(first))
    return torch.where(number % 4 == 0, noise, waves.expand(count, *shape)).contiguous()


def offer(memory: CompressedReservoir, count: int, first: int = 0, task: int = 0) -> None:
    numbers = torch.arange(first, first + count)
    memory.add((fields(count, first), numbers), task)


def size_of(value: Any) -> int:
    """Return the bytes of the tensors of a state, as those of a method's memory are counted."""
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def rms(values: torch.Tensor) -> torch.Tensor:
    return values.double().square().flatten(1).mean(1).sqrt()


@pytest.mark.parametrize("bound", [1e-9, 1e-3, 0.05, 0.5, 30.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_no_stored_sample_is_off_by_more_than_the_bound(bound, scale, dtype) -> None:
    if dtype == torch.float16 and scale > 1:
        scale = 1e3  # float16 holds no more
    given = (scale * fields(8)).to(dtype)
    memory = CompressedReservoir(100, rms_error=bound)
    memory.add((given, torch.arange(8)), 0)
    stored, numbers = memory.all()
    assert (stored.dtype, stored.shape) == (dtype, (8, *FIELD))
    assert stored.is_contiguous()
    assert numbers.sort().values.tolist() == list(range(8))
    error = rms(stored.double() - given[numbers].double())
    assert error.max() <= bound
    if 0.01 < bound / scale < 0.1:  # what it could be is used: a tolerance twice as large is none
        assert error.max() > bound / 4
    if bound / scale < 1e-8 and dtype != torch.float64:  # below rounding: exact
        assert torch.equal(stored, given[numbers])


@pytest.mark.parametrize("shape", [(1, 7), (3, 5, 6), (2, 1, 9, 1), (4, 4, 4, 4), (1, 8, 8)])
def test_shapes_come_back_as_they_were(shape: tuple[int, ...]) -> None:
    given = fields(5, shape=shape)
    axes = tuple(range(1, given.dim()))
    asymmetric = given + torch.arange(given[0].numel()).view(1, *shape) / 10
    turned = asymmetric.permute(0, *reversed(axes)).contiguous().permute(0, *reversed(axes))
    assert not turned.is_contiguous() or turned[0].squeeze().dim() < 2
    memory = CompressedReservoir(50, rms_error=0.01)
    memory.add((turned, torch.arange(5)), 0)
    stored, numbers = memory.all()
    assert rms(stored - asymmetric[numbers]).max() <= 0.01


def test_bytes_are_as_few_as_by_any_tolerance_within_the_bound() -> None:
    import zfpy

    bound, noise = 0.05, torch.randn(6, 2, 12, 9, 10, generator=seeded(5))
    for values in noise.cumsum(2).cumsum(4) / torch.logspace(0, 4, 6).view(-1, 1, 1, 1, 1):
        column = BoundedColumn(values.shape, values.dtype, bound)
        sizes = {}
        for quarters in range(-40, 80):
            scale = 2 ** (quarters % 4 / 4)
            fields = (values.numpy() / np.float32(scale)).copy()
            parts = [zfpy.compress_numpy(f, tolerance=2.0 ** (quarters // 4)) for f in fields]
            back = scale * torch.stack([torch.from_numpy(zfpy.decompress_numpy(p)) for p in parts])
            sizes[quarters] = 12 + sum(map(len, parts))
            if rms((back - values)[None]) > bound:
                sizes[quarters] = column.largest
        # Near nothing left, errors do not quite grow with tolerances.
        assert len(column.encode(values)) <= 1.1 * min(sizes.values()) + 16


def test_constants_and_zeros_take_next_to_nothing() -> None:
    column = BoundedColumn(torch.Size((2, 16, 16, 16)), torch.float32, 0.01)
    for value in (0.0, 3.0):
        content = column.encode(torch.full((2, 16, 16, 16), value))
        assert len(content) < 800
        assert rms(column.decode(memoryview(content))[None] - value) <= 0.01


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_bytes_are_never_more_than_the_bound(batch: int) -> None:
    bound = 40_000
    memory, most = CompressedReservoir(capacity_bytes=bound), 0
    for first in range(0, 240, batch):
        offer(memory, batch, first)
        assert memory.bytes == size_of(memory.state_dict()) <= bound
        most = max(most, memory.bytes)
    assert most > bound - 8_000  # the largest sample takes 5,800
    assert len(memory) > 3 * bound / (4 * 2 * 720)
    assert memory.capacity_bytes == bound


def test_a_number_of_samples_is_the_bytes_of_so_many() -> None:
    memory = CompressedReservoir(10)
    assert memory.capacity_bytes is None
    offer(memory, 200)
    assert memory.capacity_bytes == 10 * (4 * 2 * 720 + 8 + 8)  # as a ReservoirMemory takes
    assert memory.bytes <= memory.capacity_bytes
    assert len(memory) > 20


@pytest.mark.parametrize("batch", [1, 11, 60])
def test_what_is_stored_has_the_keys_below_the_threshold(batch: int) -> None:
    memory = CompressedReservoir(capacity_bytes=30_000, generator=seeded(3))
    for first in range(0, 120, batch):
        offer(memory, min(batch, 120 - first), first)
    keys = torch.rand(120, generator=seeded(3), dtype=torch.float64)
    stored = memory.all()[1].sort().values
    assert torch.equal(stored, (keys < memory.threshold).nonzero().flatten())
    assert 5 < len(stored) < 100
    assert memory.samples_seen == 120


def test_samples_are_mixed_with_those_of_their_place_that_are_stored() -> None:
    places, mix = 3, IterationMixing(1, 3)
    memory = CompressedReservoir(capacity_bytes=60_000, rms_error=1e-4, generator=seeded(3))
    flat = torch.arange(60.0).view(-1, 1, 1, 1, 1).expand(-1, *FIELD)  # each says its number
    noise = 1e-2 * torch.randn(60, *FIELD, generator=seeded(1))
    for first in range(0, 60, 8):  # no whole iterations: batches of a buffer may end anywhere
        part = slice(first, first + 8)
        memory.add(((flat + noise)[part], torch.arange(60)[part]), first // 30)
    stored = memory.all()[1].tolist()
    assert 8 < len(stored) < 50
    again = CompressedReservoir(capacity_bytes=60_000, rms_error=1e-4, generator=seeded(9))
    again.load_state_dict(memory.state_dict())
    memory.generator = seeded(9)
    moved = 0
    for _ in range(20):
        (drawn, numbers), resumed = memory.sample_mixed(6, mix), again.sample_mixed(6, mix)
        assert torch.equal(drawn, resumed[0])
        for value, number in zip(drawn.flatten(1).mean(1).tolist(), numbers.tolist(), strict=True):
            others = [n for n in (number - places, number + places) if n in stored]
            low, high = min([number, *others]), max([number, *others])
            assert low - 0.01 < value < high + 0.01
            assert others or value == pytest.approx(number, abs=0.01)
            moved += abs(value - number) > 0.05
    assert moved > 20
    assert memory.samples_drawn == len(stored) + 120


@pytest.mark.parametrize("large", [1, 4])
def test_all_are_stored_equally_often(large: int, monkeypatch) -> None:
    # Where not each one is noise, the others take a twentieth of its bytes.
    count, trials, bound = 24, 800, 12_000 // large
    x = torch.arange(count).float().view(-1, 1, 1, 1, 1).repeat(1, 1, 8, 8, 8)
    x[::large] = 1e4 * torch.randn(count // large, 1, 8, 8, 8, generator=seeded(0))
    encode = BoundedColumn.encode
    known: dict[float, bytes] = {}

    def encode_once(self: BoundedColumn, values: torch.Tensor) -> bytes:
        key = float(values.sum())
        if key not in known:
            known[key] = encode(self, values)
        return known[key]

    monkeypatch.setattr(BoundedColumn, "encode", encode_once)
    generator, stored = seeded(3), torch.zeros(count)
    for _ in range(trials):
        memory = CompressedReservoir(capacity_bytes=bound, generator=generator)
        memory.add((x, torch.arange(count)), 0)
        stored[memory.all()[1]] += 1
    assert len(known) == count
    p = float(stored.mean()) / trials
    assert 0.2 < p < 0.8
    sizes = torch.tensor([float(len(known[float(values.sum())])) for values in x])
    uneven = (sizes - sizes.mean()).abs() / bound  # what size may do at most, see its notes
    z = (stored / trials - p).abs() - p * uneven
    assert (z / math.sqrt(p * (1 - p) / trials)).max() < 4.0
    if large == 1:
        assert uneven.max() < 0.01


def test_tasks_draws_and_counts() -> None:
    memory = CompressedReservoir(capacity_bytes=30_000, generator=seeded(0))
    for task in range(3):
        offer(memory, 30, 30 * task, task)
    numbers, tasks = memory.all()[1], memory.tasks()
    assert torch.equal(tasks, numbers // 30)
    assert memory.counts() == {t: int((tasks == t).sum()) for t in range(3)}
    x, drawn = memory.sample(6, without_task=1)
    assert len(drawn.unique()) == 6
    assert not (drawn // 30 == 1).any()
    assert (
        rms(x - torch.stack([fields(30, n // 30 * 30)[n % 30] for n in drawn.tolist()])).max()
        <= 0.05
    )
    own = memory.sample(100, of_task=2)[1]
    assert torch.equal(own.sort().values, numbers[tasks == 2].sort().values)
    assert memory.samples_drawn == 6 + len(own) + len(numbers)
    assert torch.equal(memory.stored()[0], memory.all()[0])
    assert len(memory.sample(3, of_task=9)[1]) == 0


def test_draws_are_uniform() -> None:
    memory, trials = CompressedReservoir(100, generator=seeded(2)), 1200
    offer(memory, 12)
    drawn = torch.zeros(12)
    for _ in range(trials):
        drawn[memory.sample(4)[1]] += 1
    z = (drawn - trials / 3) / math.sqrt(trials * (1 / 3) * (2 / 3))
    assert z.abs().max() < 4.0


def test_a_resumed_memory_goes_on_bit_for_bit(tmp_path) -> None:
    from insituml.verified_file import read_verified, write_verified

    first = CompressedReservoir(capacity_bytes=30_000, generator=seeded(4))
    offer(first, 60)
    second = CompressedReservoir(capacity_bytes=30_000, generator=seeded(99))
    second.load_state_dict(read_verified(write_verified(tmp_path / "state", first.state_dict())))
    second.generator.set_state(first.generator.get_state())
    for memory in (first, second):
        offer(memory, 40, 60, task=1)
    assert 0 < first.counts()[1] < 40
    assert first.counts() == second.counts()
    assert first.bytes == second.bytes
    assert all(map(torch.equal, first.all(), second.all()))
    assert all(map(torch.equal, first.sample(5), second.sample(5)))
    again = CompressedReservoir(capacity_bytes=30_000, generator=seeded(4))
    offer(again, 60)
    offer(again, 40, 60, task=1)
    assert size_of(again.state_dict()) == size_of(first.state_dict())
    assert all(map(torch.equal, again.all(), first.all()))


def test_an_empty_memory_has_a_state_and_can_be_resumed() -> None:
    memory, other = CompressedReservoir(10), CompressedReservoir(10)
    other.load_state_dict(memory.state_dict())
    assert (len(other), other.bytes, other.counts()) == (0, 0, {})
    with pytest.raises(ValueError, match="memory is empty"):
        other.sample(2)
    offer(other, 3)
    assert len(other) == 3


def test_what_is_revised_keeps_the_bound_and_its_error_does_not_add_up() -> None:
    memory = CompressedReservoir(capacity_bytes=40_000, generator=seeded(0))
    zeros = torch.zeros(40, 1, 8, 8, 8)
    memory.add((fields(40), zeros), 0)
    before = memory.all()[0]
    for _ in range(3):  # the second column grows to noise; the first comes back as it was read
        memory.revise(0, lambda s: (s[0], torch.randn(s[1].shape, generator=seeded(7))), 5)
        assert memory.bytes == size_of(memory.state_dict()) <= 40_000
    x, noise = memory.all()
    assert 0 < len(x) < len(before)
    assert torch.equal(x, before[: len(x)])  # by their keys, of which the largest have gone
    assert 0.5 < noise.std() < 1.5
    memory.revise(5, lambda s: s)  # a task of which nothing is stored


def test_points_and_labels_are_stored_exactly() -> None:
    points, labels = torch.randn(50, 2, generator=seeded(0)), torch.arange(50)
    memory = CompressedReservoir(100)
    memory.add((points, labels, torch.rand(50, 2, 3, 4, 5, 6)), 0)
    x, number, _ = memory.all()
    assert torch.equal(x, points[number])
    for dtype in (torch.int64, torch.complex64, torch.bool):
        assert type(column_of(torch.Size((2, 8, 8)), dtype, 0.1)) is not BoundedColumn


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_in_one_line(value: float) -> None:
    x = fields(3)
    x[1, 0, 2, 3, 4] = value
    with pytest.raises(ValueError, match="1 of 1440 values of a sample are NaN or infinite") as e:
        CompressedReservoir(9).add((x,), 0)
    assert "\n" not in str(e.value)


def test_what_does_not_fit_is_refused() -> None:
    one = 4 * 1440 + 3 * 4 + 8 + 32  # values, scale and lengths, label; task, key, number, length
    offer(CompressedReservoir(capacity_bytes=one), 40)
    memory = CompressedReservoir(capacity_bytes=one - 1)
    with pytest.raises(ValueError, match=f"has {one - 1} bytes, .* takes {one}; give at least"):
        offer(memory, 1)
    with pytest.raises(ValueError, match="expected exactly one of them"):
        CompressedReservoir()
    with pytest.raises(ValueError, match="capacity is 0"):
        CompressedReservoir(0)
    for bound in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="rms_error is"):
            CompressedReservoir(5, rms_error=bound)
    refused: list[dict[str, Any]] = [{"dtype": "float16"}, {"device": "cuda"}]
    for wrong in refused:
        with pytest.raises(ValueError, match="leave both out"):
            CompressedReservoir(5, **wrong)
    memory = CompressedReservoir(5)
    offer(memory, 3)
    with pytest.raises(ValueError, match="one memory per stream"):
        memory.add((torch.zeros(1, 5), torch.zeros(1)), 1)
    with pytest.raises(ValueError, match=r"columns of \[2, 1\] samples"):
        memory.add((fields(2), torch.zeros(1)), 1)
    with pytest.raises(ValueError, match=r"float64 arrived where torch\.float32 is stored"):
        memory.add((fields(1).double() + 1e-12, torch.zeros(1)), 1)
    assert len(memory) == 3


def test_states_of_other_settings_or_damaged_are_refused() -> None:
    memory = CompressedReservoir(5)
    offer(memory, 9)
    state = memory.state_dict()
    with pytest.raises(ValueError, match=r"rms_error 0\.05, this one 0\.1"):
        CompressedReservoir(5, rms_error=0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="resume with the memory size it was trained with"):
        CompressedReservoir(capacity_bytes=6_000).load_state_dict(state)
    for change, message in (
        ({"content": state["samples"]["content"][:-1]}, "bytes for samples of"),
        ({"lengths": state["samples"]["lengths"].roll(1)}, "is damaged"),
    ):
        with pytest.raises(ValueError, match=message):
            CompressedReservoir(5).load_state_dict(
                {**state, "samples": {**state["samples"], **change}}
            )


def test_streams_that_are_none_are_refused_and_not_followed() -> None:
    import zfpy

    column = BoundedColumn(torch.Size((1, 8, 8)), torch.float32, 0.1)
    given = fields(1, 1, (1, 8, 8))[0]
    whole = column.encode(given)
    for stream in (
        b"nothing",
        zfpy.compress_numpy(given[0, :4].numpy().copy(), tolerance=0.1),
        zfpy.compress_numpy(given[0].double().numpy(), tolerance=0.1),
        zfpy.compress_numpy(given[0].numpy(), rate=64),
    ):
        with pytest.raises(ValueError, match="a stored sample is"):
            column.decode(memoryview(struct.pack("<fI", 1.0, len(stream)) + stream))
    cut = whole[8:-16]  # what is missing is read as zeros
    assert column.decode(memoryview(struct.pack("<fI", 1.0, len(cut)) + cut)).shape == (1, 8, 8)


def test_without_zfpy_one_line_says_what_installs_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "zfpy", None)  # what Python takes for a package that is none
    with pytest.raises(ImportError, match=r"pip install 'insituml\[compressors\]'"):
        offer(CompressedReservoir(9), 2)
    memory = CompressedReservoir(9)
    memory.add((torch.randn(4, 2), torch.arange(4)), 0)  # points need none
    assert len(memory) == 4
