"""Which rank says what, when one of them ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.ranks import STOPPED, _end_if_lost, _Group


@pytest.fixture(scope="module")
def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def groups(*processes: int) -> list[_Group]:
    """Return the group as each rank sees it."""
    store, host = dist.HashStore(), socket.gethostname()
    members = [(host, process) for process in processes]
    return [_Group(store, rank, members) for rank in range(len(processes))]


def test_the_lowest_that_lives_names_a_rank_that_is_gone(dead) -> None:
    here = os.getpid()
    first, _, third = groups(here, dead, here)
    line = f"rank 1 of 3 (process {dead}) is gone"
    for group, mine in ((first, True), (third, False)):
        is_mine, said = group.lost(0.0)
        assert is_mine == mine
        assert said is not None
        assert said.startswith(line)
    with pytest.raises(UserError, match="is gone"):
        _end_if_lost(groups(dead, here)[1], 0.0, RuntimeError("gloo"))


def test_what_a_rank_has_told_is_said_by_the_first() -> None:
    here = os.getpid()
    first, second, third = groups(here, here, here)
    assert third.lost(0.0) == (False, None)
    second.tell("samples are missing")
    assert first.lost(0.0) == (True, "rank 1 of 3: samples are missing")
    assert third.lost(0.0)[0] is False


def test_a_rank_that_was_stopped_has_nothing_to_be_said_of() -> None:
    first, second = groups(os.getpid(), os.getpid())
    second.tell(STOPPED)
    assert first.lost(0.0) == (True, None)


def test_one_that_fails_waits_for_the_first_to_end_too(dead) -> None:
    here, started = os.getpid(), time.monotonic()
    first, second = groups(here, here)
    first.tell("")
    second.let_first_speak(60.0)
    groups(dead, here)[1].let_first_speak(60.0)
    assert time.monotonic() - started < 30
    waiting = time.monotonic()
    groups(here, here)[1].let_first_speak(0.2)
    assert time.monotonic() - waiting >= 0.2
