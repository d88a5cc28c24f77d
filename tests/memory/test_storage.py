"""How samples are stored: dtype, size in bytes, device, the bits of a checkpoint."""

from __future__ import annotations

import pytest
import torch

from insituml.memory.storage import SampleStorage


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 6) -> tuple[torch.Tensor, ...]:
    generator = seeded(3)
    x = torch.randn(count, 2, 3, generator=generator)
    return x, torch.arange(count), torch.rand(count, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_columns_come_back_in_the_dtype_in_which_they_arrived(dtype: str | None) -> None:
    samples, rows = batch(), torch.tensor([0, 2, 3, 4, 6, 7])
    storage = SampleStorage(8, dtype=dtype)
    storage.write(rows, samples)
    for stored, column, read in zip(samples, storage.columns, storage.read(rows), strict=True):
        narrow = dtype is not None and stored.is_floating_point()
        assert column.dtype == (getattr(torch, dtype) if narrow else stored.dtype)
        assert read.dtype == stored.dtype
        assert torch.equal(read, stored.to(column.dtype).to(stored.dtype))
        assert read.is_contiguous()
    x, labels, _ = storage.read(rows)
    assert torch.equal(labels, samples[1])
    if dtype == "float16":  # 11 bits of significand
        assert 0 < ((x - samples[0]) / samples[0]).abs().max() <= 2.0**-11


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [2, 3, 4, 5], [1, 3, 4, 6]])
@pytest.mark.parametrize("chosen", [None, [0, 1, 2, 3], [1, 2, 3, 4], [3, 0, 2, 1], [5, 1, 0, 4]])
def test_each_row_gets_its_sample(rows: list[int], chosen: list[int] | None) -> None:
    samples = batch(4 if chosen is None else 6)
    storage = SampleStorage(8)
    storage.write(torch.tensor(rows), samples, None if chosen is None else torch.tensor(chosen))
    for column, values in zip(storage.columns, samples, strict=True):
        for k, row in enumerate(rows):
            assert torch.equal(column[row], values[k if chosen is None else chosen[k]])
        assert not column[sorted(set(range(8)) - set(rows))].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.complex64])
def test_any_dtype_is_stored(dtype: torch.dtype) -> None:
    values, rows = torch.randn(3, 2, generator=seeded(1)).to(dtype), torch.tensor([0, 2, 5])
    storage = SampleStorage(6)
    storage.write(rows, (values,))
    assert torch.equal(storage.read(rows)[0], values)


def test_what_is_read_is_a_copy() -> None:
    storage = SampleStorage(6)
    storage.write(torch.arange(6), batch())
    for read in storage.read(torch.arange(6)):
        read.zero_()
    assert torch.equal(storage.read(torch.arange(6))[0], batch()[0])


@pytest.mark.parametrize(
    "dtype, row", [(None, 6 * 4 + 8 + 8), ("float32", 24 + 8 + 4), ("float16", 12 + 8 + 2)]
)
def test_as_many_rows_as_fit_into_the_bytes(dtype: str | None, row: int) -> None:
    for spare in (0, 1, row + 15):
        storage = SampleStorage(capacity_bytes=5 * (row + 16) + spare, dtype=dtype, row_overhead=16)
        assert storage.capacity is None
        expected = 6 if spare == row + 16 else 5
        assert storage.allocate(batch()) == storage.capacity == expected
        size = sum(c.numel() * c.element_size() for c in storage.columns)
        assert size == expected * row
    assert SampleStorage(capacity_bytes=6 * row, dtype=dtype).allocate(batch()) == 6
    assert SampleStorage(capacity_bytes=row, dtype=dtype).allocate(batch()) == 1
    with pytest.raises(ValueError, match=f"is {row - 1}, but one sample takes {row}"):
        SampleStorage(capacity_bytes=row - 1, dtype=dtype).allocate(batch())


def test_rows_kept_come_to_the_front_in_order() -> None:
    storage, samples = SampleStorage(6), batch()
    storage.write(torch.arange(6), samples)
    storage.keep(torch.tensor([4, 1, 5]))
    for column, values in zip(storage.columns, samples, strict=True):
        assert torch.equal(column[:3], values[[4, 1, 5]])


@pytest.mark.parametrize("size", [{"capacity": 6}, {"capacity_bytes": 6 * (12 + 8 + 2)}])
def test_state_restores_bits_and_dtypes(size: dict[str, int]) -> None:
    first, second = (SampleStorage(**size, dtype="float16") for _ in range(2))
    first.write(torch.tensor([1, 4]), batch(2))
    second.load_state_dict(first.state_dict())
    assert second.capacity == 6
    for a, b in zip(first.read(torch.arange(6)), second.read(torch.arange(6)), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    second.write(torch.tensor([0]), batch(1))
    assert not first.columns[0][0].any()  # a copy


def test_samples_without_gradient_are_stored() -> None:
    storage = SampleStorage(2)
    storage.write(torch.arange(2), (torch.ones(2, requires_grad=True) * 2,))
    assert not storage.read(torch.arange(2))[0].requires_grad


def test_rows_live_where_they_are_wanted() -> None:
    storage = SampleStorage(6, device="cpu", pin=True)  # pinned only where there is CUDA
    storage.write(torch.arange(6), batch())
    (x, _, _) = storage.read(torch.arange(6))
    assert x.is_pinned() == torch.cuda.is_available()
    assert {c.device.type for c in storage.columns} == {"cpu"}
    storage = SampleStorage(6, device="meta")
    storage.write(torch.arange(6), batch())
    assert {c.device.type for c in storage.columns} == {"meta"}


def test_a_loaded_state_moves_to_where_samples_arrive() -> None:
    first, second = SampleStorage(6), SampleStorage(6)
    first.write(torch.arange(6), batch())
    second.load_state_dict(first.state_dict())
    second.write(torch.arange(2), tuple(t[:2].to("meta") for t in batch()))
    assert {c.device.type for c in second.columns} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("device", [None, "cpu", "cuda"])
def test_samples_on_cuda(device: str | None, pin: bool) -> None:
    if pin and device == "cuda":
        return
    storage = SampleStorage(8, device=device, pin=pin, dtype="float16")
    samples, rows = tuple(t.cuda() for t in batch()), torch.tensor([0, 2, 3, 4, 6, 7])
    storage.write(rows, samples)
    for stored, read in zip(samples, storage.read(rows), strict=True):
        assert read.is_cuda == (device != "cpu" and not pin)
        assert read.is_pinned() == pin
        torch.testing.assert_close(read.cpu(), stored.cpu(), rtol=2.0**-11, atol=1e-7)


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "capacity is None and capacity_bytes None; expected exactly one"),
        ({"capacity": 3, "capacity_bytes": 3}, "capacity is 3 and capacity_bytes 3; expected ex"),
        ({"capacity": 0}, "capacity is 0; expected 1"),
        ({"capacity": 3, "dtype": "int8"}, "dtype is 'int8'; expected one of float32, float16"),
        ({"capacity": 3, "device": "gpu"}, "device is 'gpu', which does not work here"),
        ({"capacity": 3, "device": "meta", "pin": True}, "pin is True with device='meta'"),
    ],
)
def test_constructor_errors(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleStorage(**options)


def test_a_value_too_large_for_float16_is_named() -> None:
    storage = SampleStorage(4, dtype="float16")
    with pytest.raises(ValueError, match=r"magnitude 1.2e\+11 does not fit dtype=float16.*normal"):
        storage.write(torch.arange(2), (torch.tensor([1.0, -1.2e11]),))
    storage.write(torch.arange(2), (torch.tensor([1.0, float("inf")]),))  # it was infinite before


def test_a_state_of_another_size_or_dtype_is_refused() -> None:
    first = SampleStorage(6)
    first.write(torch.arange(6), batch())
    with pytest.raises(ValueError, match="has 6 rows, this one 7; resume with the memory size"):
        SampleStorage(7).load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match=r"float32, this one torch\.float16; resume"):
        SampleStorage(6, dtype="float16").load_state_dict(first.state_dict())
