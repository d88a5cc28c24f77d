"""Verified files are reproducible, notice damage and run no code."""

from __future__ import annotations

import enum
import io
import os
import resource
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from insituml import verified_file
from insituml.verified_file import DamagedFileError, read_verified, write_verified


def make_state() -> dict:
    generator = torch.Generator().manual_seed(0)
    return {
        "weights": {
            "a": torch.randn(3, 4, generator=generator),
            "b": torch.tensor([], dtype=torch.int64),
        },
        "nested": [1, 2.5, "text", None, True, {"x": [torch.tensor(3.0, dtype=torch.float64)]}],
        1: "integer key",
    }


def equal(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and left == right


def test_round_trip(tmp_path: Path) -> None:
    path = write_verified(tmp_path / "deep" / "er" / "file.pt", make_state())
    assert equal(read_verified(path), make_state())
    assert equal(read_verified(str(path)), make_state())


def test_torch_opens_the_file_as_it_is(tmp_path: Path) -> None:
    path = write_verified(tmp_path / "file.pt", make_state())
    assert equal(torch.load(path, weights_only=True), make_state())


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = write_verified(tmp_path / "file.pt", make_state())
    content = path.read_bytes()
    positions = sorted({*range(0, len(content), 17), *range(len(content) - 90, len(content))})
    damaged = tmp_path / "damaged.pt"
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1 << (position % 8)
        damaged.write_bytes(changed)
        with pytest.raises(DamagedFileError, match=r"damaged\.pt \(\d+ bytes\) is damaged"):
            read_verified(damaged)


def test_any_truncation_or_extension_is_noticed(tmp_path: Path) -> None:
    content = write_verified(tmp_path / "file.pt", make_state()).read_bytes()
    damaged = tmp_path / "damaged.pt"
    for length in [0, 1, 63, 64, 65, *range(100, len(content), 97), len(content) - 1]:
        damaged.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match="SHA-256"):
            read_verified(damaged)
    for more in (b"\0", content):
        damaged.write_bytes(content + more)
        with pytest.raises(DamagedFileError):
            read_verified(damaged)


def test_a_file_of_plain_torch_is_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "plain.pt")
    with pytest.raises(DamagedFileError, match=r"plain\.pt"):
        read_verified(tmp_path / "plain.pt")


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        read_verified(tmp_path / "none.pt")


def test_no_code_in_a_file_is_ever_run(tmp_path: Path, monkeypatch) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    monkeypatch.setattr(verified_file, "_canonical", lambda value, *_: value)
    path = write_verified(tmp_path / "file.pt", {"x": Trap()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_verified(path)
    assert not (tmp_path / "sprung").exists()


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    first = write_verified(tmp_path / "1.pt", make_state()).read_bytes()
    assert write_verified(tmp_path / "2.pt", make_state()).read_bytes() == first
    again = read_verified(tmp_path / "1.pt")
    assert write_verified(tmp_path / "3.pt", again).read_bytes() == first


def test_identity_and_layout_leave_no_trace(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    word = "".join(["a long ", "word"])
    shared = {"x": base, "y": base, "s": word, "t": word, "z": base[:, 1], "u": [base[0]]}
    apart = {
        "x": base.clone().requires_grad_(),
        "y": base.t().contiguous().t(),
        "s": "".join(["a lo", "ng word"]),
        "t": "a long word",
        "z": base[:, 1].clone(),
        "u": [torch.nn.Parameter(base[0].clone())],
    }
    left = write_verified(tmp_path / "1.pt", shared)
    right = write_verified(tmp_path / "2.pt", OrderedDict(apart))
    assert left.read_bytes() == right.read_bytes()
    assert left.stat().st_size < 4000  # a view is stored without the rest of its base


def test_large_tensors_are_not_copied(tmp_path: Path) -> None:
    large = torch.zeros(2**20)  # 4 MiB
    tracemalloc.start()
    try:
        write_verified(tmp_path / "file.pt", {"x": large})
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 4
        tracemalloc.reset_peak()
        read = read_verified(tmp_path / "file.pt")
        assert tracemalloc.get_traced_memory()[1] < 1.25 * large.nbytes  # the file, once
    finally:
        tracemalloc.stop()
    assert torch.equal(read["x"], large)
    alone = verified_file._canonical({"x": large, "y": large}, "", set())
    assert alone["x"].data_ptr() == large.data_ptr() != alone["y"].data_ptr()


def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    path = write_verified(tmp_path / "file.pt", make_state())
    large = {"x": torch.zeros(2**16), "y": torch.ones(2**16)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write_verified(path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(path)
    assert equal(read_verified(path), make_state())
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_a_file_is_written_is_one(tmp_path: Path, monkeypatch) -> None:
    class Interrupted(io.BytesIO):
        def write(self, content) -> int:
            if self.tell() > 10_000:
                raise KeyboardInterrupt
            return super().write(content)

    monkeypatch.setattr(verified_file, "write_atomically_by", lambda _, write: write(Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        write_verified(tmp_path / "file.pt", {"x": torch.zeros(2**16), "y": torch.ones(2**16)})


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    class Level(enum.IntEnum):
        LOW = 1

    state = {"mean": np.float64(0.5), "level": Level.LOW, "name": str(np.str_("x")), "on": True}
    read = read_verified(write_verified(tmp_path / "file.pt", state))
    assert equal(read, {"mean": 0.5, "level": 1, "name": "x", "on": True})


@pytest.mark.parametrize(
    "state, where",
    [
        ({"a": {"b": [1, {2, 3}]}}, r"state\['a'\]\['b'\]\[1\] is a set"),
        ({"a": np.zeros(2)}, r"state\['a'\] is a ndarray"),
        ({"path": Path("x")}, r"state\['path'\] is a PosixPath"),
        ({"n": np.int64(3)}, r"state\['n'\] is a int64"),
        ({"f": [abs]}, r"state\['f'\]\[0\] is a builtin_function"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(state, where: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=where):
        write_verified(tmp_path / "file.pt", state)
    assert list(tmp_path.iterdir()) == []
