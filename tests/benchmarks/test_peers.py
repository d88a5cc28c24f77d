"""Tests of the comparison's own side and of its tables; Avalanche itself is not needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import peers, peers_environment, peers_streams
from benchmarks.peers_insituml import train_here
from benchmarks.peers_protocol import Outcome, Run
from benchmarks.peers_run import Setting, outcome_of
from insituml import methods


@pytest.fixture
def setting() -> Setting:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, 48, 2, generator=generator) + torch.arange(3.0).view(3, 1, 1)
    tasks = [(x[:40].clone(), x[40:].clone()) for x in points]
    return Setting(tasks, "MLP", {"input_shape": 2, "hidden_sizes": [8]}, 2, 10, 1e-3, 6, 5)


def outcome(error: float, seconds: float = 1.0, peak: float = 100.0) -> Outcome:
    return Outcome(seconds, seconds, [[0.0, 1.0], [error, error]], peak, 1.0)


def comparison(ours: list[Outcome], theirs: list[Outcome]) -> peers.Comparison:
    return peers.Comparison("toy8", "Naive", ours, theirs)


def test_own_side_answers_from_a_process_of_its_own(setting, tmp_path):
    file = tmp_path / "setting.pt"
    setting.save(file)
    runs = [Run("ExperienceReplay", 1.0, seed=0), Run("NoSuchMethod", 1.0, seed=0)]
    good, bad = peers_environment.outcomes("insituml", file, runs)
    assert np.array(good.matrix).shape == (3, 3)
    assert 0 < good.step_seconds <= good.seconds_a_step
    assert good.peak_mb > good.growth_mb >= 0
    assert good.fails == ""
    assert "NoSuchMethod" in bad.fails


def test_a_setting_comes_back_from_its_file(setting, tmp_path):
    setting.save(tmp_path / "setting.pt")
    back = Setting.load(tmp_path / "setting.pt")
    assert replace(back, tasks=[]) == replace(setting, tasks=[])
    assert all(
        torch.equal(a, b)
        for mine, other in zip(back.tasks, setting.tasks, strict=True)
        for a, b in zip(mine, other, strict=True)
    )


def test_own_side_trains_every_method_there_is(setting):
    for case in peers.CASES:
        if hasattr(methods, case.method):
            found = outcome_of(train_here, setting, Run(case.method, case.strength, seed=0))
            assert found.fails == "", case.method


def test_errors_are_those_of_the_trained_weights(setting):
    training = train_here(setting, Run("Naive", 1.0, seed=3))
    learner = setting.learner(seed=9)
    learner.load_state_dict(training.weights[-1])
    with torch.no_grad():
        errors = [float((learner(x)[1] - x).square().mean()) for _, x in setting.tasks]
    found = outcome_of(train_here, setting, Run("Naive", 1.0, seed=3))
    np.testing.assert_allclose(found.matrix[-1], errors, rtol=1e-5)
    assert training.steps == 3 * 2 * 4


def test_ratios_are_of_median_times_and_largest_memory():
    ours = [outcome(1.0, *both) for both in ((1.0, 90.0), (2.0, 30.0), (50.0, 20.0))]
    theirs = [outcome(1.0, *both) for both in ((4.0, 10.0), (3.0, 30.0), (5.0, 20.0))]
    assert comparison(ours, theirs).ratio("seconds_a_step") == 0.5
    assert comparison(ours, theirs).ratio("peak_mb") == 3.0


def test_excess_error_is_welchs_statistic():
    from scipy.stats import ttest_ind

    mine, other = [1.0, 1.2, 1.5], [0.9, 1.0, 1.4]
    found = comparison([outcome(e) for e in mine], [outcome(e) for e in other]).excess_error()
    assert found == pytest.approx(ttest_ind(mine, other, equal_var=False).statistic)


def test_rows_mark_what_is_slower_larger_or_worse():
    worse = comparison(
        [outcome(e, 2.0, 200.0) for e in (1.0, 1.1)], [outcome(e, 1.0, 100.0) for e in (0.1, 0.2)]
    )
    assert [row.ok for row in worse.rows()[:3]] == [False, False, False]
    better = comparison(
        [outcome(e, 1.0, 100.0) for e in (0.1, 0.2)], [outcome(e, 2.0, 200.0) for e in (1.0, 1.1)]
    )
    assert all(row.ok for row in better.rows())


def test_a_method_that_fails_meets_no_goal_and_is_told(capsys):
    case = peers.Case("LwF")
    found = peers.comparison("toy8", case, [outcome(1.0)], [Outcome(fails="TypeError: x")], [])
    assert not any(row.ok for row in found.rows() if row.goal)
    peers.print_comparisons([found])
    assert "avalanche fails: TypeError: x" in capsys.readouterr().out


def test_best_strength_has_the_least_mean_error(monkeypatch, tmp_path):
    def answers(side, setting, runs):
        errors = {1.0: [0.5, 0.7], 10.0: [0.1, 0.6], 100.0: [0.0, float("nan")]}
        return [outcome(errors[run.strength][run.seed]) for run in runs]

    monkeypatch.setattr(peers, "outcomes", answers)
    case = peers.Case("EWC", grid=(1.0, 10.0, 100.0))
    assert peers.best_strength("insituml", tmp_path, case, seeds=range(2)) == 10.0


@pytest.mark.parametrize("stream", peers.STREAMS)
def test_streams_are_normalised_by_their_first_task(stream):
    setting = getattr(peers_streams, stream)()
    first = setting.tasks[0][0]
    assert len(setting.tasks) == 5
    torch.testing.assert_close(first.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.std(), torch.tensor(1.0), atol=1e-2, rtol=0)
    assert setting.learner(seed=0)(first)[1].shape == first.shape


def test_an_environment_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(peers_environment.PeersError, match="could not be made") as caught:
        peers_environment.make_environment(tmp_path / "file" / "environment", ["nothing"])
    assert "\n" not in str(caught.value)


def test_an_environment_that_is_there_is_left_alone(tmp_path):
    (tmp_path / ".ready").write_text("one==1 two")
    peers_environment.make_environment(tmp_path, ["one==1", "two"])
    assert [path.name for path in tmp_path.iterdir()] == [".ready"]
