"""A producer in a process of its own: what it says arrives, whatever happens to it is named."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from insituml.data.step import Step
from insituml.stream import (
    Event,
    Finished,
    NoProducerError,
    ProducerDied,
    Rejected,
    RingSource,
    Stalled,
)

HERE = Path(__file__).parent
HARD_TIMEOUT = 60  # seconds a test


@pytest.fixture(autouse=True)
def hard_timeout() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {HARD_TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HARD_TIMEOUT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert multiprocessing.active_children() == []


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HERE))  # spawned processes get the parent's path
    return importlib.import_module("ring_producers")


@pytest.fixture
def ring(producers: ModuleType) -> Callable[..., RingSource]:
    """Make a ring around ``Numbers(count, fault=..., at=..., folder=...)``."""

    def make(
        count: int, fault: str | None = None, at: int | None = None, **options: Any
    ) -> RingSource:
        folder = options.pop("folder", None)
        factory = partial(producers.Numbers, count, fault=fault, at=at, folder=folder)
        return RingSource(factory, **options)

    return make


def kept(events: Iterator[Event]) -> list[Any]:
    """Return what a stream says, steps as iterations."""
    return [event.iteration if isinstance(event, Step) else event for event in events]


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def traces(source: RingSource) -> tuple[int, Path]:
    """Return the process and the shared memory of a stream that is being read."""
    assert source._child is not None
    assert source._slots is not None
    assert source._child.process.pid is not None
    return source._child.process.pid, Path("/dev/shm") / source._slots.name


def test_the_same_steps_arrive_as_in_process_bit_for_bit(producers) -> None:
    here = producers.wakefield()
    source = RingSource(producers.wakefield, slots=2)
    assert source.describe() == here.describe()
    assert source.bound_bytes == 2 * 3 * 2 * 256 * 2 * 4
    both = zip(here.events(), source.events(), strict=True)
    count = 0
    for expected, event in both:
        if isinstance(expected, Step):
            assert (event.iteration, event.time) == (expected.iteration, expected.time)
            assert event.values.dtype == np.float32
            assert event.values.tobytes() == expected.values.tobytes()
            assert event.metadata == expected.metadata
            count += 1
    assert count == 7
    assert event == Finished()


def test_after_leaves_out_what_was_seen_and_a_stream_can_be_read_again(ring) -> None:
    source = ring(5)
    assert kept(source.events(after=20)) == [30, 40, Finished()]
    assert kept(source.events()) == [0, 10, 20, 30, 40, Finished()]


def test_block_loses_nothing_and_never_writes_where_the_consumer_reads(ring) -> None:
    seen = []
    for event in ring(12, slots=2).events():
        if isinstance(event, Step):
            time.sleep(0.02)  # the producer has long filled all other slots
            expected = np.arange(6, dtype=np.float32).reshape(1, 2, 3) + event.iteration
            np.testing.assert_array_equal(event.values, expected)
            assert event.metadata == {"place": event.iteration // 10}
            seen.append(event.iteration)
    assert seen == list(range(0, 120, 10))
    assert event == Finished()


def test_ready_says_whether_an_event_would_be_waited_for(ring) -> None:
    source = ring(3, "hang", at=20)
    events = source.events()
    assert next(events).iteration == 0
    wait_until(source.ready)
    assert next(events).iteration == 10
    assert not source.ready()
    os.kill(traces(source)[0], signal.SIGKILL)
    wait_until(source.ready)  # its death is news, too
    assert isinstance(next(events), ProducerDied)
    assert source.ready()


def test_drop_names_exactly_what_is_lost_between_two_steps(ring, tmp_path) -> None:
    source = ring(6, "wait", at=50, slots=2, policy="drop", folder=tmp_path)
    events = source.events()
    first = next(events)
    wait_until((tmp_path / "reached").exists)  # with both slots taken, 20 to 40 are lost
    assert first.values[0, 0, 0] == 0
    assert next(events).iteration == 10  # frees the slot of step 0
    (tmp_path / "go").touch()
    gap = next(events)
    assert (gap.first, gap.last) == (20, 40)
    assert "dropped: 3 steps" in gap.reason
    assert kept(events) == [50, Finished()]
    assert source.dropped_steps == 3


def test_drop_names_what_is_lost_before_the_end(ring, tmp_path) -> None:
    source = ring(5, "wait at the end", slots=2, policy="drop", folder=tmp_path)
    events = source.events()
    next(events)
    wait_until((tmp_path / "reached").exists)
    (tmp_path / "go").touch()
    second, gap, ending = kept(events)
    assert (second, gap.first, gap.last, ending) == (10, 20, 40, Finished())
    assert source.dropped_steps == 3


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("raise", "EOFError: the file is cut short"),
        ("exit", "exit code 7"),
        ("kill", "SIGKILL"),
    ],
)
def test_a_death_is_named_after_all_that_was_delivered(ring, fault, reason) -> None:
    *steps, ending = kept(ring(9, fault, at=30).events())
    assert steps == [0, 10, 20]
    assert isinstance(ending, ProducerDied)
    assert reason in ending.reason


def test_a_source_without_an_ending_is_not_taken_as_finished(ring) -> None:
    *steps, ending = kept(ring(2, "no ending").events())
    assert steps == [0, 10]
    assert isinstance(ending, ProducerDied)


@pytest.mark.parametrize("fault", ["stop", "hang"])
def test_a_stalled_producer_is_noticed_and_killed(ring, fault) -> None:
    source = ring(9, fault, at=20, stall_timeout=2.0)
    events = source.events()
    assert [next(events).iteration for _ in range(2)] == [0, 10]
    pid, memory = traces(source)
    start = time.monotonic()
    assert next(events) == Stalled(2.0)
    assert 1.9 < time.monotonic() - start < 20
    assert not alive(pid)
    assert not memory.exists()
    assert list(events) == []


@pytest.mark.parametrize(
    "number, ending",
    [
        (signal.SIGSTOP, Stalled(2.0)),
        (signal.SIGKILL, ProducerDied("was killed by signal SIGKILL")),
    ],
)
def test_a_producer_may_be_stopped_or_killed_within_a_message(ring, number, ending) -> None:
    source = ring(9, "wordy", stall_timeout=2.0)
    events = source.events()
    assert len(next(events).metadata["notes"]) == 1_000_000
    time.sleep(0.3)  # the next message is half in the pipe by now
    pid, _ = traces(source)
    os.kill(pid, number)
    assert kept(events) == [ending]
    assert not alive(pid)


def test_a_slow_consumer_is_not_a_stalled_producer(ring) -> None:
    seen = []
    for event in ring(4, slots=2, stall_timeout=2.0).events():
        if not seen:
            time.sleep(2.5)
        seen.append(event)
    assert seen[-1] == Finished()


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("never", "FileNotFoundError: no simulation here"),
        ("silent", r"nothing within 1\.0 s"),
        ("gone", "exit code 5"),
    ],
)
def test_no_producer(ring, fault, reason) -> None:
    # A loaded machine may need more than a second to start a process: only "silent" is so short.
    source = ring(3, fault, open_timeout=1.0 if fault == "silent" else 50.0)
    with pytest.raises(NoProducerError, match=reason):
        next(source.events())


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("nan", "2 NaN and 1 infinite among its 6 values"),
        ("too large", "0 NaN and 6 infinite among its 6 values"),
        ("shape", "its values have shape (1, 2, 2), the stream's have (1, 2, 3)"),
    ],
)
def test_a_step_that_cannot_be_learned_from_is_named_and_the_stream_goes_on(
    ring, fault, reason
) -> None:
    events = kept(ring(4, fault, at=20).events())
    assert events == [0, 10, Rejected(20, reason), 30, Finished()]


@pytest.mark.parametrize("how", ["generator", "source", "context"])
def test_stopping_early_leaves_no_process_and_no_memory(ring, how) -> None:
    source = ring(100_000, slots=2)
    events = source.events()
    step = next(events)
    pid, memory = traces(source)
    assert alive(pid)
    assert not memory.exists()  # mapped by both, it needs no name: none can be left behind
    with pytest.raises(RuntimeError, match="being read already"):
        next(source.events())
    if how == "generator":
        events.close()
    elif how == "source":
        source.close()
        assert list(events) == []
    else:
        with source:
            pass
    assert not alive(pid)
    assert not memory.exists()
    assert step.values[0, 0, 0] == 0  # still mapped


SCRIPT = """
import sys, time
from functools import partial
from ring_producers import Numbers
from insituml.stream import RingSource

if __name__ == "__main__":
    source = RingSource(partial(Numbers, 9, fault=sys.argv[1], at=20))
    events = source.events()
    steps = [next(events), next(events)]
    print(source._child.process.pid, source._slots.name, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the script in a process of its own."""
    script = tmp_path / "consumer.py"
    script.write_text(SCRIPT)
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)


def test_a_producer_ends_with_a_consumer_that_is_killed(run) -> None:
    consumer = run("hang", "600")
    pid, name = consumer.stdout.readline().split()
    assert alive(int(pid))
    consumer.kill()
    wait_until(lambda: not alive(int(pid)))
    wait_until(lambda: not (Path("/dev/shm") / name).exists())


@pytest.mark.parametrize("fault", ["hang", "kill"])
def test_an_interpreter_that_ends_in_the_middle_leaves_nothing_and_says_nothing(run, fault) -> None:
    consumer = run(fault, "0")
    said, complaints = consumer.communicate(timeout=40)
    assert complaints == ""
    assert consumer.returncode == 0
    pid, name = said.split()
    wait_until(lambda: not alive(int(pid)))
    assert not (Path("/dev/shm") / name).exists()


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"slots": 1}, "slots is 1; at least 2"),
        ({"policy": "wait"}, "policy is 'wait'; choose one of block, drop"),
        ({"stall_timeout": 0}, "stall_timeout is 0"),
        ({"open_timeout": -1.0}, r"open_timeout is -1\.0"),
    ],
)
def test_what_makes_no_ring_is_refused(ring, options, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        ring(3, **options)


def test_memory_that_the_machine_does_not_have_is_refused(ring) -> None:
    source = ring(3, slots=1 << 50)
    with pytest.raises(MemoryError, match="shm-size"):
        next(source.events())
