"""Plain data are loaded; whatever names something else is refused before it is imported."""

from __future__ import annotations

import collections
import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from insituml.data.images.restricted_pickle import RefusedPickleError, load_plain

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def load(content: bytes) -> Any:
    return load_plain(io.BytesIO(content))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("array", [VALUES, VALUES[0].T.copy(order="F"), VALUES[:1], VALUES[1, 2]])
def test_plain_data_come_back(array: np.ndarray, protocol: int) -> None:
    value = {b"a": [1, 2.5, None, True, (b"x", "text")], b"b": {"deep": [array]}}
    found = load(pickle.dumps(value, protocol))
    (back,) = found[b"b"].pop("deep")
    value[b"b"] = {}
    assert found == value
    assert type(back) is np.ndarray
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)


def test_text_of_python_two_comes_back_as_bytes(published) -> None:
    content = published.python_two({"data": VALUES, "name": "caf\xe9"})
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    found = load(content)
    np.testing.assert_array_equal(found.pop(b"data"), VALUES)
    assert found == {b"name": b"caf\xe9"}


@pytest.mark.parametrize(
    "value",
    [
        print,
        eval,
        collections.OrderedDict(a=1),
        subprocess.Popen,
        np.float64(3.0),
        np.array([print], dtype=object),
        np.arange(3),
        VALUES.astype(np.int8),
    ],
    ids=str,
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_everything_else_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(RefusedPickleError):
        load(pickle.dumps([value], protocol))


@pytest.mark.parametrize(
    "content",
    [
        b"cantigravity\nfly\n.",  # GLOBAL
        b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93.",  # STACK_GLOBAL
        b"(iantigravity\nfly\n.",  # INST
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"cbuiltins\ngetattr\n.",
        b"c__builtin__\neval\n.",
        b"c_codecs\ndecode\n.",
        b"cnumpy\nndarray\n(I4\ntR.",  # built, not loaded
    ],
)
def test_each_way_to_name_something(content: bytes) -> None:
    with pytest.raises(RefusedPickleError):
        load(content)
    assert "antigravity" not in sys.modules  # not even imported


def test_damaged_pickles() -> None:
    whole = pickle.dumps({b"data": VALUES}, 2)
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="damaged or no pickle"):
            load(whole[:end])
    short = whole.replace(b"K\x02K\x03K\x04\x87", b"K\x02K\x03K\x05\x87")
    assert short != whole
    with pytest.raises(ValueError, match="has 24 bytes"):
        load(short)
    with pytest.raises(ValueError, match="damaged or no pickle"):
        load(b"<html>")
    with pytest.raises(ValueError, match="damaged or no pickle"):
        load(b"Pname\n.")  # a persistent id
