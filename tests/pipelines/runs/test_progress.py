"""Bars move by steps while a task is learned, on a terminal alone; timings say who else trained."""

from __future__ import annotations

import io
import json
import sys

import pytest

from insituml import progress
from insituml.training import EpochRecord
from insituml_pipelines.runs.pool import beside, train_all
from insituml_pipelines.runs.progress import StepBar, StreamBar
from insituml_pipelines.runs.publish import publish


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch) -> Terminal:
    """Not a fixture: pytest captures anew after setting up."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    return terminal


BUDGET = {"budget": 25, "accumulate": 2}


@pytest.mark.parametrize(
    "method, more", [("naive", {}), ("joint", {}), ("agem", BUDGET), ("joint", BUDGET)]
)
def test_a_bar_ends_where_training_does(method, more, monkeypatch, make_run, tools, points) -> None:
    """With workers too: ``test_pool.py`` counts the steps that come from them."""
    terminal = on_a_terminal(monkeypatch)
    training = {**tools.TRAINING, **more}
    runs = [make_run(method, seed=s, training=training) for s in (0, 1)]
    shown = StepBar("train", runs, [task.train for task in points.manifest.tasks])
    before: list[int] = []  # where the bar stood at the end of each epoch

    def listen(run: object, record: object) -> None:
        if isinstance(record, EpochRecord):
            before.append(shown.bar.n)
            shown.hear(run, record)

    train_all(runs, 0, 1, listen, shown.move)
    steps = sum(run.timing()["steps"] for run in runs)
    assert shown.bar.n == shown.bar.total == steps
    assert before == sorted(before)
    assert 0 < before[0] < before[-1] == steps
    shown.bar.close()
    assert "step" in terminal.getvalue()
    # What is already done stands there from the start.
    assert StepBar("train", runs, [9, 9, 9]).bar.n == steps


def test_an_iteration_of_a_stream_moves_by_its_steps(monkeypatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr("insituml_pipelines.runs.progress.SHOW_SECONDS", 0.0)
    shown = StreamBar(4)
    shown.come_to(1, "loss 2")
    shown.move(7)
    assert shown.bar.n == 1
    assert "loss 2, 7 steps" in terminal.getvalue()
    shown.close()


def test_nothing_is_drawn_where_there_is_no_terminal(capsys, make_run) -> None:
    run = make_run()
    shown = StepBar("train", [run], [9, 9, 9])
    train_all([run], 0, 1, lambda run, record: None, shown.move)
    shown.bar.close()
    stream = StreamBar(3)
    stream.move(5)
    stream.close()
    said = capsys.readouterr()
    assert said.out + said.err == ""


@pytest.mark.parametrize("workers, together", [(0, 1), (1, 1), (2, 2), (5, 2)])
def test_timings_say_how_many_trained_at_once(workers, together, make_run, tmp_path) -> None:
    """What workers are handed, trained here; ``test_pool.py`` looks at what real ones note."""
    runs = beside([make_run("naive", seed=s) for s in (0, 1)], workers)
    train_all(runs, 0, 1, lambda run, record: None)
    publish(runs, tmp_path)
    noted = json.loads((tmp_path / "timings/naive.json").read_text())
    assert [timing["side_by_side"] for timing in noted.values()] == [together, together]
