"""Several simulations as one stream: who is heard when, and what is said of those that fail."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insituml.data.ensemble import Ensemble, Simulation, ensemble_windows, numbered
from insituml.data.step import Grid, Step
from insituml.data.windows import TaskWindows
from insituml.stream import (
    Description,
    Finished,
    NoProducerError,
    ProducerDied,
    Rejected,
    RingSource,
)
from insituml.stream.ensemble import EnsembleStream
from insituml.stream.ensemble_events import Change, Lost
from insituml.stream.recruits import Found, Started
from tests.stream.ring_producers import Numbers

GRID = Grid((2, 3), (1.0, 1.0), (0.0, 0.0), ("x", "y"))
ITERATIONS = tuple(range(0, 60, 10))
SILENCE = None


class Scripted:
    """A ring whose producer says what is written down: iterations, None for silence, an ending."""

    stall_timeout, open_timeout, lag, _child = 0.02, 5.0, None, None

    def __init__(
        self,
        script: Iterable[Any],
        shape: Any = (2, 3),
        spacing: Any = (1.0, 1.0),
        axes: Any = ("x", "y"),
        iterations: Any = ITERATIONS,
        **parameters: float,
    ) -> None:
        self.script = iter(script)
        grid = Grid(shape, spacing, (0.0, 0.0), axes)
        self.description = Description(("E",), "V/m", grid, iterations, parameters={**parameters})
        self.closed = False
        self.began_after: int | None = None

    def start(self) -> None: ...

    def ready(self) -> bool:
        return True

    def describe(self) -> Description:
        return self.description

    def begin(self, after: int | None) -> None:
        self.began_after = after

    def take(self, timeout: float) -> Any:
        said = next(self.script, SILENCE)
        return Step(said, 0.0, np.zeros((1, 2, 3))) if isinstance(said, int) else said

    def kill(self) -> None:
        self.closed = True

    close = kill


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insituml.stream.waiting.WAIT_SECONDS", 0.001)


def laid_out(most: int, tasks: str = "time") -> tuple[Ensemble, TaskWindows]:
    one = TaskWindows.in_time(ITERATIONS, 2 if tasks == "time" else 1, 0.3)
    ensemble = numbered(most, one.last, tasks)
    return ensemble, ensemble_windows(one, ensemble, most)


def started(rings: list[Callable[[], Any]], restarts: int = 0, **options: Any) -> EnsembleStream:
    simulations = [Simulation(f"s{k}", {"a0": float(k)}) for k in range(len(rings))]
    options = {"most": len(rings), "slots": 2, "join_timeout": 0.05, **options}
    return EnsembleStream(Started(simulations, rings, restarts), **options)


def scripted(*scripts: Iterable[Any], **options: Any) -> EnsembleStream:
    return started([partial(Scripted, script) for script in scripts], **options)


def followed(stream: EnsembleStream, tasks: str = "time", after: Any = None) -> list[Any]:
    """Return what a stream says: simulation and iteration of steps, lines, and its ending."""
    ensemble, windows = laid_out(stream.most, tasks)
    said: list[Any] = []
    with stream:
        stream.describe()
        for event in stream.events(ensemble, windows, ITERATIONS, after):
            if isinstance(event, Step):
                place = ensemble.place(event.iteration)
                assert event.metadata["simulation"] == place[0]
                said.append(place)
            else:
                said.append(str(event) if isinstance(event, Change | Lost) else event)
    return said


def steps(said: list[Any]) -> list[tuple[int, int]]:
    return [entry for entry in said if isinstance(entry, tuple)]


WHOLE = (*ITERATIONS, Finished())


def test_all_come_and_tasks_by_time_wait_for_the_slowest() -> None:
    slow = [x for n in WHOLE for x in (SILENCE, SILENCE, n)]
    said = followed(scripted(WHOLE, slow, WHOLE))
    assert sorted(steps(said)) == [(s, n) for s in range(3) for n in ITERATIONS]
    assert isinstance(said[-1], Finished)
    tasks = [n >= 30 for _, n in steps(said)]
    assert tasks == sorted(tasks)
    assert said[:3] == [f"s{k} joined: a0={k}" for k in range(3)]
    assert "s0 finished: 6 iterations" in said


def test_of_those_that_are_there_who_sent_the_fewest_is_next() -> None:
    said = steps(followed(scripted(WHOLE, WHOLE), "none"))
    assert said == [(s, n) for n in ITERATIONS for s in range(2)]


def test_a_fast_one_does_not_wait_within_a_task() -> None:
    said = steps(followed(scripted(WHOLE, [*[SILENCE] * 9, *WHOLE]), "none"))
    assert said[:6] == [(0, n) for n in ITERATIONS]


def test_tasks_by_simulation_come_one_after_the_other() -> None:
    said = steps(followed(scripted([SILENCE, SILENCE, *WHOLE], WHOLE), "simulation"))
    assert said == [(s, n) for s in range(2) for n in ITERATIONS]


@pytest.mark.parametrize("tasks", ["time", "none", "simulation"])
def test_in_turn_the_order_does_not_depend_on_who_is_faster(tasks) -> None:
    slow = [x for n in WHOLE for x in (SILENCE, n)]
    pairs = ((WHOLE, slow), (slow, WHOLE))
    orders = [steps(followed(scripted(*pair, in_turn=True), tasks)) for pair in pairs]
    expected = [(s, n) for n in ITERATIONS for s in range(2)]
    assert orders == [sorted(expected) if tasks == "simulation" else expected] * 2


def test_one_that_dies_loses_what_it_has_not_delivered_and_no_other_does() -> None:
    said = followed(scripted(WHOLE, [0, 10, ProducerDied("killed")], WHOLE))
    assert sorted(steps(said)) == sorted(
        [*((s, n) for s in (0, 2) for n in ITERATIONS), (1, 0), (1, 10)]
    )
    assert "s1 died: killed" in said
    assert "s1: iterations 20 to 50 are lost, undelivered: it died (killed)" in said
    assert isinstance(said[-1], Finished)


def test_one_that_stalls_is_left_behind() -> None:
    said = followed(scripted(WHOLE, [0, *[SILENCE] * 10**6]))
    assert "s1 stalled: nothing for 0.02 s" in said
    assert len(steps(said)) == 7
    assert "s1: iterations 10 to 50 are lost, undelivered: it stalled (nothing for 0.02 s)" in said


def test_one_that_is_started_again_goes_on_after_its_last_iteration() -> None:
    rings = [Scripted([0, 10, ProducerDied("killed")]), Scripted((20, *WHOLE[3:]))]
    stream = started([iter(rings).__next__, partial(Scripted, WHOLE)], restarts=1)
    said = followed(stream)
    assert [ring.began_after for ring in rings] == [None, 10]
    assert "s0 restarted: it goes on after iteration 10" in said
    assert sorted(steps(said)) == [(s, n) for s in range(2) for n in ITERATIONS]
    assert not [line for line in said if "lost" in str(line)]


def test_iterations_missing_in_between_are_named() -> None:
    said = followed(scripted([0, 10, 40, Finished()]))
    reason = "missing: the source neither delivered nor reported them"
    assert [line for line in said if "lost" in str(line)] == [
        f"s0: iterations 20 to 30 are lost, {reason}",
        f"s0: iterations 50 to 50 are lost, {reason}",
    ]


def found(tmp_path, scripts: dict[str, list[Any]], **options: Any) -> EnsembleStream:
    """Streams found by their contact files; each opening takes the next script of its name."""

    def ring(path: str) -> Any:
        return scripts[Path(path).name].pop(0)

    options = {"most": 2, "slots": 2, "join_timeout": 0.1, **options}
    recruits = Found(str(tmp_path / "*.sst"), ring, options["most"])
    return EnsembleStream(recruits, **options)


def test_late_ones_join_and_restarted_ones_are_not_learned_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("insituml.stream.recruits.LOOK_SECONDS", 0.0)
    (tmp_path / "a.sst").write_text("first")
    (tmp_path / "empty.sst").touch()

    def dies() -> Iterator[Any]:
        yield from (0, 10, 20)
        (tmp_path / "b.sst").write_text("late")
        yield 30
        (tmp_path / "a.sst").write_text("again")
        yield ProducerDied("killed")

    scripts = {
        "a.sst": [Scripted(dies(), a0=1.0), Scripted([0, 10, 20, 30, 40, 50, Finished()])],
        "b.sst": [Scripted(WHOLE, a0=2.0)],
    }
    said = followed(found(tmp_path, scripts))
    assert steps(said)[:3] == [(0, 0), (0, 10), (0, 20)]
    assert sorted(steps(said)) == [(s, n) for s in range(2) for n in ITERATIONS]
    assert [line for line in said if isinstance(line, str)] == [
        "a joined: a0=1",
        "b joined: a0=2",
        "a died: killed",
        "a restarted: it goes on after iteration 30",
        "a repeated: iterations 0 to 30, which are not learned twice",
        *(line for line in said if "finished" in str(line)),
    ]


@pytest.mark.parametrize(
    "ring, words",
    [
        (Scripted([], (2, 4), a0=1.0), r"its shape are \(1, 2, 4\), those here \(1, 2, 3\)"),
        (Scripted([], spacing=(1.0, 2.0), a0=1.0), r"its spacing is \(1.0, 2.0\), that here"),
        (Scripted([], axes=("y", "x"), a0=1.0), r"its axes are \('y', 'x'\), those here \('x',"),
        (Scripted([], iterations=(0, 5, 10), a0=1.0), "it has iteration 5, which those here"),
        (Scripted([]), "it does not say its a0"),
        (Scripted([], a0=3.0), "1 simulations have joined"),
    ],
)
def test_what_does_not_fit_is_refused_and_named_once(ring, words, tmp_path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.sst").write_text(name)
    scripts = {"a.sst": [Scripted(WHOLE, a0=1.0)], "b.sst": [ring]}
    most = 1 if "joined" in words else 2
    said = followed(found(tmp_path, scripts, required=["a0"], most=most))
    (line,) = [line for line in said if str(line).startswith("b ")]
    assert re.match(f"b refused: {words}", line)
    assert steps(said) == [(0, n) for n in ITERATIONS]


def test_a_stream_goes_on_from_its_state(tmp_path) -> None:
    ensemble, windows = laid_out(2)
    first = scripted(WHOLE, WHOLE)
    seen: list[tuple[int, int]] = []
    with first:
        first.describe()
        for event in first.events(ensemble, windows, ITERATIONS):
            if isinstance(event, Step):
                seen.append(ensemble.place(event.iteration))
                if len(seen) == 5:
                    state = first.state_dict()
                    break
    rings = [Scripted(n for n in WHOLE if n not in seen_of(seen, k)) for k in range(2)]
    said = followed(started([lambda r=r: r for r in rings]), after=state)
    assert [r.began_after for r in rings] == [20, 10]
    assert sorted(seen + steps(said)) == [(s, n) for s in range(2) for n in ITERATIONS]


def seen_of(seen: list[tuple[int, int]], simulation: int) -> list[int]:
    return [n for s, n in seen if s == simulation]


def broken_off(stream: EnsembleStream, after: int) -> dict[str, Any]:
    """Return the state of a stream after so many steps, at which its consumer ends."""
    ensemble, windows = laid_out(stream.most)
    with stream:
        stream.describe()
        for event in stream.events(ensemble, windows, ITERATIONS):
            after -= isinstance(event, Step)
            if not after:
                return stream.state_dict()
    raise AssertionError("it ended before")


@pytest.mark.parametrize("in_turn", [False, True])
def test_one_that_has_finished_or_does_not_come_back_is_no_fault(
    in_turn, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("insituml.stream.recruits.LOOK_SECONDS", 0.0)

    def again(**scripts: Any) -> EnsembleStream:
        for file in tmp_path.iterdir():
            file.unlink()
        for name in scripts:
            (tmp_path / f"{name}.sst").write_text(name)
        rings = {f"{name}.sst": [Scripted(s)] for name, s in scripts.items()}
        return found(tmp_path, rings, in_turn=in_turn)

    state = broken_off(again(a=WHOLE, b=WHOLE), 5)
    assert [m["last"] for m in state["members"].values()] == [20, 10]
    said = followed(again(a=WHOLE), after=state)
    assert steps(said) == [(0, 30), (0, 40), (0, 50)]
    assert "b: iterations 20 to 50 are lost, undelivered: it did not come back" in said
    state["members"]["a"]["done"] = True
    said = followed(again(b=WHOLE), after=state)
    assert steps(said) == [(1, n) for n in ITERATIONS[2:]]
    assert not [line for line in said if "lost" in str(line)]


def test_what_a_dead_one_did_not_deliver_comes_when_it_is_started_anew() -> None:
    stream = scripted([0, 10, ProducerDied("killed")])
    said = followed(stream)
    assert "s0: iterations 20 to 50 are lost, undelivered: it died (killed)" in said
    assert said[-1] == ProducerDied("s0 died (killed)")
    ring = Scripted(WHOLE[2:])
    said = followed(started([lambda: ring]), after=stream.state_dict())
    assert ring.began_after == 10
    assert steps(said) == [(0, n) for n in ITERATIONS[2:]]


def test_who_breaks_off_at_a_bad_iteration_comes_to_it_again() -> None:
    script = [0, 10, Rejected(20, "NaN"), *WHOLE[3:]]
    stream = scripted(script)
    ensemble, windows = laid_out(1)
    with stream:
        stream.describe()
        for event in stream.events(ensemble, windows, ITERATIONS):
            if isinstance(event, Rejected):
                break
        assert stream.state_dict()["members"]["s0"]["last"] == 10
    said = followed(scripted(script))
    assert steps(said) == [(0, n) for n in ITERATIONS if n != 20]
    assert not [line for line in said if "lost" in str(line)]


def test_a_stream_that_comes_again_with_other_parameters_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("insituml.stream.recruits.LOOK_SECONDS", 0.0)
    for name in "ab":
        (tmp_path / f"{name}.sst").write_text("first")

    def dies() -> Iterator[Any]:
        (tmp_path / "a.sst").write_text("again")
        yield ProducerDied("killed")

    again = Scripted(WHOLE, a0=9.0)
    scripts = {"a.sst": [Scripted(dies(), a0=1.0), again], "b.sst": [Scripted(WHOLE, a0=2.0)]}
    stream = found(tmp_path, scripts)
    said = followed(stream)
    assert "a refused: a0 is 9, was 1: another simulation" in said
    assert steps(said) == [(1, n) for n in ITERATIONS]
    # So it is where the first one was before an interruption.
    (tmp_path / "b.sst").unlink()
    said = followed(found(tmp_path, {"a.sst": [again]}), after=stream.state_dict())
    assert "a refused: a0 is 9, was 1: another simulation" in said
    assert not steps(said)


def test_one_that_could_not_start_is_named_with_all_its_iterations() -> None:
    class Absent(Scripted):
        def describe(self) -> Description:
            raise NoProducerError("the producer could not start: no executable")

    said = followed(started([partial(Scripted, WHOLE), partial(Absent, [])]))
    why = "the producer could not start: no executable"
    assert f"s1 refused: {why}" in said
    assert f"s1: iterations 0 to 50 are lost, undelivered: it was refused ({why})" in said
    assert isinstance(said[-1], Finished)


def test_in_turn_all_are_waited_for_and_have_the_same_iterations(tmp_path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.sst").write_text(name)
    scripts = {"a.sst": [Scripted(WHOLE)], "b.sst": [Scripted([], iterations=ITERATIONS[:4])]}
    stream = found(tmp_path, scripts, in_turn=True, open_timeout=0.05)
    with pytest.raises(NoProducerError, match=r"1 of 2 simulations .*; b was refused \(its iter"):
        followed(stream)


def test_the_next_task_waits_for_one_that_is_started_again() -> None:
    rings = [Scripted([0, ProducerDied("killed")]), Scripted([SILENCE, SILENCE, *WHOLE[1:]])]
    said = followed(started([iter(rings).__next__, partial(Scripted, WHOLE)], restarts=1))
    tasks = [n >= 30 for _, n in steps(said)]
    assert len(tasks) == 12
    assert tasks == sorted(tasks)


class Silent(Scripted):
    """Says nothing beforehand, once it is open."""

    def ready(self) -> bool:
        return self.began_after is None

    def begin(self, after: int | None) -> None:
        self.began_after = -1


def test_what_waits_for_its_task_is_not_ready() -> None:
    stream = started([partial(Scripted, WHOLE), partial(Silent, [*[SILENCE] * 12, *WHOLE])])
    ensemble, windows = laid_out(2)
    ready = {}
    with stream:
        stream.describe()
        for event in stream.events(ensemble, windows, ITERATIONS):
            if isinstance(event, Step):
                ready[ensemble.place(event.iteration)] = stream.ready()
    assert list(ready)[:3] == [(0, 0), (0, 10), (0, 20)]
    assert list(ready.values())[:3] == [True, True, False]


def test_names_are_different_and_what_cannot_be_read_ends_nobody(tmp_path, monkeypatch) -> None:
    for name in ("a.sst", "a.bp"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    recruits = Found(str(tmp_path / "*"), lambda path: Scripted([]), 2)  # type: ignore[arg-type, return-value]
    assert [recruit.name for recruit in recruits.look()] == ["a.bp", "a.sst"]


def test_a_killed_process_loses_only_its_undelivered_iterations() -> None:
    """Two real producers: one is killed by its number while the other goes on."""
    make = partial(RingSource, slots=2, stall_timeout=60.0, open_timeout=60.0)
    stream = started([partial(make, partial(Numbers, 6)), partial(make, partial(Numbers, 6))])
    ensemble, windows = laid_out(2, "none")
    values: dict[tuple[int, int], float] = {}
    lost = []
    with stream:
        stream.describe()
        for event in stream.events(ensemble, windows, ITERATIONS):
            if isinstance(event, Step):
                values[ensemble.place(event.iteration)] = float(event.values[0, 0, 0])
                if len(values) == 3:
                    ring = stream.members["s1"].ring
                    assert ring is not None
                    assert ring.process is not None
                    os.kill(ring.process, signal.SIGKILL)
            elif isinstance(event, Lost):
                lost.append((event.first, event.last, event.count))
    delivered = [n for s, n in values if s == 1]
    assert [n for s, n in values if s == 0] == list(ITERATIONS)
    assert all(value == n for (_, n), value in values.items())
    missing = [n for n in ITERATIONS if n not in delivered]
    assert missing
    assert lost == [(missing[0], missing[-1], len(missing))]
