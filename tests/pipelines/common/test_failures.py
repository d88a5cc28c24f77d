"""What the machine refuses is said in one line; what would fill the disk is not begun."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from omegaconf.errors import InterpolationKeyError

from insituml_pipelines.common.domains import DOMAINS, out_of_domain
from insituml_pipelines.common.ending import explained, failing_in_one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import REMEDIES, ask_for_room, in_one_line


@pytest.mark.parametrize("number", REMEDIES)
def test_what_the_system_refuses(number: int) -> None:
    line = in_one_line(OSError(number, os.strerror(number), "runs/naive"))
    assert line == f"runs/naive: {os.strerror(number)}; {REMEDIES[number]}"
    assert explained(OSError(number, os.strerror(number)))[1] == 1


def test_numpy_has_words_of_its_own_for_a_full_disk() -> None:
    assert REMEDIES[errno.ENOSPC] in in_one_line(OSError("12 requested and 7 written"))


def test_room_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    ask_for_room(tmp_path / "not/there", 1000, 1000, "split")
    with pytest.raises(UserError, match=r"split takes 1e\+12 MB .* make room") as caught:
        ask_for_room(tmp_path, 10**18, 10**18, "split")
    assert caught.value.code == 1
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    with pytest.raises(UserError, match="ulimit -f"):
        ask_for_room(tmp_path, 1000, 11, "split")


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UserError("your mistake", 3), 3, "your mistake"),
        (InterpolationKeyError("no such key\n    full_key: a.b"), 2, "a.b: no such key"),
        (MemoryError(), 1, "not enough memory"),
        (ZeroDivisionError("a\nb"), 1, "which was not foreseen: a b; HYDRA_FULL_ERROR=1"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_every_ending_is_one_line(error, code, line, capsys, monkeypatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as ended, failing_in_one_line():
        raise error
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert line in said
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_who_wants_the_traceback_gets_it(monkeypatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ZeroDivisionError), failing_in_one_line():
        raise ZeroDivisionError


@pytest.mark.parametrize("key", DOMAINS)
def test_no_option_is_nan_or_a_word(key: str) -> None:
    for value in (float("nan"), float("inf"), -float("inf"), "abc", True, [1, float("nan")]):
        assert f"m.{key} is " in out_of_domain("insituml.methods.EWC", key, value, f"m.{key}")
    assert not out_of_domain("insituml.methods.EWC", key, None, f"m.{key}")
    assert not out_of_domain("mine.EWC", key, "abc", f"m.{key}")


@pytest.mark.parametrize(
    "key, good, bad",
    [
        ("strength", [0, 1e9], [-1e-9]),
        ("lr", [1e-9, 5], [0, -1]),
        ("decay", [0, 0.999], [1, -0.1]),
        ("gamma", [0, 1], [1.1]),
        ("threshold", [1], [0, 1.5]),
        ("latent_size", [1], [0, 1.5, 10**13]),
        ("seed", [0, 2**63], [-1, 2**64]),
    ],
)
def test_ends_of_domains(key, good, bad) -> None:
    for value in good:
        assert not out_of_domain("torch.optim.Adam", key, value, key)
    for value in bad:
        assert out_of_domain("torch.optim.Adam", key, value, key)
