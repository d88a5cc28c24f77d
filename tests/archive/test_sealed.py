"""A seal notices every damaged byte."""

from __future__ import annotations

import pytest

from insituml.archive.sealed import OVERHEAD, seal, unseal


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256))])
def test_whole_bytes_come_back(data: bytes) -> None:
    assert unseal(seal(data), "thing") == data
    assert len(seal(data)) == len(data) + OVERHEAD


def test_any_bit_that_turned_or_byte_that_is_missing_is_noticed() -> None:
    whole = seal(b"insituml")
    turned = [whole[:n] + bytes([whole[n] ^ 4]) + whole[n + 1 :] for n in range(len(whole))]
    for damaged in [*turned, *(whole[:n] for n in range(len(whole))), whole + b"\0"]:
        with pytest.raises(ValueError, match="bytes arrived that are no thing, or are damaged"):
            unseal(damaged, "thing")
