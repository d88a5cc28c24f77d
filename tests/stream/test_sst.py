"""The network stream brings the bits of the files, and each fault ends in what it is."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Step
from insituml.stream import (
    Event,
    FieldStream,
    Finished,
    Gap,
    NoProducerError,
    ProducerDied,
    Rejected,
    RingSource,
    SSTSource,
    Stalled,
    with_gaps,
    write_sst,
)

HERE = Path(__file__).parent
HARD_TIMEOUT = 60  # seconds a test
SHORT = 2.0  # seconds that a test waits in vain
LONG = 50.0  # seconds that a loaded machine may take for what happens at once otherwise

pytestmark = pytest.mark.skipif("sst" not in io.file_extensions, reason="ADIOS2 without SST")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def hard_timeout(in_a_folder_of_its_own: None) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {HARD_TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HARD_TIMEOUT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("sst_producers")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script of this folder, or a text, in a process of its own."""
    started = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def producer(start: Start) -> Start:
    """Start a producer of ``Numbers(**options)`` that writes to ``e.sst``."""

    def run(kind: str = "numbers", **options: Any) -> subprocess.Popen[str]:
        return start(str(HERE / "sst_producers.py"), kind, "e.sst", json.dumps(options))

    return run


def ring(*, stall_timeout: float = LONG, **options: Any) -> RingSource:
    """Read ``e.sst`` in a child process."""
    source = partial(SSTSource, "e.sst", **{"open_timeout": LONG, **options})
    return RingSource(source, open_timeout=LONG, stall_timeout=stall_timeout)


def kept(events: Iterator[Event]) -> list[Any]:
    """Return what a stream says, steps as iterations."""
    return [event.iteration if isinstance(event, Step) else event for event in events]


def wait_until(true: Callable[[], bool], seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and what it complained about."""
    complaints = process.communicate(timeout=LONG)[1]
    return process.returncode, complaints


def assert_same(step: Event, expected: Step) -> None:
    assert isinstance(step, Step)
    assert (step.iteration, step.time) == (expected.iteration, expected.time)
    assert step.values.dtype == np.float32
    assert step.values.tobytes() == expected.values.tobytes()
    assert step.metadata == expected.metadata


def test_the_stream_brings_the_bits_of_the_file(producers, producer) -> None:
    writer = producer(count=7)
    write_series("e.bp", producers.Numbers(7))
    file = FieldStream(OpenPMDSeries("e.bp"))
    stream = ring()
    assert stream.describe() == file.describe()
    assert stream.describe().iterations == tuple(range(0, 70, 10))
    count = 0
    for event, expected in zip(stream.events(), file.events(), strict=True):
        if isinstance(expected, Step):
            assert_same(event, expected)
            count += 1
    assert count == 7
    assert event == expected == Finished()
    assert ended(writer) == (0, "")
    assert not Path("e.sst").exists()


IN_PROCESS = """
from insituml.data.step import Step
from insituml.stream import Finished, SSTSource
from sst_producers import Numbers

source = SSTSource("e.sst", component="Ey")
assert source.describe().components == ("Ey",)
*steps, ending = source.events(after=10)
assert ending == Finished()
assert [step.iteration for step in steps] == [20, 30, 40]
for step, expected in zip(steps, list(Numbers(5))[2:]):
    assert (step.values == expected.values[1:2]).all()
"""


def test_one_component_in_process_and_after_an_iteration(producer, start) -> None:
    producer(count=5)
    assert ended(start("-W", "error", "-c", IN_PROCESS)) == (0, "")


@pytest.mark.parametrize(
    "encoding, marshal, order",
    [
        ("group_based", "bp", "C"),
        ("variable_based", "bp", "F"),
        ("variable_based", "bp5", "C"),
    ],
)
def test_what_other_codes_stream(producers, producer, encoding, marshal, order) -> None:
    """Units and places are respected, and an iteration that cannot be read is not the end."""
    producer("other", encoding=encoding, marshal=marshal, order=order)
    labels = ("z", "y", "x") if marshal == "bp5" else None
    source = ring(record="B", axis_labels=labels)
    description = source.describe()
    assert (description.components, description.unit) == (("Bx", "By", "Bz"), "T")
    assert description.iterations is None
    assert description.grid.axis_labels == ("z", "y", "x")
    assert description.grid.shape == (2, 3, 4)
    assert description.grid.spacing == pytest.approx((1e-6, 2e-6, 4e-6))
    assert description.grid.origin == pytest.approx((10.5e-6, 20e-6, 30e-6))
    seen: list[Any] = []
    for event in source.events():
        if isinstance(event, Step):
            fields = [producers.field_of_other_codes(event.iteration, axis) for axis in "xyz"]
            expected = np.array([field * 1e-4 for field in fields], dtype=np.float32)
            np.testing.assert_array_equal(event.values, expected)
            assert event.time == pytest.approx(event.iteration * 1e-15)
            place = (10.5e-6, (20 + event.iteration) * 1e-6, 30e-6)
            assert event.metadata["grid_origin"] == pytest.approx(place)
        seen.append(event.iteration if isinstance(event, Step | Rejected) else event)
        if seen[-1] == 4:
            assert event.reason == "no record 'B' in iteration 4 of e.sst; available: rho"
        if seen[-1] == 5:
            assert "Bx of shape (1, 3, 4), the first Bx (2, 3, 4)" in event.reason
    assert seen == [0, 3, 4, 5, 8, Finished()]


@pytest.mark.parametrize("lacking", [(0, 3), (0, 8)])
def test_the_first_iterations_may_lack_the_record(producer, lacking) -> None:
    producer("other", encoding="variable_based", marshal="bp", order="C", lacking=lacking)
    events = list(ring(record="B").events())
    named = [event.iteration for event in events if isinstance(event, Rejected)]
    assert named == sorted({*lacking, 5})
    assert [e.iteration for e in events if isinstance(e, Step)] == sorted({0, 3, 4, 8} - {*lacking})
    assert isinstance(events[-1], Finished)


def test_a_record_that_no_iteration_has_is_one_error(producer) -> None:
    producer("other", encoding="variable_based", marshal="bp", order="C", lacking=(0, 3, 4, 5, 8))
    with pytest.raises(NoProducerError, match=r"no record .B. in iteration 0 of e\.sst; available"):
        ring(record="B").describe()


@pytest.mark.parametrize(
    "marshal, options, problem",
    [
        ("bp5", {"record": "B"}, "let the producer set MarshalMethod to bp, or give axis_labels"),
        ("bp", {"record": "E"}, "no record 'E' in iteration 0 of e.sst; available: B"),
        ("bp", {"record": "B", "component": "Bt"}, "no component 'Bt'.*available: Bx, By, Bz"),
    ],
)
def test_a_first_step_that_cannot_be_read(producer, marshal, options, problem) -> None:
    writer = producer("other", encoding="variable_based", marshal=marshal, order="C")
    with pytest.raises(NoProducerError, match=problem):
        next(ring(**options).events())
    assert ended(writer)[0] == 0  # not held up by a reader that left


@pytest.mark.parametrize(
    "fault, code, complaint",
    [("exit", 0, ""), ("kill", -signal.SIGKILL, ""), ("raise", 1, "out of plasma")],
)
def test_a_producer_that_dies_in_the_middle_is_never_taken_as_finished(
    producer, fault, code, complaint
) -> None:
    writer = producer(count=9, fault=fault, at=30)
    events = ring().events()
    assert [next(events).iteration for _ in range(3)] == [0, 10, 20]
    Path("go").touch()
    (ending,) = events
    assert isinstance(ending, ProducerDied)
    assert "the producer of e.sst left without closing its stream" in ending.reason
    assert "\x1b" not in ending.reason
    code_seen, complaints = ended(writer)
    assert code_seen == code
    assert complaint in complaints


def test_a_source_that_died_is_passed_on_as_a_death(start, tmp_path) -> None:
    """A library's user writes what a simulation in a child yields; that died."""
    script = (
        "from sst_producers import *\n"
        "from insituml.stream import FieldStream\n"
        "class Broken(Numbers):\n"
        "    def steps(self, places):\n"
        "        yield from map(self.step, self.iteration_numbers[:2])\n"
        "        raise ArithmeticError('out of plasma')\n"
        "write_sst('e.sst', FieldStream(Broken(5)))\n"
    )
    writer = start("-c", script)
    *steps, ending = kept(ring().events())
    assert isinstance(ending, ProducerDied)
    assert steps == [0, 10][: len(steps)]  # what was still queued is lost
    code, complaints = ended(writer)
    assert code == 1
    assert "RuntimeError: ArithmeticError: out of plasma" in complaints
    assert not Path("e.sst").exists()


def test_a_stopped_producer_stalls_and_its_reader_is_killed(producer) -> None:
    producer(count=9, fault="stop", at=20)
    source = ring(stall_timeout=SHORT)
    events = source.events()
    assert [next(events).iteration for _ in range(2)] == [0, 10]
    assert source._child is not None
    pid = source._child.process.pid
    Path("go").touch()
    begun = time.monotonic()
    assert list(events) == [Stalled(SHORT)]
    assert SHORT - 0.1 < time.monotonic() - begun < 20
    assert not Path(f"/proc/{pid}").exists()


def test_nobody_produces() -> None:
    with pytest.raises(NoProducerError, match=r"no producer opened e\.sst within 1 s: is it"):
        next(ring(open_timeout=1).events())


def test_a_producer_that_is_stopped_before_its_first_step(producer) -> None:
    producer(count=3, fault="stop", at=0)
    wait_until(Path("reached").exists)
    Path("go").touch()
    source = RingSource(partial(SSTSource, "e.sst", open_timeout=SHORT), open_timeout=2 * SHORT)
    with pytest.raises(NoProducerError):
        source.describe()


@pytest.fixture
def stale(producer) -> str:
    """Return the contact file that a killed producer leaves behind."""
    writer = producer(count=3)
    wait_until(lambda: Path("e.sst").exists() and Path("e.sst").stat().st_size > 0)
    writer.kill()
    writer.communicate(timeout=LONG)
    return Path("e.sst").read_text()


def test_a_contact_file_that_is_left_over(stale) -> None:
    with pytest.raises(NoProducerError, match=r"e\.sst is left over from one that is gone"):
        next(ring(open_timeout=1).events())
    assert Path("e.sst").read_text() == stale


def test_a_contact_file_may_be_left_over_until_a_producer_comes(stale, producer) -> None:
    source = ring()
    late = threading.Timer(1.0, producer, kwargs={"count": 3})
    late.start()
    try:
        assert kept(source.events()) == [0, 10, 20, Finished()]
    finally:
        late.join()


def test_what_is_no_contact_file_at_all() -> None:
    Path("e.sst").write_text("not of ADIOS2")
    with pytest.raises(NoProducerError, match="left over"):
        next(ring(open_timeout=1).events())


CONSUMER = """
from test_sst import ring

if __name__ == "__main__":
    for event in ring().events():
        print(event.iteration, flush=True)
"""


@pytest.mark.parametrize("policy", ["block", "drop"])
def test_a_consumer_that_is_killed_comes_back_and_names_what_it_lost(
    producer, start, policy
) -> None:
    """The producer waits for nobody in between, whatever its policy."""
    writer = producer(
        count=10_000, fault="rest", announced=False, write={"policy": policy, "queue_limit": 2}
    )
    Path("consumer.py").write_text(CONSUMER)
    consumer = start("consumer.py")
    assert consumer.stdout is not None
    seen = [int(consumer.stdout.readline()) for _ in range(3)]
    assert seen == [0, 10, 20]
    consumer.kill()
    consumer.communicate(timeout=LONG)
    time.sleep(1.0)
    events = with_gaps(ring().events(after=20), expected=10, after=20)
    gap, step = next(events), next(events)
    assert isinstance(gap, Gap)
    assert isinstance(step, Step)
    first = step.iteration
    assert (gap.first, gap.last) == (30, first - 10)
    assert first > 60  # a second was lost, ten steps or so
    Path("enough").touch()
    *rest, ending = kept(events)
    assert rest == list(range(first + 10, first + 10 + 10 * len(rest), 10))
    assert ending == Finished()
    assert ended(writer)[0] == 0


def test_block_waits_for_a_slow_consumer(producer) -> None:
    producer(count=12)
    events = RingSource(partial(SSTSource, "e.sst"), slots=2, open_timeout=LONG).events()
    first = next(events)
    time.sleep(1.0)  # the producer could have written a thousand steps
    assert [first.iteration, *kept(events)] == [*range(0, 120, 10), Finished()]


def test_drop_loses_what_a_slow_consumer_has_no_room_for(producer) -> None:
    producer(count=200, at=1990, write={"policy": "drop"})
    source = ring()
    events = with_gaps(source.events(), source.describe().iterations)
    first = next(events)
    wait_until(Path("reached").exists)  # the producer waited for nobody
    Path("go").touch()
    said = [first, *events]
    told = [e.iteration for e in said if isinstance(e, Step)]
    for event in said:
        if isinstance(event, Gap):
            told += range(event.first, event.last + 10, 10)
    assert sorted(told) == list(range(0, 2000, 10))
    assert any(isinstance(event, Gap) for event in said)
    assert said[-1] == Finished()


def test_without_waiting_a_producer_needs_no_reader(producer) -> None:
    writer = producer(count=5, write={"wait_for_reader": False})
    assert ended(writer) == (0, "")
    assert not Path("e.sst").exists()


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ({"path": "e.bp"}, r"e\.bp must end in \.sst"),
        ({"path": "e_%T.sst"}, r"give it one name .*--openPMD\.infix NULL"),
        ({"open_timeout": 0}, "open_timeout is 0; it must be more than 0 seconds"),
        ({"cartesian_points": 1}, "cartesian_points is 1; expected two or more"),
    ],
)
def test_what_makes_no_source_is_refused(arguments, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        SSTSource(**{"path": "e.sst", **arguments})


@pytest.mark.parametrize(
    "arguments, error, problem",
    [
        ({"queue_limit": 0}, ValueError, "queue_limit is 0; .* 0 for no limit"),
        ({"policy": "wait"}, ValueError, "policy is 'wait'; choose one of block, drop"),
        ({"readers": 0}, ValueError, "readers is 0; expected 1 or more"),
        ({"readers": 2, "wait_for_reader": False}, ValueError, "readers is 2, which counts only"),
        ({"path": "e.h5"}, ValueError, r"e\.h5 must end in \.sst"),
        ({"path": "nowhere/e.sst"}, FileNotFoundError, "no folder nowhere"),
    ],
)
def test_what_cannot_be_streamed_is_refused(producers, arguments, error, problem) -> None:
    with pytest.raises(error, match=problem):
        write_sst(**{"path": "e.sst", "source": producers.Numbers(), **arguments})


def test_the_file_reader_says_what_reads_a_stream() -> None:
    with pytest.raises(ValueError, match=r"e\.sst is a network stream.*SSTSource"):
        OpenPMDSeries("e.sst")
