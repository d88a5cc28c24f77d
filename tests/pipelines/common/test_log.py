"""What commands say: in colour on a terminal that shows it, plain elsewhere, nothing if quiet."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

import pytest

from insituml_pipelines import select
from insituml_pipelines.common import log
from insituml_pipelines.common.cli import CONF, run_stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Being quiet is a state of the process and of those it starts."""
    for name in (log.QUIET, "NO_COLOR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TERM", "xterm")
    with warnings.catch_warnings():
        yield
    logging.disable(logging.NOTSET)


def said(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    log.say("train: naive seed 0: loss 1")
    log.note("few steps")
    log.error("no data: none")
    log.say("a table\nof: lines")
    with log.bar(total=3, desc="train") as moving:
        moving.update(2)
    return stream.getvalue()


PLAIN = "train: naive seed 0: loss 1\nnote: few steps\nerror: no data: none\na table\nof: lines\n"


def test_files_get_plain_lines_and_no_bars(monkeypatch) -> None:
    assert said(monkeypatch, io.StringIO()) == PLAIN


def test_terminals_get_colours_and_bars_with_the_time_left(monkeypatch) -> None:
    text = said(monkeypatch, Terminal())
    assert "\033[36mtrain:\033[0m naive seed 0: loss 1\n" in text
    assert "\033[33mnote:\033[0m few steps\n" in text
    assert "\033[1;31merror:\033[0m no data: none\n" in text
    assert "\na table\nof: lines\n" in text
    assert "\r" in text
    assert "2/3 [00:00<00:00" in text


@pytest.mark.parametrize("variable, value", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_terminals_that_want_none_get_no_colours(variable, value, monkeypatch) -> None:
    monkeypatch.setenv(variable, value)
    assert "\033[3" not in said(monkeypatch, Terminal()).replace("\033[1;31", "\033[3")


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_leaves_errors_alone(flag, monkeypatch) -> None:
    assert log.without_quiet(["a=1", flag, "-m"]) == ["a=1", "-m"]
    assert os.environ[log.QUIET] == "1"  # for worker processes and DVC's
    assert said(monkeypatch, Terminal()) == "\033[1;31merror:\033[0m no data: none\n"
    with warnings.catch_warnings(record=True) as caught:
        log.without_quiet([])
        warnings.warn("something", stacklevel=1)
    assert not caught
    assert not logging.getLogger("any").isEnabledFor(logging.WARNING)


def test_without_the_flag_nothing_is_taken_away() -> None:
    assert log.without_quiet(["a=-q", "--cfg", "job"]) == ["a=-q", "--cfg", "job"]
    assert not log.is_quiet()


@pytest.mark.parametrize("place", [0, 1])
def test_a_stage_takes_the_flag_anywhere(place, monkeypatch, capsys) -> None:
    arguments = ["training.epochs=3"]
    arguments.insert(place, "-q")
    monkeypatch.chdir(CONF.parent)
    monkeypatch.setattr(sys, "argv", ["select", *arguments])
    with pytest.raises(SystemExit):
        run_stage(select.main, select.SECTIONS, "")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: training.epochs is a value")
