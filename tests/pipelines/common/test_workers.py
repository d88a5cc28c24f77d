"""Jobs side by side: heard in order, and nothing of them outlives a killed command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from insituml_pipelines.common.workers import WorkerDiedError, do_side_by_side

ROOT = Path(__file__).parents[3]
FUNCTIONS = """
import os, signal, time

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def squares(tell, number):
    for k in range(number):
        tell(k * k)
    if number == 2:
        raise ValueError("two is too much")
    if number == 4:
        raise Odd("one", "two")

def dies(tell, number):
    tell(os.getpid())
    if number == 1:
        time.sleep(0.3)  # the other one is busy by then
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

def busy(tell, file):
    with open(file, "w") as opened:
        opened.write(str(os.getpid()))
    sum(range(10**15))  # holds Python's lock: no other thread of it can look at anything
"""
COMMAND = """
import sys
from functions_of_workers import busy
from insituml_pipelines.common.workers import do_side_by_side

if __name__ == "__main__":
    do_side_by_side(busy, [(f"{sys.argv[1]}/{k}",) for k in range(2)], 2)
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch):
    (tmp_path / "functions_of_workers.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("functions_of_workers", None)
    import functions_of_workers

    return functions_of_workers


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_what_jobs_say_is_heard_in_order_and_the_first_error_comes_last(workers, functions) -> None:
    numbers = [3, 4, 2, 0, 3000]
    heard: dict[int, list[int]] = {k: [] for k in range(5)}
    jobs = [(n,) for n in numbers]
    with pytest.raises(RuntimeError, match="Odd: one and two") as raised:
        do_side_by_side(functions.squares, jobs, workers, lambda k, m: heard[k].append(m))
    assert "in squares" in raised.value.__notes__[0]
    assert heard == {k: [i * i for i in range(n)] for k, n in enumerate(numbers)}
    with pytest.raises(ValueError, match="two is too much"):
        do_side_by_side(functions.squares, [(2,), (4,)], workers)


def test_no_job_starts_no_worker(functions, monkeypatch) -> None:
    monkeypatch.setattr("insituml_pipelines.common.workers.Child", pytest.fail)
    heard: list[object] = []
    do_side_by_side(functions.squares, [], 3, lambda k, m: heard.append((k, m)))
    assert heard == []


def test_a_killed_worker_ends_the_others_at_once(functions) -> None:
    heard: dict[int, int] = {}
    started = time.monotonic()
    with pytest.raises(WorkerDiedError, match="killed by signal SIGKILL, perhaps for want of mem"):
        do_side_by_side(functions.dies, [(0,), (1,)], 2, heard.__setitem__)
    assert time.monotonic() - started < 30
    assert not any(map(is_alive, heard.values()))


def test_nothing_outlives_a_killed_command(functions, tmp_path) -> None:
    """Workers that never look up, and named semaphores, which only their maker takes away."""
    (tmp_path / "pids").mkdir()
    shared = Path("/dev/shm")
    before = set(shared.iterdir()) if shared.is_dir() else set()
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    command = subprocess.Popen(
        [sys.executable, script, tmp_path / "pids"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        files = [tmp_path / "pids/0", tmp_path / "pids/1"]
        while not all(f.exists() and f.read_text() for f in files) and time.monotonic() < until:
            time.sleep(0.05)
        workers = [int(file.read_text()) for file in files]
        assert all(map(is_alive, workers))
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    until = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    if shared.is_dir():
        made = {f.name for f in set(shared.iterdir()) - before}
        assert not [name for name in made if name.startswith("sem.")]
