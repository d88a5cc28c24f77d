"""What a stream says while it runs, and what is shown of it before, while and after."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from insituml.atomic_file import write_json
from insituml_pipelines import watch as command
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.stream import SECTIONS, main
from insituml_pipelines.transit.live import BROKEN, ENDED, FILE, RUNNING, Live, LiveFile
from insituml_pipelines.watch import GONE, watch
from insituml_pipelines.watching.reading import Watched, clock
from insituml_pipelines.watching.view import view_of
from insituml_pipelines.watching.words import line_of

STREAM = [
    *("data=efield_npy", "data.path=fields", "data.split.tasks=3", "data.split.chunk=[1,4,2]"),
    *("data.split.holdout=0.3", "tracking=none", "model=mlp", "model.hidden_sizes=[6]"),
    *("model.latent_size=2", "training.batch_size=3", "training.seeds=[0,1]"),
    *("training.memory_size=9", "transit.batches_per_iteration=2", "transit.task_samples=8"),
    "transit.methods=[naive,joint]",
]
LIVE = Live(
    state=RUNNING,
    data="pic",
    planned=100,
    passed=40,
    learned=38,
    iteration=410,
    seconds=20.0,
    waited=5.0,
    lag=0.25,
    ready=True,
    losses={"naive": 0.5, "ewc": 0.25},
    memory={"naive": {"held": 1_000_000, "bound": 2_000_000, "stored": 0}},
    gap_count=1,
    lost=2,
    gaps=[[100, 110, "dropped"]],
    rejected_count=9,
    rejected=[[k, "NaN"] for k in range(300, 390, 10)],
)


@pytest.fixture
def written(monkeypatch) -> list[Live]:
    """Collect what a stream writes, every time that it could."""
    found: list[Live] = []
    say = LiveFile.say

    def listening(self: LiveFile, *state: str, **facts: Any) -> None:
        self.every = 0.0
        say(self, *state, **facts)
        found.append(copy.deepcopy(self.live))

    monkeypatch.setattr(LiveFile, "say", listening)
    return found


def test_a_stream_says_how_it_goes(tools, tmp_path, monkeypatch, written, nothing_drawn) -> None:
    tools.write_fields(tmp_path / "fields", 14)
    np.save(tmp_path / "fields/data_600.npy", np.full((3, *tools.FIELD_SHAPE), np.nan, np.float32))
    monkeypatch.chdir(tmp_path)
    main(tools.invoke(tmp_path, SECTIONS, *STREAM))
    states = [live.state for live in written]
    assert states[-1] == ENDED
    assert set(states[:-1]) == {RUNNING}
    assert written[-1].words == "the producer finished"
    passed = [live.passed for live in written[1:]]
    assert passed == sorted(passed)
    assert {live.planned for live in written[1:]} == {14}
    last = written[-1]
    assert (last.passed, last.learned, last.iteration) == (14, 13, 1300)
    assert (last.rejected_count, last.lost, last.gaps) == (1, 0, [])
    assert last.rejected[0][0] == 600
    assert set(last.losses) == {"naive"}  # joint trains when all is there
    assert last.losses["naive"] > 0
    held = [live.memory["naive"] for live in written if live.memory.get("naive", {}).get("held")]
    assert held
    # Three iterations of 4 chunks and 8 samples of the task; a chunk is 3 × 1 × 4 × 2 float32.
    assert {memory["bound"] for memory in held} == {(3 * 4 + 8) * 3 * 8 * 4}
    assert all(memory["held"] <= memory["bound"] for memory in held)
    assert last.memory["joint"]["bound"] == 0
    assert last.memory["joint"]["held"] > 0
    assert last.lag is not None
    assert last.lag >= 0
    assert last.seconds >= last.waited > 0
    seen = Watched(tmp_path / "transit").look()
    assert seen is not None
    assert seen.over
    assert seen.live == last


def test_a_stream_that_breaks_off_says_why(tools, tmp_path, monkeypatch, written) -> None:
    tools.write_fields(tmp_path / "fields", 14)
    np.save(tmp_path / "fields/data_600.npy", np.full((3, *tools.FIELD_SHAPE), np.nan, np.float32))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        main(tools.invoke(tmp_path, SECTIONS, *STREAM, "transit.on_bad_iteration=fail"))
    assert {live.state for live in written[:-1]} == {RUNNING}
    assert written[-1].state == BROKEN
    assert written[-1].words.startswith("iteration 600 cannot be learned from")


def write(folder: Path, live: Live) -> None:
    write_json(folder / FILE, asdict(live))


def test_it_follows_from_before_the_beginning_to_the_end(tmp_path) -> None:
    """States come one after the other; the rate goes over the last of them."""
    steps = [None, LIVE, replace(LIVE, written=10.0), replace(LIVE, passed=50, written=14.0)]
    steps.append(
        replace(LIVE, state=ENDED, words="the producer finished", passed=100, written=20.0)
    )
    shown: list[str] = []

    def show(seen: Any) -> None:
        shown.append(line_of(seen))
        if (following := steps[len(shown)] if len(shown) < len(steps) else None) is not None:
            write(tmp_path, following)

    assert watch(Watched(tmp_path), show, 0.0, following=False) == 0
    assert shown[0] == "watch: no stream has begun"
    assert shown[1] == (
        "watch: pic, running, 40/100 iterations, 1.9 iterations/s, lag 0.25 s, "
        "the next one is there, waiting 25 %, naive 0.5, ewc 0.25, 2 lost, 9 rejected, 0:32 left"
    )
    assert "0.714 iterations/s" in shown[3]  # 10 in 14 s
    assert shown[4].startswith("watch: pic, ended: the producer finished, 100/100 iterations")
    assert len(shown) == 5


def test_a_process_that_was_killed_is_gone(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    write(tmp_path, replace(LIVE, process=process.pid))
    shown: list[Any] = []
    assert watch(Watched(tmp_path), shown.append, 0.0, following=False) == GONE
    assert f"process {process.pid} is gone" in line_of(shown[0])
    write(tmp_path, replace(LIVE, process=process.pid, host="elsewhere"))
    seen = Watched(tmp_path).look()
    assert seen is not None
    assert not seen.over  # nobody here can know


def test_the_next_stream_is_waited_for_when_asked(tmp_path) -> None:
    write(tmp_path, replace(LIVE, state=ENDED, process=1))
    shown: list[Any] = []

    def show(seen: Any) -> None:
        shown.append(seen)
        write(tmp_path, replace(LIVE, state=BROKEN, process=os.getpid()))

    assert watch(Watched(tmp_path), show, 0.0, following=True) == GONE
    assert shown[0] is None
    assert shown[1].live.state == BROKEN


def test_a_terminal_sees_all_of_it(tmp_path) -> None:
    write(tmp_path, LIVE)
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(view_of(Watched(tmp_path).look(), "transit"))
    console.print(view_of(None, "transit"))
    text = console.export_text()
    for part in (
        "pic · running",
        "40 of 100, the last is 410, 0:32 left",
        "1.9 iterations/s",
        "0.25 s, the next one is there",
        "25 % of 0:20",
        "2 in 1 gaps; 9 rejected",
        "gaps: 100–110, dropped",
        "rejected: 3 earlier ones",
        "rejected: 380, NaN",
        "no stream has begun in transit",
    ):
        assert part in text
    (row,) = [line for line in text.splitlines() if "naive" in line]
    assert row.strip("│ ").split("  ")[0] == "naive"
    assert "1 MB" in row
    assert "2 MB" in row
    assert [clock(59.6), clock(62), clock(3661)] == ["1:00", "1:02", "1:01:01"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--every", "0"], "--every is 0; expected seconds from 0.05 to 3600"),
        (["--every", "x"], "argument --every: invalid float value: 'x'"),
        (["file"], "file is a file; give the folder of a stream's results"),
        (["damaged"], "live.json"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged/timings").mkdir(parents=True)
    (tmp_path / "damaged" / FILE).write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["watch", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.command()
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert said in output
    assert output.count("\n") == 1


def test_an_ensemble_shows_each_simulation(tmp_path) -> None:
    one = {"name": "low", "state": "running", "iteration": 30, "learned": 4, "lag": 0.5}
    gone = {"name": "high", "state": "absent", "iteration": None, "learned": 0, "lag": None}
    write_json(tmp_path / FILE, asdict(replace(LIVE, simulations=[one, gone], written=1.0)))
    seen = Watched(tmp_path).look()
    console = Console(file=io.StringIO(), width=100)
    console.print(view_of(seen, "transit"))
    shown = console.file.getvalue().splitlines()
    assert any("low" in line and "running" in line and "0.5 s" in line for line in shown)
    assert any("high" in line and "absent" in line for line in shown)
    assert "low running at 30, high absent at None" in line_of(seen)


def test_ctrl_c_ends_it_cleanly(tmp_path, monkeypatch, capsys) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    monkeypatch.setattr(sys, "argv", ["watch", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        command.command()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "watch: no stream has begun\n"
