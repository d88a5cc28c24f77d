import numpy as np
import pytest
from matplotlib.colors import same_color

from insituml import plots

RNG = np.random.default_rng(0)


def test_without_smoothing_lines_are_the_means() -> None:
    history = RNG.uniform(0.1, 1, size=(3, 60))
    axes = plots.loss_history({"ewc": history}, task_boundaries=[20, 40], window=1).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history.mean(axis=0))
    assert same_color(axes.lines[0].get_color(), plots.method_styles(["ewc"])["ewc"].color)
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "EWC"]


def test_smoothing_is_a_running_mean() -> None:
    history = RNG.uniform(0.1, 1, size=(1, 50))
    axes = plots.loss_history({"ewc": history}, task_boundaries=[], window=5).axes[0]
    line = axes.lines[0].get_ydata()
    for place in (2, 20, 47):
        assert line[place] == pytest.approx(history[0, place - 2 : place + 3].mean())
    assert line[0] == pytest.approx(history[0, :3].mean())  # fewer at the ends


def test_smoothing_stops_at_task_boundaries() -> None:
    history = np.repeat([[1.0, 10.0]], 30, axis=1)
    axes = plots.loss_history({"ewc": history}, task_boundaries=[30], window=11).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history[0])


def test_smoothing_passes_over_missing_steps() -> None:
    history = np.ones((2, 30))
    history[0, 10:13] = np.nan
    axes = plots.loss_history({"ewc": history}, task_boundaries=[], window=5).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 1.0)


def test_axes_are_labelled_and_the_smoothing_is_told() -> None:
    history = RNG.uniform(0.1, 1, size=(2, 500))
    axes = plots.loss_history(
        {"ewc": history}, task_boundaries=[250], metric_label="MSE", task_names=["a", "b"]
    ).axes[0]
    assert axes.get_xlabel() == "training step"
    assert axes.get_ylabel() == "MSE,\nrunning mean over 5 steps"
    assert axes.get_yscale() == "log"


def test_losses_that_are_not_positive_stay_in_sight() -> None:
    history = np.array([[300.0, 2.0, -1.5, np.nan]])
    axes = plots.loss_history({"ewc": history}, task_boundaries=[2], window=1).axes[0]
    assert axes.get_yscale() == "symlog"
    low, high = axes.get_ylim()
    assert low < -1.5
    assert high > 300
    linear = plots.loss_history({"ewc": history}, task_boundaries=[2], log=False).axes[0]
    assert linear.get_yscale() == "linear"


def test_notes_say_how_to_read_the_lines() -> None:
    histories = {"ewc": np.ones((2, 40)), "joint": np.ones((2, 40))}
    figure = plots.loss_history(
        histories, task_boundaries=[20], unordered=["joint"], notes=["Seed 3 alone."]
    )
    said = " ".join(reversed([text.get_text() for text in figure.texts]))
    assert "Seed 3 alone. Lines are means over 2 seeds, bands ± one standard deviation." in said
    assert "On all tasks at once, not in the order shown: joint." in said
    histories["ewc"] = np.full((2, 40), np.nan)
    figure = plots.loss_history(histories, task_boundaries=[20], spread=False)
    said = " ".join(reversed([text.get_text() for text in figure.texts]))
    assert said == "EWC has no finite value."


def test_of_many_tasks_some_are_named() -> None:
    axes = plots.loss_history({"ewc": np.ones((1, 300))}, task_boundaries=range(10, 300, 10)).axes[
        0
    ]
    named = [text.get_text() for text in axes.texts if text.get_text().isdigit()]
    assert named == [str(k) for k in range(0, 30, 3)]


def test_histories_may_differ_in_length() -> None:
    histories = {"ewc": np.ones((1, 40)), "joint": np.ones((2, 100))}
    axes = plots.loss_history(histories, task_boundaries=[20, 40, 60, 80], window=7).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [40, 100]
    assert axes.get_xlim() == (0, 100)
    for line in axes.lines:
        np.testing.assert_allclose(line.get_ydata(), 1.0)


def test_wrong_arguments() -> None:
    history = {"ewc": np.ones((1, 40))}
    with pytest.raises(ValueError, match=r"\(seeds, steps\), got \(40,\); add a first axis"):
        plots.loss_history({"ewc": np.ones(40)}, task_boundaries=[])
    with pytest.raises(ValueError, match=r"between 0 and 40.*got \[30, 20\]"):
        plots.loss_history(history, task_boundaries=[30, 20])
    with pytest.raises(ValueError, match=r"between 0 and 40.*got \[40\]"):
        plots.loss_history(history, task_boundaries=[40])
    with pytest.raises(ValueError, match="task_names must hold 2 names"):
        plots.loss_history(history, task_boundaries=[20], task_names=["a"])
    with pytest.raises(ValueError, match="window must be at least 1 step, got 0"):
        plots.loss_history(history, task_boundaries=[], window=0)
    with pytest.raises(ValueError, match="at least one method"):
        plots.loss_history({}, task_boundaries=[])
