"""The producing command: what it streams arrives, and it ends cleanly however it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.step import Step
from insituml.stream import FieldStream, Finished, ProducerDied, RingSource, SSTSource
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data, Produce, Transit, validate
from insituml_pipelines.data.sources import build_source
from insituml_pipelines.produce import SECTIONS, main, produce
from insituml_pipelines.transit.source import open_ring

ROOT = Path(__file__).parents[2]
LONG = 50.0  # seconds that a loaded machine may take
SMALL = ["data=lwfa", "data.source.shape=[2,256,2]", "data.source.iterations=6"]

pytestmark = pytest.mark.skipif("sst" not in io.file_extensions, reason="ADIOS2 without SST")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in a process of its own."""
    started = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "insituml_pipelines.produce", *SMALL, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
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


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line that the command printed."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def ring(path: str) -> RingSource:
    return RingSource(partial(SSTSource, path, open_timeout=LONG), open_timeout=LONG)


def test_the_field_of_data_arrives_in_another_process(start, tools, tmp_path) -> None:
    producer = start()
    assert said(producer) == "produce: waiting for a reader of lwfa.sst"
    section = tools.invoke(tmp_path, SECTIONS, *SMALL).section("data")
    here = FieldStream(build_source(validate(Data, section, "data")))
    there = ring("lwfa.sst")
    assert there.describe().iterations == tuple(range(6))
    assert there.describe().parameters["a0"] == 4.0
    for event, expected in zip(there.events(), here.events(), strict=True):
        if isinstance(expected, Step):
            assert (event.iteration, event.time) == (expected.iteration, expected.time)
            assert event.values.tobytes() == expected.values.tobytes()
    assert event == Finished()
    out, complaints = producer.communicate(timeout=LONG)
    assert producer.returncode == 0, complaints
    assert out == "produce: 6 iterations of lwfa were written to lwfa.sst\n"
    assert not Path("lwfa.sst").exists()


@pytest.mark.parametrize("when", ["nobody reads yet", "a reader waits", "its parent is killed"])
def test_it_can_be_stopped_at_any_time_and_readers_notice(start, when) -> None:
    producer = start("produce.output=e.sst", "produce.delay=600")
    assert said(producer) == "produce: waiting for a reader of e.sst"
    events = None
    if when != "nobody reads yet":
        events = ring("e.sst").events()
        assert next(events).iteration == 0
    else:
        wait_until(Path("e.sst").exists)
    producer.send_signal(signal.SIGKILL if when == "its parent is killed" else signal.SIGINT)
    _, complaints = producer.communicate(timeout=LONG)
    if events is not None:
        (ending,) = events
        assert isinstance(ending, ProducerDied)
    if when == "its parent is killed":
        return
    assert producer.returncode == 130
    *_, last = complaints.strip().splitlines()  # above it, the bar
    assert last == "error: stopped; readers of e.sst see that the producer died"
    assert not Path("e.sst").exists()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_it_does_not_wait_longer_than_it_may(tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, SECTIONS, *SMALL, "produce.open_timeout=0.5")
    with pytest.raises(UserError, match=r"nobody read lwfa\.sst within 0\.5 s; start its reader"):
        main(call)
    assert not Path("lwfa.sst").exists()


def test_it_need_not_wait(tools, tmp_path, capsys) -> None:
    main(tools.invoke(tmp_path, SECTIONS, *SMALL, "produce.wait_for_reader=false"))
    assert capsys.readouterr().out == "produce: 6 iterations of lwfa were written to lwfa.sst\n"


def test_a_source_that_fails_is_a_clear_error(tools, tmp_path) -> None:
    """The last file cannot be read: readers see a death, not an end."""
    tools.write_fields(tmp_path / "fields", steps=3)
    np.save(tmp_path / "fields/data_200.npy", np.zeros((3, 1, 1, 1)))
    data = tools.field_data(tmp_path / "fields")
    values = {**tools.invoke(tmp_path, SECTIONS).section("produce"), "output": "e.sst"}
    options = validate(Produce, {**values, "wait_for_reader": False}, "produce")
    with pytest.raises(UserError, match=r"data_200\.npy"):
        produce(data, options)


@pytest.mark.parametrize(
    "override, problem",
    [
        ("produce.queue_limit=0", "produce: queue_limit is 0; expected 1 or more: ADIOS2 takes 0"),
        ("produce.queue_limit=x", "produce.queue_limit is 'x': input should be a valid integer"),
        ("produce.policy=wait", "produce: policy is 'wait'; choose one of block, drop"),
        ("produce.output=e.bp", "produce: e.bp must end in .sst"),
        ("produce.output=nowhere/e.sst", "produce.output is nowhere/e.sst, but there is no folder"),
        ("produce.delay=-1", "produce.delay is -1"),
        ("produce.open_timeout=0", "produce.open_timeout is 0"),
        (
            "+produce.queue=1",
            "produce.queue is not a key of produce; accepted: output, ",
        ),
        ("data.source.iterations=0", "data=lwfa: "),
    ],
)
def test_mistakes_cost_one_line(override, problem, tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, SECTIONS, *SMALL, override)
    with pytest.raises(UserError) as caught:
        main(call)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_a_reader_is_given_what_adios2_loses_on_the_command_line(tools, tmp_path) -> None:
    where = ["data=openpmd", "data.path=lwfa.sst"]

    def source(override: str) -> SSTSource:
        call = tools.invoke(tmp_path, ["data", "transit"], *where, override)
        transit = validate(Transit, call.section("transit"), "transit")
        return open_ring(validate(Data, call.section("data"), "data"), transit).factory()

    assert source("+data.source.axis_labels=[z,y,x]").axis_labels == ["z", "y", "x"]
    assert source("data.source.record=B").axis_labels is None
    with pytest.raises(UserError, match=r"data\.source\.labels is not an option of .*axis_labels"):
        source("+data.source.labels=[z,y,x]")


def test_points_are_no_field(tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, SECTIONS, "data=toy8")
    with pytest.raises(UserError, match="data=toy8 are points, but openPMD streams carry fields"):
        main(call)


def test_the_section_is_what_the_command_reads(tools, tmp_path) -> None:
    section = tools.invoke(tmp_path, SECTIONS, *SMALL).section("produce")
    options = validate(Produce, section, "produce")
    assert (options.output, options.queue_limit, options.policy) == ("lwfa.sst", 2, "block")
    assert (options.wait_for_reader, options.open_timeout, options.delay) == (True, None, 0.0)
